"""Who hears of failures, and how often.  Pure."""

from dataclasses import dataclass
from datetime import timedelta

from relay.mail.address import Address


@dataclass(frozen=True, slots=True)
class NoticePolicy:
    """`to` is the person in charge (None: nobody), `webhook` a URL that gets a JSON POST ("" if none);
    failures that follow the first within `digest` are told together."""

    to: Address | None = None
    webhook: str = ""
    digest: timedelta = timedelta(minutes=15)
