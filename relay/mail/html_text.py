"""HTML as plain text that a person can read: lines, lists and links stay, all else goes.  Pure.

The standard library's parser needs quadratic time for some input (CVE-2025-6069).  Here each expression ends at the next
`<`, and what has no end is searched once.
"""

import html
import re

_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9:-]{0,40})((?:[^<>"']|"[^"<]*"|'[^'<]*')*)>""")
_BROKEN_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,40})([^<>]*)>")  # its quotation marks are in no pairs
_DECLARATION = re.compile(r"<[!?][^<>]*>")
_HREF = re.compile(r"""\bhref[ \t\r\n]{0,9}=[ \t\r\n]{0,9}(?:"([^"]*)"|'([^']*)'|([^ \t\r\n"'>]+))""", re.IGNORECASE)
_ALT = re.compile(r"""\balt[ \t\r\n]{0,9}=[ \t\r\n]{0,9}(?:"([^"]*)"|'([^']*)'|([^ \t\r\n"'>]+))""", re.IGNORECASE)
# html.unescape raises for a number of more than 4,300 digits
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_BLANKS = re.compile(r"[ \t\r\n\f\xa0]+")
_INVISIBLE = re.compile("[\u00ad\u034f\u200b-\u200f\u2060\ufeff]")
_MANY_LINES = re.compile(r"\n{3,}")

_UNSEEN = {
    "script": re.compile(r"</script\b", re.IGNORECASE),
    "style": re.compile(r"</style\b", re.IGNORECASE),
    "title": re.compile(r"</title\b", re.IGNORECASE),
    "template": re.compile(r"</template\b", re.IGNORECASE),
}
"""What is no text, and where it ends."""

_LINES = frozenset({"br", "div", "tr", "li", "dt", "dd", "section", "article", "header", "footer", "form", "center", "option"})
_PARAGRAPHS = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "hr", "figure", "body"}
)


def text_of(source: str) -> str:
    """The text of an HTML page, or of a piece of one."""
    writer, place = _Writer(), 0
    while (start := source.find("<", place)) >= 0:
        writer.text(source[place:start])
        if source.startswith("<!--", start):
            end = source.find("-->", start + 4)
            place = end + 3 if end >= 0 else len(source)
        elif tag := _TAG.match(source, start) or _BROKEN_TAG.match(source, start):
            place, name = tag.end(), tag[2].lower()
            if name in _UNSEEN and not tag[1]:
                closed = _UNSEEN[name].search(source, place)
                place = closed.start() if closed else len(source)
            writer.tag(name, tag[3], closing=bool(tag[1]))
        elif declaration := _DECLARATION.match(source, start):
            place = declaration.end()
        else:
            writer.text("<")
            place = start + 1
    writer.text(source[place:])
    return writer.whole()


class _Writer:
    """Puts the text together: one blank between words, at most one empty line between paragraphs."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._blank = self._fresh = False  # a blank is due; nothing stands in this line yet
        self._links: list[tuple[str, int]] = []
        self._as_is = 0

    def text(self, source: str) -> None:
        if not source:
            return
        text = _INVISIBLE.sub("", _ENTITY.sub(lambda found: html.unescape(found[0]), source))
        if self._as_is:
            self._out.append(text.replace("\r\n", "\n").replace("\r", "\n"))
            self._fresh = text.endswith("\n")
            return
        flat = _BLANKS.sub(" ", text)
        bare = flat.strip(" ")
        if not bare:
            self._blank = self._blank or bool(flat)
            return
        if (self._blank or flat[0] == " ") and self._out and not self._fresh:
            self._out.append(" ")
        self._out.append(bare)
        self._blank, self._fresh = flat[-1] == " ", False

    def tag(self, name: str, attributes: str, *, closing: bool) -> None:
        if name in _PARAGRAPHS:
            self._end_line("\n\n")
        elif name in _LINES and not (closing and name == "br"):
            self._end_line("\n", always=name == "br")
        if name == "pre":
            self._as_is = max(0, self._as_is + (-1 if closing else 1))
        elif name == "li" and not closing:
            self.text("- ")
        elif name in ("td", "th"):
            self._blank = True
        elif name == "a":
            self._link(attributes, closing=closing)
        elif name == "img" and (alt := _ALT.search(attributes)) and (said := (alt[1] or alt[2] or alt[3] or "").strip()):
            self.text(f"[{said}]")

    def _end_line(self, end: str, *, always: bool = False) -> None:
        if self._out and (always or not self._fresh or end != "\n"):
            self._out.append(end)
        self._blank, self._fresh = False, True

    def _link(self, attributes: str, *, closing: bool) -> None:
        """The address of a link follows its words, unless they are the address."""
        if not closing:
            found = _HREF.search(attributes)
            target = html.unescape((found[1] or found[2] or found[3] or "")[:2000]).strip() if found else ""
            self._links = [(target if target.lower().startswith(("http://", "https://")) else "", len(self._out))]
        elif self._links:
            [(target, start)] = self._links
            self._links = []
            words = "".join(self._out[start:]).strip()
            if not words:
                self.text(f" {target} " if target else "")
            elif target and words.rstrip("/") not in (target.rstrip("/"), target.partition("://")[2].rstrip("/")):
                self.text(f" ({target})")

    def whole(self) -> str:
        lines = (line.rstrip() for line in "".join(self._out).split("\n"))
        return _MANY_LINES.sub("\n\n", "\n".join(lines)).strip("\n")
