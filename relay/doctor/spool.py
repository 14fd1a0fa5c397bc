"""The spool: what is known of its file or its database, and what that means.  Pure."""

from dataclasses import dataclass

from relay.doctor.finding import Finding, counted, fine, problem, warning
from relay.doctor.subject import Subject
from relay.spool.contract import SpoolSettings

_APART = 2.0  # seconds that two clocks may differ
_NAMED = 5  # messages or files in one finding
_SLOW = 1.0  # seconds for one durable page: a device waits for that at each mail


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """`trouble` why nothing can be written there; `free` octets (-1: unknown); `alien`: what the file is, if no spool.

    `owner`: the user whose directory it is, "" unless that is somebody else than we are, and not root; `hangs`: no answer.
    `damage`: what is amiss in the file, as a start would find it.  `content_lost`: queue ids of messages whose file of content
    is missing or has another length; `content_unknown`: names in that folder that no message knows.
    """

    path: str
    trouble: str = ""
    free: int = -1
    alien: str = ""
    slow: float = 0.0
    owner: str = ""
    hangs: bool = False
    damage: str = ""
    content_lost: tuple[str, ...] = ()
    content_unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A spool in PostgreSQL, `place` as logs may show it; `trouble` why nothing could be asked.

    `server` is its version ("16.4"), `supported` whether that will do; `schema` the version of the tables (0: there are
    none), `newest` the one that this relay knows, `may_make`: this role may make them.  `lacking` are rights, as GRANTs.
    `relays` have shown a sign of life lately; `stuck` messages whose lease ended long ago, and nobody took over;
    `ahead` seconds that the database's clock is before ours; `stored` octets of mail.  `waiting` messages are in the
    fallback.
    """

    place: str
    trouble: str = ""
    server: str = ""
    supported: bool = True
    schema: int = 0
    newest: int = 0
    may_make: bool = True
    lacking: str = ""
    relays: tuple[str, ...] = ()
    stuck: int = 0
    ahead: float = 0.0
    stored: int = 0
    waiting: int = 0


def judge_spool(file: SpoolFacts | None, database: DatabaseFacts | None, subject: Subject) -> list[Finding]:
    """`file` is the spool, or beside a database its fallback."""
    found = [judge_database(database, subject.spool)] if database else []
    return [*found, judge_file(file, subject.spool, subject.command)] if file else found


def judge_database(facts: DatabaseFacts, settings: SpoolSettings) -> Finding:
    about = facts.place
    if facts.trouble:
        told = "its mail waits in the fallback meanwhile" if settings.fallback else "devices are told to try again (451)"
        waits = (
            (f"{counted(facts.waiting, 'message')} wait{'s' if facts.waiting == 1 else ''} in the fallback",)
            if facts.waiting
            else ()
        )
        cure = "Start the server, or correct what it names: address, name or password in `spool`, pg_hba.conf, the network."
        grade = warning if settings.fallback else problem
        return grade("spool-away", about, f"The spool's database cannot be used, so {told}.", cure, facts.trouble, *waits)
    if not facts.supported:
        cause = f"PostgreSQL {facts.server} is too old for the spool, so the relay does not start."
        return problem("spool-version", about, cause, "Use PostgreSQL 12 or newer.")
    if facts.schema > facts.newest:
        cause = f"The tables were made by a newer version of the relay (schema {facts.schema}, this one knows {facts.newest})."
        return problem("spool-version", about, cause, "Start the newer version; an older one never touches such tables.")
    if facts.schema < facts.newest and not facts.may_make:
        what = "are not there" if not facts.schema else f"are of an older version (schema {facts.schema} of {facts.newest})"
        cause = f"The spool's tables {what}, and this role may not make them, so the relay does not start."
        return problem("spool-schema", about, cause, "Run `relay spool prepare URL` once, as the role that owns them.")
    if facts.lacking:
        cure = "Run the GRANT as the owner; docs/postgres.md has all of them."
        return problem("spool-rights", about, "The role may not do what the relay needs.", cure, facts.lacking)
    if facts.schema and facts.stored + 2 * settings.max_message + settings.keep_free > settings.max_size:
        cause = f"Little room: {_mb(facts.stored)} of mail wait, and spool.max_size is {_mb(settings.max_size)}."
        return warning("spool-tight", about, cause, "Set a larger `spool.max_size`, or see why the mail does not go out.")
    if facts.stuck:
        cause = f"A relay that is dead still holds {counted(facts.stuck, 'message')}, and no other relay takes over."
        cure = "Start a relay with this spool: it takes them over within seconds. If one runs, look at its log."
        return warning("spool-leases", about, cause, cure, f"relays seen lately: {', '.join(facts.relays) or 'none'}")
    if abs(facts.ahead) > _APART:
        side = "ahead of" if facts.ahead > 0 else "behind"
        cause = f"The database's clock is {abs(facts.ahead):.0f} seconds {side} that of this machine."
        cure = "Switch on time synchronisation (NTP) on both machines; otherwise retries and notices come at wrong hours."
        return warning("spool-clock", about, cause, cure)
    if not facts.schema:
        return fine("spool", about, f"PostgreSQL {facts.server}; the relay makes its tables at the first start")
    seen = f"relays seen lately: {', '.join(facts.relays)}" if facts.relays else "no relay has been seen lately"
    return fine("spool", about, f"PostgreSQL {facts.server}, {_mb(facts.stored)} of mail; {seen}")


def judge_file(spool: SpoolFacts, settings: SpoolSettings, command: str) -> Finding:
    about, setting = spool.path, "spool.fallback" if settings.fallback else "spool.url"
    if spool.alien:
        cure = f"Set `{setting}` to a file of its own, for example sqlite:/var/lib/relay/spool.db."
        return problem("spool-alien", about, f"The file is no spool: it is {spool.alien}.", cure)
    if spool.trouble and spool.owner:
        cause = f"The spool belongs to the user {spool.owner}, so whether it can be written is not seen by this one."
        return warning(
            "other-user", about, cause, f"Run the doctor as that user: `sudo -u {spool.owner} {command}`.", spool.trouble
        )
    if spool.hangs:
        cause = "The disk that the spool is on does not answer, so no mail can be accepted."
        cure = "Check the disk, or the network share; the spool belongs on a disk of this machine."
        return problem("spool-not-writable", about, cause, cure, spool.trouble)
    if spool.trouble:
        cure = f"Give the relay's user the directory (chown), mount it writable, or set `{setting}` to another place."
        return problem(
            "spool-not-writable", about, "The spool cannot be written, so no mail can be accepted.", cure, spool.trouble
        )
    if spool.damage:
        cause = "The file is damaged, and the relay does not start on it: that could lose what can still be saved."
        cure = (
            f"Save what can be read with `relay queue export DIRECTORY`, move {about.rpartition('/')[2]}* to another folder,"
            " start again with an empty spool; then check the disk."
        )
        return problem("spool-damaged", about, cause, cure, spool.damage)
    if spool.content_lost or spool.content_unknown:
        return _judge_content(spool)
    free = _mb(spool.free)
    if 0 <= spool.free <= settings.keep_free:
        cause = (
            f"The disk is too full: {free} are free, and spool.keep_free keeps {_mb(settings.keep_free)}. Devices are told 452."
        )
        return problem("spool-full", about, cause, "Make room on that disk, or set a smaller `spool.keep_free`.")
    if 0 <= spool.free < settings.keep_free + 2 * settings.max_message:
        cause = f"Little room: {free} are free, two of the largest messages ({_mb(settings.max_message)} each) would fill it."
        return warning("spool-tight", about, cause, "Make room on that disk before devices are told 452.")
    if spool.slow > _SLOW:
        cause = f"The disk is slow: {spool.slow:.1f} seconds to write one page; a device waits that long for each message."
        return warning("spool-slow", about, cause, "Put the spool on a faster disk; a worn SD card is the usual reason.")
    return fine("spool", about, f"writable, {free} free")


def _judge_content(spool: SpoolFacts) -> Finding:
    folder = f"{spool.path}-content"
    if spool.content_lost:
        cause = f"The content of {counted(len(spool.content_lost), 'message')} is missing in {folder}, or cut short."
        cure = "Put the files back if you have them. What has none is held when its turn comes: `relay queue remove ID`."
        return problem("spool-content", spool.path, cause, cure, _some(spool.content_lost))
    cause = f"{counted(len(spool.content_unknown), 'file')} in {folder}: no message knows of that."
    cure = "A crash leaves such files; the next start removes those named like `7.eml` or `7.part`. Others are not the relay's."
    return warning("spool-content", spool.path, cause, cure, _some(spool.content_unknown))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _mb(octets: int) -> str:
    return f"{octets / 1_000_000:,.0f} MB"
