"""What accounts of every kind make of a letter's names."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

from relay.mail.address import Address, parse_address, parse_path
from relay.mail.mailboxes import count_regular, has_group, is_regular, read_mailboxes
from relay.mail.message import Message
from relay.mail.rewrite import Identity, Rewrite, rewrite
from tests.corpus.golden.letters import LETTERS
from tests.support.letters import NAS, about, octets, repaired

ACCOUNT = Identity(Address("taro", "isp.example"), frozenset({"isp.example"}))
WIDE = replace(ACCOUNT, domains=frozenset({"isp.example", "nas.example.test", "b.example.com"}))
KINDS: dict[str, tuple[Identity, Address | None, bool, bool]] = {
    "never": (replace(ACCOUNT, rewrite=Rewrite.NEVER), NAS, False, False),
    "never, refused": (replace(ACCOUNT, rewrite=Rewrite.NEVER), NAS, True, False),
    "always": (replace(WIDE, rewrite=Rewrite.ALWAYS), NAS, False, False),
    "always, as itself": (replace(WIDE, rewrite=Rewrite.ALWAYS), Address("taro", "isp.example"), False, False),
    "its own domains": (WIDE, NAS, False, False),
    "its own domains, refused": (WIDE, NAS, True, False),
    "not the From": (replace(ACCOUNT, rewrite_from=False), NAS, False, False),
    "not the From, refused": (replace(ACCOUNT, rewrite_from=False), NAS, True, False),
    "no account": (Identity(None), NAS, True, False),
    "a notice": (ACCOUNT, None, False, False),
    "a notice, refused": (ACCOUNT, None, True, False),
    "in UTF-8": (ACCOUNT, Address("監視", "isp.example"), False, True),
    "in UTF-8, own domains": (WIDE, NAS, False, True),
}
NAMED = [name for name in LETTERS if name.split()[0] in ("from", "sender", "reply-to", "to", "cc", "bcc")]
UTF8 = ("from idn", "from long name, 8-bit", "from encoded", "from words around")
PATHS = [
    "<a@b.example>",
    "a@b.example",
    "<>",
    "",
    "<",
    ">",
    "<a@b.example",
    "a@b.example>",
    "< a@b.example >",
    "<a@b.example> x",
    "<@a,@b:c@d.example>",
    "<@a:c@d.example>",
    "@a:c",
    "<a:b@c.example>",
    "<mailto:a@b.example>",
    "MAILTO:a@b.example",
    *(
        '<"a b"@c.example>',
        '<"a>b"@c.example>',
        '<"a\\"b"@c.example>',
        '"a\\\\"@c.example',
        "<a b@c.example>",
        "<a@b@c.example>",
    ),
    *(
        "<root>",
        "root",
        "<a@[192.0.2.1]>",
        "<a@[IPv6:::1]>",
        "<a@B.Example.>",
        "<a@.b.example>",
        "<a.@b.example>",
        "<a..b@c.example>",
    ),
    *(
        "<監視@例え.jp>",
        "<a@例え。jp>",
        "<a@xn--r8jz45g.jp>",
        "<a\x07@b.example>",
        "<a@b_c.example>",
        "<a@-b.example>",
        "<a@b>",
    ),
    *(
        "NAS <a@b.example>",
        "<a@b.example><c@d.example>",
        '"NAS" <a@b.example> BODY=8BITMIME',
        "a@b.example SIZE=1",
        "=?utf-8?q?a?=@b",
    ),
]
BOXES = [
    *(
        "a@b.example",
        "A <a@b.example>",
        "a@b.example, c@d.example",
        "A: a@b.example;",
        "A:;",
        "a b c",
        "",
        ",",
        ";",
        "(c) a@b.example",
    ),
    *(
        '"A, B" <a@b.example>',
        '"A \\" B" <a@b.example>',
        '"A <a@b.example>',
        "A (b (c)) <a@b.example> (d)",
        "A B. <a@b.example>",
    ),
    "A.B <a@b.example>",
    '"A.B" C <a@b.example>',
    "<a@b.example> A",
    "a@b.example c@d.example",
    "a@b.example; c@d.example",
    *(
        "=?utf-8?q?A?= <a@b.example>",
        '"=?utf-8?q?A?=" <a@b.example>',
        "=?utf-8?q?a=40b.example?=",
        "=?utf-8?q?a=0D=0Ab?= <a@b.example>",
    ),
    *(
        "監視 <a@b.example>",
        '"監視" <a@b.example>',
        "A <監視@例え.jp>",
        "A <.a.@b.example.>",
        "A <a..b@c.example>",
        "A <@x:a@b.example>",
    ),
    *(
        "A <root>",
        "root",
        "A <a@b.example",
        "A a@b.example>",
        "A <<a@b.example>>",
        "sender: a@b.example",
        "(a) b) c@d.example",
        "((a",
    ),
    *(
        "A [b] <a@b.example>",
        "A\t<a@b.example>",
        "A\r\n <a@b.example>",
        "a @ b.example",
        "a@b .example",
        "a at b.example",
        "x" * 400,
    ),
]


def texts() -> Iterator[tuple[str, Callable[[], str]]]:
    """Name, and what makes the text under it."""
    for kind in KINDS:
        yield f"account: {kind}", partial(_by, kind)
    yield "paths", lambda: "".join(f"{path!a}\n{_path(path)}" for path in PATHS)
    yield "mailboxes", lambda: "".join(f"{text[:50]!a}\n{_boxes(text)}" for text in BOXES)


def _by(kind: str) -> str:
    names = UTF8 if "UTF-8" in kind else NAMED
    return "".join(f"--- {name}\n{_rewritten(LETTERS[name], kind)}" for name in names)


@cache
def _mended(content: bytes, *, utf8: bool) -> Message:
    return repaired(content, about(utf8=utf8)).message


def _rewritten(content: bytes, kind: str) -> str:
    identity, path, own_name, utf8 = KINDS[kind]
    mended = _mended(content, utf8=utf8)
    result = rewrite(mended, path, identity, own_name=own_name, utf8=utf8)
    known = [field.raw for field in mended.fields]
    lines = [f"<{result.reverse_path}>", *(f"- {note}" for note in result.notes)]
    lines += [repr(field.raw) for field in result.message.fields if field.raw not in known]
    names = [field.name for field in result.message.fields]
    lines.append(", ".join(names) if len(names) != len(known) else "as many fields")
    lines.append("the body stays" if octets(result.message).endswith(b"".join(mended.body)) else "the body changes")
    return "\n".join(lines) + "\n"


def _path(said: str) -> str:
    lines = []
    for read in (parse_path, parse_address):
        try:
            found = read(said)
        except ValueError as error:
            lines.append(f"{read.__name__}: {error}")
            continue
        about_it = [f"{found!r}", f"<{found}>"]
        if isinstance(found, Address):
            about_it += [found.key, f"public {found.public}, qualified {found.qualified}, ascii {found.ascii}"]
        lines.append(f"{read.__name__}: " + "; ".join(about_it))
    return "\n".join(lines).encode("ascii", "backslashreplace").decode() + "\n"


def _boxes(text: str) -> str:
    octets = text.encode()
    counted = (count_regular(octets), count_regular(octets, groups=False), has_group(octets))
    regular = (is_regular(octets), is_regular(octets, utf8=True))
    return "".join(f"{box!a}\n" for box in read_mailboxes(text)) + f"{counted} {regular}\n"
