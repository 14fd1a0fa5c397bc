"""The one-time code of set-up in the browser: made, kept for a second start, compared.

It is in the log for whoever owns the machine: 100 random bits.  A file in the state directory (mode 0600) has it as long as
nothing was finished, so that a start that was broken off does not make the person look it up again.
"""

import hmac
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from relay.upstream.state_file import replace_file

HOUR = timedelta(hours=1)
"""How long a code is good; another start within it does not make it longer."""

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is mistaken for another one
_MEANT = str.maketrans("OIL", "011")
_GROUPS, _EACH = 5, 4


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """`text` as the log shows it; `file` keeps it; `until` it is good."""

    text: str
    file: Path
    until: datetime

    def fits(self, said: str) -> bool:
        return hmac.compare_digest(_plain(said).encode("utf-8", "replace"), _plain(self.text).encode())

    def void(self) -> None:
        """It is worth nothing any more.  Blocks."""
        with suppress(OSError):
            self.file.unlink()


def open_code(state_dir: Path, web: str, now: datetime) -> OneTimeCode:
    """The code of a start before, if that is not over, else a new one.  `web` is where the page is.  Raises OSError."""
    file = state_dir / "setup.json"
    text, until = _kept(file, now) or (_new(), now + HOUR)
    known = {"code": text, "until": until.isoformat(timespec="seconds"), "web": web}
    replace_file(file, state_dir, json.dumps(known).encode())
    return OneTimeCode(text, file, until)


def page_in(state_dir: Path) -> str:
    """Where the page of a set-up is that has not ended; "" if there is none."""
    found = _read(state_dir / "setup.json")
    return str(found.get("web", ""))


def _new() -> str:
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_EACH)) for _ in range(_GROUPS))


def _kept(file: Path, now: datetime) -> tuple[str, datetime] | None:
    """The code of a start before and its end; None if it is over, or none."""
    found = _read(file)
    with suppress(KeyError, TypeError, ValueError):
        text, until = str(found["code"]), datetime.fromisoformat(found["until"])
        if len(_plain(text)) == _GROUPS * _EACH and now < until <= now + HOUR:
            return text, until
    return None


def _read(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_bytes()[:10_000])
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain(said: str) -> str:
    """Without blanks, dashes and case, and each letter as the one that is meant."""
    return "".join(char for char in said[:200].upper() if char.isalnum()).translate(_MEANT)
