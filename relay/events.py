"""What happened: one call counts it and logs it.  Event names are past participles."""

import atexit
import json
import logging
import os
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from relay.log_writer import LogWriter
from relay.networks import group_of
from relay.printable import printable
from relay.repeats import MINUTE, Repeats

EVENTS = frozenset(
    [
        "accepted",
        "refused",
        "repaired",
        "routed",
        "tried",
        "advised",
        "relayed",
        "deferred",
        "postponed",
        "merged",
        "failed",
        "expired",
        "noticed",
        "held",
        "released",
        "removed",
        "acknowledged",
        "consented",
        "looked",
        "rested",
        "woke",
        "warned",
        "opened",
        "started",
        "stopped",
        "reloaded",
        "broken",
    ]
)
"""Every event there is; `note` takes no other."""

_LOUD = frozenset({"failed", "expired", "broken"})
_WARN = frozenset({"deferred", "rested", "refused", "held", "warned"})
_BY_STRANGERS = frozenset({"refused", "broken", "warned"})
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

counts: Counter[tuple[str, str]] = Counter()
"""How often each (event, upstream) happened since the start; upstream is "" where none is concerned."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
"""Upper bounds in seconds of the buckets that durations are counted in; one more takes what is longer."""

durations: dict[str, list[int]] = {}
"""Of each kind of duration how many fell into each bucket."""

microseconds: Counter[str] = Counter()
"""Of each kind of duration the sum."""

_log: Any = None
_writer: LogWriter | None = None
_repeats, _lock = Repeats(), threading.RLock()  # see LogWriter
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)


def configure(log_format: str = "auto", level: str = "info") -> None:
    """Sends events to stdout: `console`, `json`, or `auto` (console on a terminal); libraries' warnings too."""
    global _log, _writer  # noqa: PLW0603 - the one log of the process
    import structlog

    console = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    in_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    close()
    _writer = LogWriter(_stdout(), _tell_lost, _tell_repeats)
    structlog.configure(
        processors=[_stamped, partial(_as_line, _COLOURS if in_colour else {}) if console else _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=partial(_Lines, _writer),
        cache_logger_on_first_use=True,
    )
    _log = None
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)


def _stdout() -> int:
    try:
        return sys.stdout.fileno()
    except (OSError, ValueError):
        return 1


@atexit.register
def close() -> None:
    """Writes what waits, and what was repeated within the last minute; waits one second for a reader at most."""
    if _writer is not None:
        _tell_repeats(least=0.0)
        _writer.close()


def _stamped(_logger: Any, level: str, fields: Any) -> Any:
    """Adds level and time, as structlog's own processors do with five calls."""
    fields["level"], fields["timestamp"] = level, datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return fields


def _as_json(_logger: Any, _name: str, fields: Any) -> str:
    return printable(_ENCODER.encode(fields))  # inside a JSON text `\\u202e` means the character itself


_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m"}


def _as_line(colours: dict[str, str], _logger: Any, _name: str, fields: Any) -> str:
    """For people: local time, event, whose, text.  What has no text is told by its fields, but for the empty ones."""
    moment = datetime.fromisoformat(fields.pop("timestamp")).astimezone()
    event, level, text = fields.pop("event"), fields.pop("level"), fields.pop("text", "")
    times, queue_id = fields.pop("times", 0), fields.pop("queue_id", "")
    rest = (
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in fields.items() if value
    )
    said = [
        queue_id,
        str(fields.get("client", "")) if text else "",
        text or "; ".join(rest),
        f"({times} times)" if times else "",
    ]
    begun, ended = colours.get(level, ""), "\x1b[0m" if level in colours else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}  {begun}{event:<9}{ended}  {printable('  '.join(filter(None, said)))}"


def note(event: str, text: str = "", /, *, upstream: str = "", same: Hashable = None, **fields: Any) -> None:
    """Counts and logs one event.  `text` says it in a sentence; `fields` are JSON-able, never a secret, never a body.

    What is refused to one address (`client`) is logged once a minute, by its `code`, and then how often it was; so is
    whatever else is the `same`.
    A log that cannot be written (full disk, closed pipe, a reader that hangs) loses the line, never the mail.
    """
    if event not in EVENTS:
        raise ValueError(f"{event!r} is no event; see relay.events.EVENTS")
    counts[event, upstream] += 1
    if upstream:
        fields["upstream"] = upstream
    if text:
        fields["text"] = text
    if same is None and event in _BY_STRANGERS and "client" in fields:
        same = group_of(fields["client"]), fields.get("code")
    if same is not None:
        with _lock:
            if not _repeats.is_new(event, same, time.monotonic(), fields):
                return
    _say(event, fields)


def _say(event: str, fields: dict[str, Any]) -> None:
    log = _logger()
    speak = log.error if event in _LOUD else log.warning if event in _WARN else log.info
    try:  # noqa: SIM105 - `suppress` costs three calls for each line
        speak(event, **fields)
    except OSError:
        pass


def _tell_lost(lines: int) -> None:
    text = "1 line of this log was lost" if lines == 1 else f"{lines} lines of this log were lost"
    _say("warned", {"text": f"{text}: nobody read them in time", "lost": lines})


def _tell_repeats(least: float = MINUTE) -> float | None:
    if not _repeats.told:
        return None
    with _lock:
        now = time.monotonic()
        over, pause = _repeats.over(now, least), _repeats.next_over(now)
    for one in over:
        _say(one.event, {**one.fields, "times": one.times})
    return pause


def took(what: str, duration: float) -> None:
    """Counts one duration in seconds, for the monitors; nothing is logged."""
    if what not in durations:
        durations[what] = [0] * (len(BUCKETS) + 1)
    durations[what][bisect_left(BUCKETS, duration)] += 1
    microseconds[what] += max(0, round(duration * 1_000_000))


def _logger() -> Any:
    """Made at the first event: `relay queue` counts nothing and must not wait for the import."""
    global _log  # noqa: PLW0603 - the one log of the process
    if _log is None:
        import structlog

        _log = structlog.get_logger().bind()  # without it each call would look up again what it is to be
    return _log


class _Lines:
    """structlog's own loggers take a lock that a thread cannot take twice; the collector may make it log while it logs."""

    def __init__(self, writer: LogWriter) -> None:
        self._write = writer.write

    def msg(self, line: str) -> None:
        self._write(line + "\n")

    debug = info = warning = error = msg


class _Libraries(logging.Handler):
    """What asyncio and the libraries warn of, as one line of our log; their tracebacks name code, not mail."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = f": {record.exc_info[1]!r}" if record.exc_info and record.exc_info[1] else ""
        note(
            "broken", f"{record.name}: {record.getMessage().partition(chr(10))[0]}{cause}", same=(record.name, str(record.msg))
        )
