"""Evidence about a spool in a file: can it be written, how much room is there, what is the file?  Nothing is left behind."""

import os
import tempfile
import time
from pathlib import Path

from relay.doctor.spool import SpoolFacts
from relay.other_user import nearest, other_user
from relay.spool.sqlite.connections import in_truth
from relay.spool.sqlite.schema import content_amiss, damage

_SQLITE = b"SQLite format 3\0"
_OURS = 0x72656C79  # application_id in the header of every spool, octets 68 to 71
_EXAMINED = 4.0  # seconds at most for the inside of the file: the doctor has other patients


def file_facts(path: Path, root: Path = Path("/")) -> SpoolFacts:
    """Whether a spool can live there."""
    path = in_truth(path)
    trouble, slow = _written(path.parent)
    if not trouble and os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        trouble = f"{path} may not be read and written by this user"
    owner = other_user(path.parent, root) if trouble else ""
    alien = _alien(path)
    harm = "" if trouble or alien else damage(path, _EXAMINED)
    lost, strange = ((), ()) if trouble or alien or harm else content_amiss(path, _EXAMINED)
    return SpoolFacts(
        str(path), trouble, _free(path.parent), alien, slow, owner, damage=harm, content_lost=lost, content_unknown=strange
    )


def _written(folder: Path) -> tuple[str, float]:
    """Writes a page durably, as the spool will; why that failed, and seconds it took."""
    there = nearest(folder)
    if there != folder:
        fit = os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)
        return "" if fit else f"{folder} is missing, and this user may not make it in {there}", 0.0
    begun = time.monotonic()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as page:
            page.write(b"\0" * 4096)
            page.flush()
            os.fsync(page.fileno())
    except OSError as error:
        return f"{folder}: {error.strerror or error}", 0.0
    return "", time.monotonic() - begun


def _free(folder: Path) -> int:
    try:
        seen = os.statvfs(nearest(folder))
    except OSError:
        return -1
    return seen.f_bavail * seen.f_frsize


def _alien(path: Path) -> str:
    """What a file in the spool's place is, if it is none: told by its header alone."""
    try:
        with path.open("rb") as opened:
            head = opened.read(100)
    except OSError:
        return ""
    if not head:
        return ""
    if not head.startswith(_SQLITE):
        return "no database"
    if len(head) < 100:
        return "a database that was cut short"
    return "" if int.from_bytes(head[68:72]) in (0, _OURS) else "the database of another program"
