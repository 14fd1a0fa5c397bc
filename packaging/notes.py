"""Prints what CHANGELOG.md says of one version, for the release page; ends with 1 if it says nothing.

python packaging/notes.py v0.2.0
"""

import re
import sys
from pathlib import Path


def notes(changelog: str, version: str) -> str:
    """The text under that version's heading; "" if there is none.  Pure."""
    found = re.search(rf"(?ms)^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |^\[[^\n]*\]: |\Z)", changelog)
    return found[1].strip() if found else ""


if __name__ == "__main__":
    wanted = sys.argv[1].removeprefix("v")
    text = notes((Path(__file__).resolve().parent.parent / "CHANGELOG.md").read_text(encoding="utf-8"), wanted)
    print(text or f"CHANGELOG.md says nothing of {wanted}.", file=sys.stdout if text else sys.stderr)
    sys.exit(0 if text else 1)
