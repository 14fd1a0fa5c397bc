"""The page's words, in English and Japanese.  What servers and the trail say stays as it was said.  Pure."""

from datetime import datetime, timedelta

from relay.control.texts import TEXTS

LANGUAGES = ("en", "ja")

_UNITS = (("d", 86400, 2), ("h", 3600, 2), ("m", 60, 1), ("s", 1, 1))
_WEEKDAYS = {"en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), "ja": ("月", "火", "水", "木", "金", "土", "日")}


class Texts:
    """The words of one language: `t("some_wait", n=3)`.  Raises KeyError for what has no words."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        text = TEXTS[key][self._column]
        one, _, many = text.partition("|")
        return (one if values.get("n") == 1 or not many else many).format(**values)

    def ago(self, moment: datetime, now: datetime) -> str:
        """`3 min ago`, `in 4 h`."""
        seconds = (now - moment).total_seconds()
        if abs(seconds) < 5:
            return self("now")
        unit, number = _largest(abs(seconds))
        return self(f"{unit}_{'ago' if seconds > 0 else 'in'}", n=number)

    def span(self, length: timedelta) -> str:
        """`26 h`."""
        unit, number = _largest(length.total_seconds())
        return self(f"{unit}_long", n=number)

    def weekday(self, moment: datetime) -> str:
        return _WEEKDAYS[self.language][moment.weekday()]


def _largest(seconds: float) -> tuple[str, int]:
    """The unit that says it in a small number, from two of it up: 26 hours are no `1 day`."""
    for unit, length, least in _UNITS:
        if seconds >= length * least:
            return unit, int(seconds // length)
    return "s", 0


def language_of(accept: str) -> str:
    """The best of our languages by an Accept-Language header (RFC 9110 s12.5.4); English if none is asked for."""
    best, weight = LANGUAGES[0], 0.0
    for part in accept.lower().split(","):
        tag, _, q = part.strip().partition(";")
        try:
            wanted = float(q.strip().removeprefix("q=")) if q else 1.0
        except ValueError:
            continue
        name = tag.strip().partition("-")[0]
        if name in LANGUAGES and wanted > weight:
            best, weight = name, wanted
    return best
