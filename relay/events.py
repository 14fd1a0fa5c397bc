"""What happened: one call counts it and logs it.  Event names are past participles of the trade."""

import contextlib
import json
import logging
import sys
from bisect import bisect_left
from collections import Counter
from typing import Any

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
        "failed",
        "expired",
        "noticed",
        "held",
        "released",
        "removed",
        "acknowledged",
        "rested",
        "woke",
        "warned",
        "started",
        "stopped",
        "reloaded",
        "broken",
    ]
)
"""Every event there is; `note` takes no other."""

_LOUD = frozenset({"failed", "expired", "broken"})
_WARN = frozenset({"deferred", "rested", "refused", "held", "warned"})
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
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)


def configure(log_format: str = "auto", level: str = "info") -> None:
    """Sends events to stdout: `console`, `json`, or `auto` (console on a terminal); libraries' warnings too."""
    import structlog

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # an 8-bit address must not end a log call
    console = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(_as_json)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)


def _as_json(fields: Any, **_options: Any) -> str:
    return _ENCODER.encode(fields)


def note(event: str, text: str = "", /, *, upstream: str = "", **fields: Any) -> None:
    """Counts and logs one event.  `text` says it in a sentence; `fields` are JSON-able, never a secret, never a body.

    A log that cannot be written (full disk, closed pipe) costs the line, never the mail.
    """
    if event not in EVENTS:
        raise ValueError(f"{event!r} is no event; see relay.events.EVENTS")
    counts[event, upstream] += 1
    if upstream:
        fields["upstream"] = upstream
    if text:
        fields["text"] = text
    log = _logger()
    speak = log.error if event in _LOUD else log.warning if event in _WARN else log.info
    with contextlib.suppress(OSError):
        speak(event, **fields)


def took(what: str, duration: float) -> None:
    """Counts one duration in seconds, for the monitors; nothing is logged."""
    durations.setdefault(what, [0] * (len(BUCKETS) + 1))[bisect_left(BUCKETS, duration)] += 1
    microseconds[what] += max(0, round(duration * 1_000_000))


def _logger() -> Any:
    """Made at the first event: `relay queue` counts nothing and must not wait for the import."""
    global _log  # noqa: PLW0603 - the one log of the process
    if _log is None:
        import structlog

        _log = structlog.get_logger().bind()  # without it each call would look up again what it is to be
    return _log


class _Libraries(logging.Handler):
    """What asyncio and the libraries warn of, as one line of our log; their tracebacks name code, not mail."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = f": {record.exc_info[1]!r}" if record.exc_info and record.exc_info[1] else ""
        note("broken", f"{record.name}: {record.getMessage().partition(chr(10))[0]}{cause}")
