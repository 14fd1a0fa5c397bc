"""Finds the end of a message's content and undoes the dot-stuffing.  RFC 5321 s4.5.2.

If a client's commands end in CRLF, its content ends with CRLF.CRLF only (RFC 5321 s4.1.1.4): curl, LuaSocket and uMail
speak CRLF, then send bare-LF content with an unstuffed dot line inside.  Only a client that never sent a CR may end its
content with LF.LF.  Pure.
"""

import re
from enum import Enum

from relay.mail.line_ends import BareEnds

_ANY_LINE_END = re.compile(rb"[\r\n]\.")
_LONGEST_END = 4
"""Octets from the first line end of what may be the end of data; the next block decides."""


class LineEnd(Enum):
    """How a client ends its command lines; CR is a client that waited for an answer after a bare CR."""

    CRLF = b"\r\n"
    LF = b"\n"
    CR = b"\r"


class ContentDecoder:
    """Takes the octets after 354 block by block, returns the content with the dot-stuffing undone.

    It does not matter how the blocks are cut.  `ended`: the end was seen; `rest` are the octets after it.
    `irregular`: it ended with something else than CRLF.CRLF, so the client may only QUIT now (else the content could
    smuggle commands).  `stalled`: a lone dot between bare line ends came last; after a silence it is the end.
    """

    def __init__(self, line_end: LineEnd) -> None:
        self.ended = False
        self.irregular = False
        self.stalled = False
        self.rest = b""
        self.nul = False
        self._line_end = line_end
        self._held = b""  # an unfinished dot line: it may be content or the end
        self._before = b"\n\r" if line_end is LineEnd.CR else b"\r\n"  # the last two octets in front of what is held
        self._bare = BareEnds()

    @property
    def bare_lf(self) -> bool:
        return self._bare.lf

    @property
    def bare_cr(self) -> bool:
        return self._bare.cr

    def feed(self, block: bytes) -> bytes:
        """The content that is certain by now.  Must not be called once `ended`."""
        window = self._before + self._held + block
        self._held, self.stalled = b"", False
        start, dots = self._sure(window)
        content: list[bytes] = []
        if start > 2:
            content.append(self._unstuffed(window[:start])[2:] if dots else window[2:start])
        place = self._next_dot(window, start - 1)
        while place >= 0:
            dot = place + 1
            after = window[dot + 1 : dot + 3]
            if end := self._end(window, place, after):
                content.append(window[start:dot])
                self.ended, self.rest = True, window[dot + 1 + end :]
                return self._known(content)
            if len(window) - dot <= 3 and after in (b"", b"\r", b"\n", b"\r\n"):
                self._hold(window, start, dot, after)
                content.append(window[start:dot])
                return self._known(content)
            if self._line_end is not LineEnd.CRLF or window[place - 1 : place] == b"\r":
                content.append(window[start:dot])
                start = dot + 1
            place = self._next_dot(window, dot)
        content.append(window[start:])
        self._before = window[-2:]
        return self._known(content)

    def _sure(self, window: bytes) -> tuple[int, bool]:
        """How many octets (at least the two of before) are surely content, and whether dots must be removed from them.

        Almost all content has no such dots, and one search shows that.
        """
        if self._line_end is LineEnd.CR:
            return 2, False
        safe = max(2, len(window) - _LONGEST_END)
        if self._line_end is LineEnd.CRLF:
            dot = window.find(b"\r\n.")
            end = window.find(b"\r\n.\r\n", dot) + 1 if dot >= 0 else 0
        else:
            dot = window.find(b"\n.", 1)
            ends = [found for end in (b"\n.\n", b"\n.\r\n") if dot >= 0 and (found := window.find(end, dot)) > 0]
            end = min(ends, default=0)
        return max(2, end) if end else safe, dot >= 0

    def _unstuffed(self, octets: bytes) -> bytes:
        """Undoes the dot-stuffing of octets that do not hold the end of data."""
        if self._line_end is LineEnd.CRLF:
            return octets.replace(b"\r\n.", b"\r\n")
        return octets.replace(b"\n.", b"\n")

    def _next_dot(self, window: bytes, start: int) -> int:
        """The place of the next line end with a dot after it; -1 if none."""
        if self._line_end is LineEnd.CR:
            found = _ANY_LINE_END.search(window, start)
            return found.start() if found else -1
        return window.find(b"\n.", start)

    def finish_stalled(self) -> None:
        """Takes the lone dot before the silence as the end of data."""
        self._held, self.stalled = b"", False
        self.ended = self.irregular = True

    def _end(self, window: bytes, place: int, after: bytes) -> int:
        """How many octets after the dot belong to the end of data; 0 if this is not the end."""
        if after == b"\r\n" and window[place - 1 : place + 1] == b"\r\n":
            return 2
        if self._line_end is not LineEnd.LF:
            return 0
        self.irregular = after == b"\r\n" or after[:1] == b"\n"
        if after == b"\r\n":
            return 2
        return 1 if after[:1] == b"\n" else 0

    def _hold(self, window: bytes, start: int, dot: int, after: bytes) -> None:
        self._held = window[dot:]
        self._before = window[dot - 2 : dot]
        self.stalled = after in (b"\n", b"\r\n") or (self._line_end is LineEnd.CR and after == b"\r")

    def _known(self, pieces: list[bytes]) -> bytes:
        """The content in one piece; what is odd about it is noted for the trail."""
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._bare.feed(content)
        self.nul = self.nul or b"\0" in content
        return content
