"""Starts a command of the relay with the options of Home Assistant's app, as the relay's user.

python3 addon.py run | health | queue list ...      config.yaml in /config comes first; then the options are not read
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

DATA = Path("/var/lib/relay")
OWN = Path("/config")
USER = 65532
PAGE = {
    "RELAY_SETUP": "yes",
    "RELAY_WEB_ADDRESS": "0.0.0.0:8025",
    "RELAY_WEB_USER_HEADER": "X-Remote-User-Id",
    "RELAY_WEB_PROXIES": "172.30.32.2",
    "RELAY_WEB_HOSTS": "homeassistant.local",
}
"""The page is Home Assistant's: its Supervisor, which has this address everywhere, names who has logged in."""


def settings(options: Mapping[str, object]) -> dict[str, str]:
    """The variables that say the same; what is empty is not set.  Pure."""
    return {f"RELAY_{name.upper()}": str(value) for name, value in options.items() if value not in ("", None)}


def environment() -> dict[str, str]:
    if (OWN / "config.yaml").exists():
        return {**os.environ, "RELAY_CONFIG": str(OWN)}
    return {**os.environ, **PAGE, **settings(json.loads((DATA / "options.json").read_text(encoding="utf-8")))}


def main(words: list[str]) -> None:
    told = environment()  # as root: Home Assistant lets nobody else read the options
    if os.geteuid() == 0:
        if words[:1] == ["run"]:
            DATA.chmod(0o700)
            for path in (DATA, *DATA.rglob("*")):  # all of it: a backup that was restored may be root's
                if path.name != "options.json":
                    os.chown(path, USER, USER, follow_symlinks=False)
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
    os.execvpe("relay", ["relay", *words], told)  # noqa: S606, S607 - the image has one


if __name__ == "__main__":
    main(sys.argv[1:])
