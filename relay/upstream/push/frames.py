"""What relay and push process say to each other: values as JSON, octets as they are, each after its length.  Pure."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

HEAD = struct.Struct(">I")
LARGEST = 1 << 24
"""Octets of one frame; blocks of content are smaller."""

END = HEAD.pack(0)
"""The frame after the last block of content."""


@dataclass(frozen=True, slots=True, repr=False)  # the URLs are secrets
class PushJob:
    """What the push process is to do with a message: `urls` with their numbers, `timeout` for one answer in seconds.

    `title` as in the settings; `pictures`: they go along.  `examine`: nothing is sent; a service that has a harmless call is
    asked whether it knows the account, others are connected to.
    """

    urls: Sequence[tuple[int, str]]
    timeout: float
    title: str = ""
    device: str = ""
    pictures: bool = False
    examine: bool = False

    def as_value(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one URL.

    `taken`: the service took the message.  `status` is the last HTTP status (0: none), `said` the service's own words
    about it, `words` the library's lines, `blocked`: the service says that the account or the target is wrong, whatever
    the status.  `fault` is the value of a `Fault`: why there was no answer; `sent`: the request may have gone out all the
    same.  `cut`: characters that the text was cut to (0: not cut); `left` pictures that the service did not take.
    Of one that was examined: `proved` is the value of a `Proof`; `unclear`: its answer shows neither.
    """

    taken: bool
    status: int = 0
    retry_after: float | None = None
    said: str = ""
    words: tuple[str, ...] = ()
    blocked: bool = False
    fault: str = ""
    sent: bool = False
    service: str = ""
    peer: str = ""
    tls: str = ""
    cut: int = 0
    left: int = 0
    others: int = 0
    proved: str = ""
    unclear: bool = False

    def as_value(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Outcome":
        return cls(**{**value, "words": tuple(value["words"])})


def packed(value: Mapping[str, Any]) -> bytes:
    return block(json.dumps(value).encode())


def block(octets: bytes) -> bytes:
    """A block of content."""
    return HEAD.pack(len(octets)) + octets


def unpacked(octets: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(octets)
    return found


def read(stream: BinaryIO) -> bytes | None:
    """The next frame; None at the end of the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    [length] = HEAD.unpack(head)
    octets = stream.read(length)
    return octets if len(octets) == length else None
