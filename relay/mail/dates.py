"""The Date field: read as devices write it, written exactly.  RFC 5322 s3.3, s4.3.  Pure."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_EXACT = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?(?P<day>\d{1,2}) (?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    r" (?P<year>\d{4}) (?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
    r" (?P<zone>[+-]\d{4}|GMT|UT|EST|EDT|CST|CDT|MST|MDT|PST|PDT)(?: \([^()\\]*\))?\Z"
)

# Month names that firmware sends in its own language (SmokePing, NAS and mail scripts, Entourage).
_MONTH_NAMES = (
    "jan januar january janvier janv enero ene gennaio gen januari janeiro 1月",
    "feb februar february fevrier fevr fev febrero febbraio februari fevereiro 2月",
    "mar march marz maerz mrz mars marzo maart mrt marco 3月",
    "apr april avril avr abril abr aprile 4月",
    "may mai mayo maggio mag mei maio 5月",
    "jun june juni juin junio giugno giu junho 6月",
    "jul july juli juillet juil julio luglio lug julho 7月",
    "aug august aout aou agosto ago augustus 8月",
    "sep sept september septembre septiembre settembre set setembro 9月",
    "oct october okt oktober octobre octubre ottobre ott outubro out 10月",
    "nov november novembre noviembre novembro 11月",
    "dec december dez dezember decembre diciembre dic dicembre desember dezembro 12月",
)
_MONTH_OF = {name: number for number, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_PLAIN = str.maketrans("áàâäãåéèêëíìîïóòôöõúùûüçñ", "aaaaaaeeeeiiiiooooouuuucn")

# RFC 5322 s4.3 has only North American zones; devices elsewhere write these.  Hours east of Greenwich.
_ZONE_NAMES = (
    "z=0 gmt=0 ut=0 utc=0 wet=0 bst=1 cet=1 met=1 mez=1 west=1 cest=2 mest=2 mesz=2 eet=2 sast=2 eest=3 msk=3 hkt=8 sgt=8"
    " awst=8 jst=9 kst=9 aest=10 aedt=11 nzst=12 nzdt=13 brt=-3 edt=-4 est=-5 cdt=-5 cst=-6 mdt=-6 mst=-7 pdt=-7 pst=-8 hst=-10"
)
_ZONES = {name: int(hours) for name, _, hours in (zone.partition("=") for zone in _ZONE_NAMES.split())}
# What Windows calls them, before `Standard Time`; `Daylight Time` is an hour more.
_PLACE_NAMES = (
    "hawaiian=-10 alaskan=-9 pacific=-8 mountain=-7 us_mountain=-7 central=-6 eastern=-5 us_eastern=-5 sa_pacific=-5"
    " atlantic=-4 argentina=-3 e_south_america=-3 gmt=0 greenwich=0 british=0 w_europe=1 central_europe=1 central_european=1"
    " romance=1 e_europe=2 eastern_european=2 fle=2 gtb=2 israel=2 south_africa=2 russian=3 moscow=3 arab=3 arabian=4 india=5.5"
    " se_asia=7 china=8 singapore=8 taipei=8 w_australia=8 tokyo=9 japan=9 korea=9 aus_eastern=10 e_australia=10 new_zealand=12"
)
_PLACES = {name.replace("_", " "): float(hours) for name, _, hours in (zone.partition("=") for zone in _PLACE_NAMES.split())}
_PLACE = re.compile(r"(?<![a-z])((?:[a-z]{1,9}\.? ){0,2}[a-z]{1,9}) (standard|daylight|summer) time")
_CHINA = timedelta(hours=8)
_TIME = re.compile(r"(?<![\d:.])(\d{1,2}):(\d\d)(?::(\d\d))?(?:[.,]\d+)?(?![\d:])")
_JAPANESE_TIME = re.compile(r"(\d{1,2})時\s*(\d{1,2})分(?:\s*(\d{1,2})秒)?")
_OFFSET = re.compile(r"(?:(gmt|utc?|[a-z]{2,4}t)\s{0,9})?([+-])\s?(\d{1,2})(?::?(\d{2}))?(?![\d:.]\d|\d)")
_ZONE_OFFSET = re.compile(r"(?:^|(?<=[\s\d)a-z]))" + _OFFSET.pattern + r"(?=[\sa-z(]|$)")
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})(?!\d)")
_YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?!\d)")
_DASHED_MONTH = re.compile(r"(?<!\d)(\d{1,2})-([a-z]+)-(\d{2,4})(?!\d)")
_COMPACT = re.compile(r"(?<!\d)(\d{4})(\d\d)(\d\d)[t ]?(\d\d)(\d\d)(\d\d)(?!\d)")
_EPOCH = re.compile(r"\d{9,10}(?:\.\d+)?\Z")
_WORD = re.compile(r"\d{1,2}月|[^\W\d_]+")
_NUMBER = re.compile(r"(?<![\d:+-])(\d{4}|\d{1,2})(?![\d:])")


def write_date(moment: datetime) -> str:
    """The moment in the form of RFC 5322 s3.3, with its own zone."""
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d}"
        f" {moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} {_offset_of(moment)}"
    )


def read_exact(text: str, local: tzinfo = UTC) -> datetime | None:
    """The moment, if the text is a Date that RFC 5322 allows to send, else None.

    CST is six hours west (RFC 5322 s4.3).  Where `local` is China's time, it means that, and the Date must be rewritten.
    """
    match = _EXACT.match(" ".join(text.split()))
    if not match or int(match["second"] or 0) > 59:
        return None  # a leap second is right, but some readers reject it
    if match["zone"].lower() == "cst" and _is_china(local):
        return None
    zone = _zone_of(match["zone"].lower())
    numbers = (int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"]))
    return _moment(numbers, (match["hour"], match["minute"], match["second"]), zone)


def read_lenient(text: str, local: tzinfo) -> datetime | None:
    """The moment of a Date in some other format; None if it is ambiguous or cannot be read.

    Accepted: ISO 8601, asctime, year-first and unambiguous day/month/year numbers, `2024年3月3日 9:15:00`,
    month names of eight languages, epoch seconds, two-digit years, zone names.  Without a zone it is `local` time.
    """
    line = text[:200].strip()
    if _EPOCH.match(line):
        return datetime.fromtimestamp(int(float(line)), local)
    plain = re.sub(r"\([^()]*\)", " ", line).lower().translate(_PLAIN).replace("\u2212", "-")
    clock, rest = _clock(plain)
    if clock is None:
        return None
    day, rest = _numeric_day(_DASHED_MONTH.sub(r"\1 \2 \3", rest))
    day = day or _named_day(rest)
    return _moment(day, clock, _zone_in(rest, line.lower(), local) or local) if day else None


def _clock(plain: str) -> tuple[tuple[str, str, str | None] | None, str]:
    """The time of day, and the text without it."""
    if compact := _COMPACT.search(plain):
        year, month, day, hour, minute, second = compact.groups()
        return (hour, minute, second), f"{plain[: compact.start()]} {year}-{month}-{day} {plain[compact.end() :]}"
    match = _TIME.search(re.sub(r"(?<=\d)t(?=\d)", " ", plain)) or _JAPANESE_TIME.search(plain)
    if not match:
        return None, plain
    hour, minute, second = match.groups()
    rest = f"{plain[: match.start()]} {plain[match.end() :]}"
    if re.search(r"\bp\.?m\b|午後", rest) and int(hour) < 12:
        hour = str(int(hour) + 12)
    elif re.search(r"\ba\.?m\b|午前", rest) and int(hour) == 12:
        hour = "0"
    return (hour, minute, second), rest


def _numeric_day(rest: str) -> tuple[tuple[int, int, int] | None, str]:
    """Year, month and day if they are written in numbers, and the text without them."""
    if match := _YEAR_FIRST.search(rest):
        return (int(match[1]), int(match[2]), int(match[3])), _YEAR_FIRST.sub(" ", rest)
    match = _YEAR_LAST.search(rest)
    if not match:
        return None, rest
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    rest = _YEAR_LAST.sub(" ", rest)
    if match[2] == "." or first > 12 or first == second:
        return (year, second, first), rest
    return ((year, first, second) if second > 12 else None), rest


def _named_day(rest: str) -> tuple[int, int, int] | None:
    # the last one: "mar., 7 août" begins with a Tuesday
    named = next((word for word in reversed(_WORD.findall(rest)) if word in _MONTH_OF), "")
    if not named:
        return None
    numbers = _NUMBER.findall(_ZONE_OFFSET.sub(" ", rest.replace(named, " ")))
    years = [number for number in numbers if len(number) == 4] or numbers[1:2]
    days = [number for number in numbers if number not in years] or numbers[:1]
    if len(years) != 1 or len(days) != 1 or len(numbers) != 2:
        return None
    year = int(years[0])
    return year if year > 99 else year + (2000 if year < 50 else 1900), _MONTH_OF[named], int(days[0])


def _zone_in(rest: str, whole: str, local: tzinfo) -> tzinfo | None:
    """The zone in the text.  A number counts more than a name beside it; but POSIX writes nine hours east as `JST-9`."""
    words = re.findall(r"[a-z]+", re.sub(r"^[a-z]+,?", " ", whole))
    named = next((_hours(word, local) for word in words if word in _ZONES and word not in _MONTH_OF), None)
    beside = " ".join(re.findall(r"\(([^()]*)\)", whole))
    if offset := _ZONE_OFFSET.search(rest) or _ZONE_OFFSET.search(beside):
        number = (-1 if offset[2] == "-" else 1) * timedelta(hours=int(offset[3]), minutes=int(offset[4] or 0))
        east = (
            (_CHINA, _hours("cst", local)) if offset[1] == "cst" else (_hours(offset[1], local),) if offset[1] in _ZONES else ()
        )
        return _fixed(-number if -number in east else number)
    if place := _PLACE.search(whole):
        words = place[1].replace(".", "").split()
        known = next(
            (hours for start in range(len(words)) if (hours := _PLACES.get(" ".join(words[start:]))) is not None), None
        )
        if known is not None:
            return _fixed(timedelta(hours=known + (place[2] != "standard")))
    return None if named is None else _fixed(named)


def _hours(zone: str, local: tzinfo) -> timedelta:
    return _CHINA if zone == "cst" and _is_china(local) else timedelta(hours=_ZONES[zone])


def _is_china(local: tzinfo) -> bool:
    return local.utcoffset(datetime(2020, 1, 1)) == _CHINA  # noqa: DTZ001 - a wall clock is what is asked for


def _zone_of(name: str) -> tzinfo | None:
    if name in _ZONES:
        return _fixed(timedelta(hours=_ZONES[name]))
    return _fixed((-1 if name[0] == "-" else 1) * timedelta(hours=int(name[1:3]), minutes=int(name[3:5])))


def _fixed(offset: timedelta) -> tzinfo | None:
    return timezone(offset) if abs(offset) < timedelta(hours=24) else None


def _moment(day: tuple[int, int, int], clock: tuple[str, str, str | None], zone: tzinfo | None) -> datetime | None:
    hour, minute, second = int(clock[0]), int(clock[1]), min(int(clock[2] or 0), 59)
    try:
        return datetime(*day, hour, minute, second, tzinfo=zone) if zone else None
    except (ValueError, OverflowError):
        return None


def _offset_of(moment: datetime) -> str:
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return f"{sign}{minutes // 60:02d}{minutes % 60:02d}"
