"""Whose time the page shows: the viewer's, as page.js tells it in a cookie, else that of this machine."""

import re
from datetime import datetime, timedelta
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from starlette.requests import Request

ZONE_COOKIE = "relay_zone"
_NAME = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}")


def viewers_zone(request: Request) -> ZoneInfo | None:
    """None if the browser has not said it, or what it said is no zone that is known here."""
    name = unquote(request.cookies.get(ZONE_COOKIE, ""))
    return zone_named(name)


def zone_named(name: str) -> ZoneInfo | None:
    """The zone by its IANA name; a file's path is never made of anything else."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not known, or the name of a folder
        return None


def offset_of(moment: datetime) -> str:
    """`UTC+09:00`."""
    east = moment.utcoffset() or timedelta()
    minutes = abs(east) // timedelta(minutes=1)
    return f"UTC{'-' if east < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"
