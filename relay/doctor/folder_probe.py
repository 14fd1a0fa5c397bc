"""Evidence about a folder that is an upstream: is it there, may it be written, what is it on?  Nothing is left behind."""

import os
import pwd
import tempfile
from dataclasses import replace
from pathlib import Path

from relay.container import lost_with_container, mount_of
from relay.doctor.folder import FolderFacts
from relay.mail.reply import Fault
from relay.upstream.file_names import parts_of
from relay.upstream.file_writer import FolderFailed, enter, failing, room
from relay.upstream.settings import Upstream


def folder_facts(upstream: Upstream, root: Path = Path("/")) -> FolderFacts:
    """Writes a small file durably, and removes it."""
    fixed, _ = parts_of(upstream.transport.place)
    where = Path(fixed)
    mounted = mount_of(where, root)
    on = f"{mounted[2]} at {mounted[0]}" if mounted else ""
    facts = FolderFacts(upstream, fixed, on=on, unmounted=_unmounted(where, root), user=_user())
    try:
        folder = enter(fixed, ())
        try:
            with failing(fixed):
                free = room(folder)
                with tempfile.NamedTemporaryFile(dir=fixed, prefix=".relay-doctor-", suffix=".part") as file:
                    file.write(b"\0" * 4096)
                    file.flush()
                    os.fsync(file.fileno())
        finally:
            os.close(folder)
    except FolderFailed as failed:
        return replace(facts, fault=failed.fault, words=str(failed))
    return replace(facts, room=free, lost=lost_with_container(where, root))


def hanging(upstream: Upstream, words: str) -> FolderFacts:
    """What is said of a folder whose disk or share did not answer."""
    fixed, _ = parts_of(upstream.transport.place)
    return FolderFacts(upstream, fixed, Fault.FOLDER_IO, f"{fixed}: {words}", user=_user())


def _unmounted(folder: Path, root: Path) -> str:
    """A mount point of /etc/fstab at or above the folder where nothing is mounted now."""
    try:
        lines = (root / "etc/fstab").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    planned = [fields[1] for line in lines if len(fields := line.split()) > 2 and fields[1].startswith("/") and line[:1] != "#"]
    for point in planned:
        place = Path(point.replace("\\040", " "))
        if point != "/" and (place == folder or place in folder.parents):
            mounted = mount_of(place, root)
            if mounted is not None and mounted[0] != place.resolve():
                return str(place)
    return ""


def _user() -> str:
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = "a user without a name"
    return f"the doctor runs as {name} ({os.geteuid()}), groups {', '.join(map(str, sorted({os.getegid(), *os.getgroups()})))}"
