"""The process that has the library loaded: takes a message, hands it to push services, says what came of each.

relay ── job, message ──▶ python -m relay.upstream.push.child ── "connected?", outcome ──▶ relay

It ends with the relay: nothing goes out that the relay has not allowed, after it noted that it may.
"""

import importlib.util
import logging
import os
import re
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from relay.mail.readable_body import Readable, readable_of
from relay.upstream.push import frames, library

_MOST_MEMORY = 600 * 1024 * 1024
_MOST_CONTENT = 80_000_000  # octets of a message that are looked at
_LONGEST = 3600.0  # seconds after which a process that nobody ends any more ends itself
_FIELD = re.compile(r"\{(device|subject|sender)\}")


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    _confine()
    logging.lastResort = None
    link = _Link(sys.stdin.buffer, answers)
    while True:
        asked = frames.unpacked(link.read())
        watchdog = threading.Timer(_LONGEST, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        if "check" in asked:
            installed = importlib.util.find_spec("apprise") is not None
            link.write({"known": [library.known(url) if installed else "missing" for url in asked["check"]]})
        else:
            _carry(frames.PushJob(**asked), link)
        watchdog.cancel()


def _confine() -> None:
    """No core dump, which would hold the URLs; bounded memory; the first to go when memory is short."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


class _Link:
    """The two pipes.  When the relay is gone, this process ends at once."""

    def __init__(self, jobs: BinaryIO, answers: BinaryIO) -> None:
        self._jobs, self._answers = jobs, answers

    def read(self) -> bytes:
        octets = frames.read(self._jobs)
        return octets if octets is not None else _end()

    def write(self, value: dict[str, Any]) -> None:
        try:
            self._answers.write(frames.packed(value))
        except OSError:
            _end()


def _end() -> NoReturn:
    os._exit(0)


def _carry(job: frames.PushJob, link: _Link) -> None:
    message = _message(job, link)
    fields = {"device": job.device, "subject": message.subject, "sender": message.sender}
    title = _FIELD.sub(lambda found: fields[found[1]], job.title).strip(" :")
    for number, url in job.urls:

        def ask(peer: str, tls: str, number: int = number) -> bool:
            link.write({"url": number, "peer": peer, "tls": tls})
            return bool(frames.unpacked(link.read())["go"])

        outcome = library.send(url, title, message, job.timeout, ask, examine=job.examine)
        link.write({"url": number, "outcome": outcome.as_value()})


def _message(job: frames.PushJob, link: _Link) -> Readable:
    """All of the content is read; what is over the bound is let go."""
    blocks, size, whole = list[bytes](), 0, True
    while octets := link.read():
        size += len(octets)
        whole = whole and size <= _MOST_CONTENT
        if whole:
            blocks.append(octets)
    return readable_of(blocks, pictures=job.pictures, whole=whole)


if __name__ == "__main__":
    main()
