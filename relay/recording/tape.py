"""What was said in one session, by whom and when, octet for octet.  Pure."""

import re
from dataclasses import dataclass, field
from enum import Enum

LARGEST = 12_000_000
"""Octets of one session that are kept; what comes after is not."""
MOST_PIECES = 200_000


class Who(Enum):
    """Whose turn a piece is: the device's octets, a reply of ours, TLS coming up, or the line's end."""

    DEVICE = "device"
    RELAY = "relay"
    TLS = "tls"
    END = "end"


@dataclass(frozen=True, slots=True)
class Piece:
    """`at` in seconds since the connection was made; of END `octets` say how: `fin` or `rst`."""

    at: float
    who: Who
    octets: bytes = b""


@dataclass(slots=True)
class Tape:
    """One session.  `quirks` are the session's own words, `repairs` what the messages would need, `accepted` their number."""

    client: str = ""
    pieces: list[Piece] = field(default_factory=list)
    quirks: dict[str, None] = field(default_factory=dict)
    repairs: dict[str, None] = field(default_factory=dict)
    accepted: int = 0
    size: int = 0
    cut: bool = False

    def add(self, at: float, who: Who, octets: bytes = b"") -> None:
        """Keeps a piece, as long as there is room."""
        if self.size + len(octets) > LARGEST or len(self.pieces) >= MOST_PIECES:
            self.cut = True
            return
        self.size += len(octets)
        self.pieces.append(Piece(at, who, octets))

    @property
    def device(self) -> bytes:
        """All that the device said."""
        return b"".join(piece.octets for piece in self.pieces if piece.who is Who.DEVICE)

    @property
    def queued(self) -> list[str]:
        """The queue ids that were promised."""
        said = (re.match(rb"250 2\.0\.0 queued as (\w+)", piece.octets) for piece in self.pieces if piece.who is Who.RELAY)
        return [match[1].decode("ascii") for match in said if match]

    @property
    def ended_by_device(self) -> bool:
        return any(piece.who is Who.END for piece in self.pieces)
