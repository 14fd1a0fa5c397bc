"""Named points at which a test can let the relay die, as by a power failure.

`RELAY_DIE_AT=settle-inside` kills the process the first time it comes there; without the variable nothing happens.
"""

import os
import signal

POINTS = (
    "accept-received",  # the final dot has come; nothing is written
    "accept-inside",  # rows and content are written, the transaction is open
    "accept-durable",  # fsynced; the 250 has not left
    "accept-promised",  # the 250 has left
    "claim-leased",  # an attempt begins; nobody was called
    "send-prepared",  # repaired and rewritten; the upstream was not called
    "file-begun",  # an upstream that is a folder: a part of a file is written, under a hidden name
    "file-written",  # all files are synced, none has its name
    "file-named",  # one of them has its name; nothing is certain yet
    "file-synced",  # all of them have their names, for good
    "send-answered",  # the upstream has answered; we have not stored it
    "settle-inside",  # the fate is written, the transaction is open
    "settle-durable",  # the fate is stored; nobody was told, no log line written
    "notice-composed",  # a failure is stored, its notice is only in memory
    "notice-inside",  # the notice is written and the failure struck off, the transaction is open
    "notice-durable",  # the notice is queued like any other message
)
DIGEST_POINTS = (
    "weigh-inside",  # whether it goes or waits for a digest is written, the transaction is open
    "weigh-durable",  # it is stored; a message that goes was not sent yet
    "digest-composed",  # the digest is only in memory
    "digest-inside",  # the digest is written and its messages ended, the transaction is open
    "digest-durable",  # the digest is queued like any other message
)
"""Those that only mail of a device with a storm rule comes to."""

CONTENT_POINTS = (
    "content-written",  # all of it is synced, under the name of a file that is not finished
    "content-named",  # it has its name; nothing is certain yet
    "content-synced",  # it has it for good; the row that knows of it is not written
    "content-over",  # the row says that nobody wants it, the file is still there
)
"""Those that only large content comes to."""

_DIE_AT = os.environ.get("RELAY_DIE_AT", "")
_ALL = POINTS + DIGEST_POINTS + CONTENT_POINTS
if _DIE_AT and _DIE_AT not in _ALL:
    raise ValueError(f"RELAY_DIE_AT={_DIE_AT}: there is no such point; there are {', '.join(_ALL)}")


def passed(point: str) -> None:
    """The relay passes a point; it dies there if a test asked for it."""
    if point == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)  # not sys.exit: no `finally`, no flush
