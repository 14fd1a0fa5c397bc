"""Queue ids: short, unique, in order of time."""

import secrets
from datetime import datetime

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no characters that look alike
_last = 0


def new_queue_id(now: datetime) -> str:
    """Fourteen characters: ten of time in milliseconds, four at random, going up within one millisecond."""
    global _last  # noqa: PLW0603 - by chance alone, devices that send together would meet in one id after some 10,000 times
    number = int(now.timestamp() * 1000) << 20 | secrets.randbits(20)
    if 0 <= _last - number < 1 << 30:  # a second: a clock that was set back further starts afresh
        number = _last + 1
    _last = number
    return "".join([_DIGITS[number >> place & 31] for place in range(65, -1, -5)])
