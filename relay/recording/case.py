"""Makes a corpus case of a recorded session: the octets, and a sidecar with the steps that send them again.

The form is that of tests/corpus/device-mail/README.md.  Pure.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relay.recording.findings import noticed, quirk_numbers
from relay.recording.masking import START, mask_text, masked
from relay.recording.pseudonyms import Names
from relay.recording.tape import Tape, Who

PAUSE = 0.25
"""Seconds of silence that count as a pause; shorter ones are network delays."""
LONGEST_PAUSE = 3.0  # in the steps; `at` has the real time
_FEW = 4  # a device that sends so few octets at a time is played back the same way
_RCPT = re.compile(START + rb"RCPT[ \t]+TO[ \t]*+(?::[ \t]*+)?<?([^<>@\s]+|\"[^\"\r\n]+\")(@[^<>\s]+)?")


@dataclass(frozen=True, slots=True)
class RecordedCase:
    """`octets` is all that the device sent; `sidecar` the JSON beside it; `seen` the findings, as sentences."""

    name: str
    octets: bytes
    sidecar: dict[str, Any]
    seen: tuple[str, ...]


def make_case(tape: Tape, *, name: str = "", device: str = "", version: str = "") -> RecordedCase:
    """The masked case of one session.  `name` "": one is made from the octets.  `device` is its name for people."""
    name = name or f"r{hashlib.sha256(tape.device).hexdigest()[:5]}"
    names = Names()
    for place, local in enumerate(_recipients(tape.device)):
        _mark(local, name if place == 0 else f"{name}.{place + 1}", names)
    octets = masked(tape.device, names)
    steps = list(_steps(tape, octets, names))
    for step in steps:
        _named(step, name)
    octets = b"".join(_octets(step) for step in steps)
    seen = tuple([mask_text(sentence.encode("utf-8", "replace"), names).decode("utf-8") for sentence in noticed(tape)])
    sidecar = {
        "id": name,
        "kind": "session",
        "title": device or "a recorded session",
        "oddity": "; ".join(seen) or "nothing odd was noticed",
        "quirks": quirk_numbers(tape),
        "source": f"capture: {device or 'unknown device'}",
        "level": "must",
        "recorded": f"relay record, relay {version}".strip(),
        "note": "addresses, credentials, host names and files are others of the same length; `at`: seconds since connect",
        "steps": steps,
        "file": f"{name}.bin",
        "expect": [{"count": tape.accepted}],
        "should": [],
        "sha256": hashlib.sha256(octets).hexdigest(),
    }
    return RecordedCase(name, octets, sidecar, seen)


# ---- recipients ------------------------------------------------------------------------------------------------------


def _recipients(stream: bytes) -> list[bytes]:
    """The local parts that RCPT names, each once."""
    return list(dict.fromkeys(match[1].lower() for match in _RCPT.finditer(stream)))


def _mark(local: bytes, mark: str, names: Names) -> None:
    """Puts the case's name into the recipient, by which the corpus finds its mail; in the same length if possible."""
    text = mark.encode()
    if len(local) == len(text):
        names.fix(local, text)
    elif len(local) > len(text) + 1 and not local.startswith(b'"'):
        names.fix(local, text + b"." + b"a" * (len(local) - len(text) - 1))


def _named(step: dict[str, Any], name: str) -> None:
    """Makes a recipient longer that is too short for the name; no other length ever changes."""
    octets = _octets(step)

    def longer(match: re.Match[bytes]) -> bytes:
        whole, local, domain = match[0], match[1], match[2] or b""
        if re.search(rb"(?i)(?<![a-z0-9-])" + re.escape(name.encode()) + rb"(?![a-z0-9-])", local):
            return whole
        head = whole[: len(whole) - len(local) - len(domain)]
        step["note"] = "the recipient is longer than the device's, since it holds the case's name"
        return head + name.encode() + (domain or b"@example.jp")

    new = _RCPT.sub(longer, octets)
    if new != octets:
        _put(step, new)


# ---- the steps -------------------------------------------------------------------------------------------------------


def _steps(tape: Tape, octets: bytes, names: Names) -> Iterator[dict[str, Any]]:
    place, last, final = 0, 0.0, _final(tape)
    pieces = tape.pieces
    number = 0
    while number < len(pieces):
        piece = pieces[number]
        if piece.who is Who.DEVICE:
            end = number
            while end + 1 < len(pieces) and pieces[end + 1].who is Who.DEVICE and pieces[end + 1].at - pieces[end].at < PAUSE:
                end += 1
            size = sum(len(one.octets) for one in pieces[number : end + 1])
            if piece.at - last >= PAUSE:
                yield {"sleep": round(min(piece.at - last, LONGEST_PAUSE), 2)}
            step: dict[str, Any] = {"at": round(piece.at, 3)}
            _put(step, octets[place : place + size])
            yield step | _slowly(size, end + 1 - number, pieces[end].at - piece.at)
            place, last, number = place + size, pieces[end].at, end
        elif piece.who is Who.RELAY:
            said = mask_text(piece.octets, names).decode("ascii", "replace").rstrip()
            step = {"expect": said.rpartition("\n")[2][:3] or "421", "said": said, "at": round(piece.at, 3)}
            yield step | ({"final": True} if number == final else {})
            last = piece.at
        elif piece.who is Who.TLS:
            yield {"starttls": 1, "at": round(piece.at, 3)}
            last = piece.at
        else:
            yield {"close": piece.octets.decode("ascii"), "at": round(piece.at, 3)}
        number += 1


def _slowly(size: int, pieces: int, took: float) -> dict[str, Any]:
    """Keeps the pace of a device that sends few octets at a time."""
    if pieces < 10 or size / pieces > _FEW:
        return {}
    return {"chunk": max(1, round(size / pieces)), "delay": round(min(took / pieces, 0.05), 3)}


def _final(tape: Tape) -> int:
    """The number of the reply to the last message's content, the one after 354; -1 if there is none."""
    found, content = -1, False
    for number, piece in enumerate(tape.pieces):
        if piece.who is Who.RELAY:
            if content:
                found = number
            content = piece.octets.startswith(b"354")
    return found


def _octets(step: dict[str, Any]) -> bytes:
    if "send_b64" in step:
        return base64.b64decode(step["send_b64"])
    return bytes(step.get("send", ""), "latin-1")


def _put(step: dict[str, Any], octets: bytes) -> None:
    step.pop("send", None)
    step.pop("send_b64", None)
    if octets.isascii() and b"\0" not in octets:
        step["send"] = octets.decode("ascii")
    else:
        step["send_b64"] = base64.b64encode(octets).decode("ascii")
