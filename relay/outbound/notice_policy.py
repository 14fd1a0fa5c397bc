"""Who hears of failures, and how often.  Pure."""

from dataclasses import dataclass, field
from datetime import timedelta

from relay.mail.address import Address


@dataclass(frozen=True, slots=True)
class NoticePolicy:
    """`to` is the person in charge (None: nobody), `webhook` a URL that gets a JSON POST ("" if none);
    failures that follow the first within `digest` are told together."""

    to: Address | None = None
    webhook: str = field(default="", repr=False)  # may have a password or a secret topic in it
    digest: timedelta = timedelta(minutes=15)
