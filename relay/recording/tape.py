"""The octets of one session: who sent them, and when.  Pure."""

import re
from dataclasses import dataclass, field
from enum import Enum

LARGEST = 12_000_000
"""Octets of one session that are recorded; later ones are not."""
MOST_PIECES = 200_000


class Who(Enum):
    """What a piece is: the device's octets, a reply of ours, the start of TLS, or the connection's end."""

    DEVICE = "device"
    RELAY = "relay"
    TLS = "tls"
    END = "end"


@dataclass(frozen=True, slots=True)
class Piece:
    """`at` is in seconds since the connection was made.  For END, `octets` is `fin` or `rst`."""

    at: float
    who: Who
    octets: bytes = b""


@dataclass(slots=True)
class Tape:
    """One session: its quirks, the repairs that its messages would get, and how many messages were accepted."""

    client: str = ""
    pieces: list[Piece] = field(default_factory=list)
    quirks: dict[str, None] = field(default_factory=dict)
    repairs: dict[str, None] = field(default_factory=dict)
    accepted: int = 0
    size: int = 0
    cut: bool = False

    def add(self, at: float, who: Who, octets: bytes = b"") -> None:
        """Records a piece if there is room for it."""
        if self.size + len(octets) > LARGEST or len(self.pieces) >= MOST_PIECES:
            self.cut = True
            return
        self.size += len(octets)
        self.pieces.append(Piece(at, who, octets))

    @property
    def device(self) -> bytes:
        """All that the device sent."""
        return b"".join(piece.octets for piece in self.pieces if piece.who is Who.DEVICE)

    @property
    def queued(self) -> list[str]:
        """The queue ids in our replies."""
        said = (re.match(rb"250 2\.0\.0 queued as (\w+)", piece.octets) for piece in self.pieces if piece.who is Who.RELAY)
        return [match[1].decode("ascii") for match in said if match]

    @property
    def ended_by_device(self) -> bool:
        return any(piece.who is Who.END for piece in self.pieces)
