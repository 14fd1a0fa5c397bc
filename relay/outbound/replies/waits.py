"""For how long a server wants us to wait, by its own words: greylisting mostly says so.  Pure."""

import re
from datetime import timedelta

from relay.outbound.replies.echoes import plain

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sek", "sekunde", "sekunden", "secondes", "segundos", "秒"), 1),
    "secondi": 1,
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minuten", "minutos", "minuti", "分", "分钟"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "stunde", "stunden", "heure", "heures", "horas", "ore"), 3600),
}
_UNIT = "|".join(sorted(_SECONDS, key=len, reverse=True))
_PART = rf"([0-9]{{1,5}}) ?-?({_UNIT})(?![a-z0-9])"
_SPAN = re.compile(rf"(?<![0-9a-z.:/-]){_PART}(?:,? (?:and |und |et |y |e )?{_PART})?(?P<past> ago)?")
_CLOCK = re.compile(r"\b(?:in|for|wait|another|remaining|left):? ([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])(?![0-9:])")
"""As milter-greylist says it.  Without such a word before it, it is the time of day."""
_LONGEST = timedelta(hours=4)


def wait_said(text: str) -> timedelta | None:
    """The wait that a reply names; None if it names none, or one that is too long to be meant for mail."""
    words = plain(text)
    if clock := _CLOCK.search(words):
        hours, minutes, seconds = map(int, clock.groups())
        found = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    else:
        said = next((span for span in _SPAN.finditer(words) if not span["past"]), None)
        if said is None:
            return None
        first, unit, second, other = said.groups()[:4]
        found = timedelta(seconds=int(first) * _SECONDS[unit] + int(second or 0) * _SECONDS.get(other or "", 0))
    return found if timedelta(0) < found <= _LONGEST else None
