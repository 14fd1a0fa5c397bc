"""The Received field that we add.  RFC 5321 s4.4.  Pure."""

import re
from datetime import datetime

from relay.mail.dates import write_date
from relay.mail.envelope import Origin
from relay.mail.message import Field

_NAME_SAFE = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}\Z")


def received(queue_id: str, accepted_at: datetime, hostname: str, origin: Origin, *, hide_client: bool = False) -> Field:
    """The trace field of this hop; with `hide_client` it does not show the client's name and address.

    A HELO argument that is no name (empty, several words, 8-bit) is written as `unknown`, since others parse this field.
    """
    name = origin.helo if _NAME_SAFE.match(origin.helo) else "unknown"
    client = f"IPv6:{origin.client}" if ":" in origin.client else origin.client
    source = "" if hide_client or not _NAME_SAFE.match(client) else f"from {name} ([{client}])\r\n\t"
    protocol = origin.protocol if origin.protocol.isalnum() else "SMTP"
    moment = write_date(accepted_at.astimezone())
    return Field.of("Received", f"{source}by {hostname} with {protocol} id {queue_id};\r\n\t{moment}")
