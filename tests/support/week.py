"""A spool with a week of mail behind it, made by the spool itself: for pictures, and for what is counted by the hour."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Entry, Settlement, State, TrailLine
from tests.support.spooled import after

DEVICES = (("nas", "192.168.1.9"), ("scanner", "192.168.1.21"), ("camera-3", "192.168.1.33"))


def a_week(folder: Path, *, messages: int = 60) -> None:
    """Fills `folder`/spool.db: mail more or less evenly over the last seven days, some of it put off first."""
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_fill(folder, messages))


async def _fill(folder: Path, messages: int) -> None:
    now = datetime.now(UTC) - timedelta(minutes=5)
    moments = [now - timedelta(hours=166) * (1 - number / messages) ** 1.1 for number in range(messages)]
    spool = await open_spool(SpoolSettings(f"sqlite:{folder}/spool.db", keep_free=0), now=lambda: datetime.now(UTC))
    try:
        for number, at in enumerate(moments):
            helo, client = DEVICES[number % len(DEVICES)]
            entry = Entry(
                queue_id=f"0{number:09d}week",
                accepted_at=at,
                origin=Origin(client, helo, "0.0.0.0:25"),
                envelope=Envelope(Address(helo, "home.example"), (Address("taro", "isp.example"),)),
                size=20,
                content=(b"Subject: hello\r\n\r\nhi",),
            )
            details = {"client": client, "helo": helo, "subject": f"Report {number} of the {helo}"}
            await spool.commit(entry, (TrailLine(at, "accepted", f"from {client} ({helo}), 20 octets", details),))
            claim = await spool.claim(at)
            assert claim is not None
            relayed = {"upstream": "isp", "code": 250, "status": "2.0.0", "said": "Ok", "to": "taro@isp.example"}
            trail = [TrailLine(at, "deferred", "taro@isp.example: waits until the line is up")] if number % 7 == 3 else []
            trail.append(TrailLine(at, "relayed", "isp took it for taro@isp.example in 0.2 s: 250 2.0.0 Ok", relayed))
            outcome = after(claim.recipients[0], State.RELAYED)
            sent = "isp" if at.date() == now.date() else ""  # it is counted as of today
            await spool.settle(claim, Settlement(outcomes=(outcome,), trail=tuple(trail), sent=sent))
            await spool.release(claim)
    finally:
        await spool.close()
