"""How far repair may go: the `repair` section of the configuration.  Pure."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RepairPolicy:
    """`date_skew`: how wrong a Date may be before it is replaced.  `fallback_charset`: the guesses for raw 8-bit text.

    `hide_client`: the Received field does not show the client's LAN address.
    """

    date_skew: timedelta = timedelta(days=2)
    fallback_charset: tuple[str, ...] = ("utf-8", "cp932", "euc-jp", "latin-1")
    hide_client: bool = False
