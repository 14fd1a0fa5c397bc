"""An upstream that is a folder: what is known of it, and what that means.  Pure."""

from dataclasses import dataclass

from relay.doctor.finding import Finding, fine, problem, warning
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.replies import judge
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """The part of a folder's path that must be there, and what became of a file written there for a try.

    `room` octets may be written (None: the file system does not tell).  `on` is the file system and its mount point.
    `unmounted`: /etc/fstab has a mount above the folder that is not mounted.  `lost`: why files are gone with the container.
    `user` is who the doctor runs as.
    """

    upstream: Upstream
    fixed: str
    fault: Fault | None = None
    words: str = ""
    room: int | None = None
    on: str = ""
    unmounted: str = ""
    lost: str = ""
    user: str = ""


_NAMES = {
    Fault.FOLDER_MISSING: "folder-missing",
    Fault.FOLDER_RIGHTS: "folder-rights",
    Fault.FOLDER_FULL: "folder-full",
}
_TIGHT = 100_000_000  # octets; two large scans


def judge_folder(facts: FolderFacts) -> list[Finding]:
    """The findings on one folder."""
    name, seen = facts.upstream.name, tuple(one for one in (facts.words, facts.on) if one)
    if facts.unmounted:
        cause = f"{facts.unmounted} is not mounted, so files would be written on the disk below it, where nobody looks."
        cure = (
            f"Mount it. Better set `folder` to a folder inside of it (`{facts.unmounted}/scans`): that is missing without it."
        )
        return [problem("folder-unmounted", name, cause, cure, *seen)]
    if facts.fault:
        advice = judge(Answer(Stage.CONNECT, Reply(451, "", facts.words), fault=facts.fault)).advice
        who = (facts.user,) if facts.fault is Fault.FOLDER_RIGHTS else ()
        return [problem(_NAMES.get(facts.fault, "folder-io"), name, advice.cause, advice.remedy, *seen, *who)]
    if facts.lost:
        cause = f"Files of this upstream are lost when the container is made anew: {facts.lost}."
        return [problem("folder-lost", name, cause, "Give the container a volume for it (`volumes:` in compose.yaml).", *seen)]
    if facts.room is not None and facts.room < _TIGHT:
        cause = f"Only {max(facts.room, 0) / 1e6:.0f} MB may still be written at {facts.fixed}; then scans wait."
        return [warning("folder-full", name, cause, "Make room on that disk.", *seen)]
    free = "" if facts.room is None else f", {facts.room / 1e9:.1f} GB of room"
    return [fine("folder", name, f"{facts.fixed} can be written: {facts.on or 'file system unknown'}{free}")]
