"""The log's thread: a line that is written while a line is being written, and the last lines."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable

import pytest

from relay import events, log_writer
from relay.log_writer import LogWriter


def ends(work: Callable[[], object]) -> bool:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()


class Interrupted(deque[bytes]):
    """What the collector runs in the middle of `append`: the end of a task whose exception nobody took, which logs it."""

    ended: Callable[[], object] | None = None

    def append(self, line: bytes) -> None:
        ended, self.ended = self.ended, None
        if ended:
            ended()
        super().append(line)


def test_a_line_within_a_line() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing, lambda _: None, lambda: None)
    lines = writer._lines = Interrupted()
    lines.ended = lambda: writer.write("inner\n")
    assert ends(lambda: writer.write("outer\n"))
    writer.close()
    os.close(writing)
    with open(reading, "rb") as log:
        assert log.read() == b"inner\nouter\n"


def test_an_event_within_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of what is repeated is in use."""
    told: list[str] = []
    monkeypatch.setattr(events, "_say", lambda _event, fields: told.append(fields["text"]))
    monkeypatch.setattr(events, "_repeats", events.Repeats())

    class Key:
        def __hash__(self) -> int:
            if not told:
                events.note("broken", "inner", same="inner")
            return 1

    assert ends(lambda: events.note("warned", "outer", same=Key()))
    assert told == ["inner", "outer"]


def test_a_pipe_that_somebody_else_made_nonblocking() -> None:
    """A slow reader loses nothing by it, and no line is cut."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    dropped: list[int] = []
    writer = LogWriter(writing, dropped.append, lambda: None)
    line = "x" * 999 + "\n"
    for _ in range(300):  # a pipe holds 64 KiB
        writer.write(line)
    time.sleep(0.1)
    with open(reading, "rb") as log:
        assert log.read(300_000) == line.encode() * 300
        writer.close()
    os.close(writing)
    assert dropped == []


def test_every_line_before_the_end_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """From several threads, at once with the end of the thread's pause."""
    monkeypatch.setattr(log_writer, "PACE", 0.0)
    for _ in range(20):
        assert written_by_three() == sorted(b"%d %d" % (n, line) for n in range(3) for line in range(50))


def written_by_three() -> list[bytes]:
    reading, writing = os.pipe()
    writer = LogWriter(writing, lambda _: None, lambda: None)
    threads = [threading.Thread(target=lambda n=n: [writer.write(f"{n} {line}\n") for line in range(50)]) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    os.close(writing)
    with open(reading, "rb") as log:
        return sorted(log.read().split(b"\n")[:-1])
