"""DER, the form of keys and certificates: elements one after another.  X.690.  Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

_LONG_TAG, _NO_LENGTH = 0x1F, 0x80  # X.690 s8.1.2.4, s8.1.3.6: no key and no certificate has either


@dataclass(frozen=True, slots=True)
class Element:
    """`whole` is all of it, with tag and length."""

    tag: int
    contents: bytes
    whole: bytes


def elements(data: bytes) -> Iterator[Element]:
    """Raises ValueError, which says what is wrong.

    BER without a length is refused: OpenSSL reads it, and must not see another key than we do.
    """
    start = 0
    while start < len(data):
        if start + 2 > len(data):
            raise ValueError("it is cut off")
        tag, length, place = data[start], data[start + 1], start + 2
        if tag & _LONG_TAG == _LONG_TAG or length == _NO_LENGTH:
            raise ValueError("it has a tag of several octets, or no length")
        if length & 0x80:
            place += length & 0x7F
            length = int.from_bytes(data[start + 2 : place])
        if place + length > len(data):
            raise ValueError("it is cut off")
        yield Element(tag, data[place : place + length], data[start : place + length])
        start = place + length
