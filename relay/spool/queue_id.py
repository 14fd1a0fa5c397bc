"""Queue ids: short, unique, in order of time."""

import secrets
from datetime import datetime

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing to misread when told on the phone


def new_queue_id(now: datetime) -> str:
    """Fourteen characters: ten of time in milliseconds, four at random (a million ids within one millisecond)."""
    number = int(now.timestamp() * 1000) << 20 | secrets.randbits(20)
    digits = []
    for _ in range(14):
        number, digit = divmod(number, 32)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
