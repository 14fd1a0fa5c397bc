"""This machine: what is known of its clock, listeners and container, and what that means.  Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from relay.doctor.certificate import CertificateFacts, judge_certificates
from relay.doctor.finding import Finding, fine, problem, warning
from relay.doctor.spool import DatabaseFacts, SpoolFacts, judge_spool
from relay.doctor.subject import Subject
from relay.doctor.upstream import UpstreamFacts
from relay.inbound.admission import Listener, mask_warnings
from relay.mail.reply import Fault
from relay.networks import Address


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """`trouble` in the system's words, with its errno's name; `holder` who has the port, as far as it can be seen.

    `unsure`: the port is forbidden to us, and the service may have a right that we have not.
    """

    listener: Listener
    errno: str = ""
    trouble: str = ""
    holder: str = ""
    ours: bool = False
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class HostFacts:
    """This machine: `now` by its clock, where the spool would be lost (""), whose place clients are shown in."""

    now: datetime
    spool: SpoolFacts | None = None
    listeners: tuple[ListenerFacts, ...] = ()
    container: bool = False
    masks: frozenset[Address] = frozenset()
    lost: str = ""
    database: DatabaseFacts | None = None
    certificates: tuple[CertificateFacts, ...] = ()


WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock that is right is before this."""

_TOLERANCE = timedelta(minutes=5)
_BANNER_DATE = re.compile(r"(?:\w{3}, ?)?\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d (?:[+-]\d{4}|GMT|UTC)")


def judge_host(here: HostFacts, upstreams: Iterable[UpstreamFacts], subject: Subject) -> list[Finding]:
    findings = [_clock(here, upstreams)]
    findings += judge_spool(here.spool, here.database, subject)
    findings += _container(here, subject)
    findings += [_listener(one, here.spool.owner if here.spool else "") for one in here.listeners]
    return findings + judge_certificates(here.certificates, here.now)


# --- the clock


def clock_skews(here: HostFacts, upstreams: Iterable[UpstreamFacts]) -> list[tuple[timedelta, str]]:
    """How far our clock is ahead of those that upstreams tell in their banners, and who said so."""
    found = []
    for one in upstreams:
        said = _BANNER_DATE.search(one.talk.banner) if one.talk else None
        if said:
            try:
                there = parsedate_to_datetime(said[0])
                if there.tzinfo is None:  # -0000: universal time, from a place that is not told (RFC 5322 s3.3)
                    there = there.replace(tzinfo=UTC)
                found.append((here.now - there, one.upstream.name))
            except ValueError:
                continue
    return found


def _clock(here: HostFacts, upstreams: Iterable[UpstreamFacts]) -> Finding:
    there = list(upstreams)
    cure = "Switch on time synchronisation (NTP: systemd-timesyncd or chrony on this machine, the NTP setting on a NAS)."
    about = f"{here.now:%Y-%m-%d %H:%M} UTC"
    if here.now < WRITTEN:
        cause = f"The clock says {here.now:%Y-%m-%d}, earlier than this program's release."
        return problem("clock", about, cause, f"Set it. {cure}")
    # one server with a wrong clock must not accuse ours: the closest one counts
    if skews := sorted(clock_skews(here, there), key=lambda one: abs(one[0])):
        skew, who = skews[0]
        if abs(skew) <= _TOLERANCE:
            return fine("clock", about, f"agrees with that of {who}")
        words = f"{_span(abs(skew))} {'ahead of' if skew > timedelta(0) else 'behind'} that of {who}"
        cause = f"The clock of this machine is {words}: certificates cannot be verified, and mail has a wrong date."
        return problem("clock", about, cause, cure, f"{who} greeted with its own time")
    early = [one for one in there if one.talk and one.talk.failed and one.talk.failed.fault is Fault.TLS_EARLY]
    if early:
        cause = "The clock of this machine seems to be behind: a certificate that is in use is not valid yet by it."
        return problem(
            "clock", about, cause, cure, *(str(one.talk.failed.reply) for one in early if one.talk and one.talk.failed)
        )
    return fine("clock", about, "set; no upstream told its own time to compare")


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 2880 else f"{minutes // 1440} days"


# --- the container


def _container(here: HostFacts, subject: Subject) -> list[Finding]:
    findings = []
    if here.lost:
        cause = "Queued mail will be lost when the container is recreated."
        cure = "Mount a named volume there: `volumes: [spool:/var/lib/relay]` in compose.yaml."
        findings.append(warning("spool-no-volume", str(subject.state_dir), cause, cure, here.lost))
    for sentence in mask_warnings([one.listener for one in here.listeners], here.masks):
        cause = "Every device may look as if it came from the container's own network (NAT), so who sends cannot be told."
        cure = "Use `network_mode: host` or a macvlan network; or list the gateway in `listen.networks` (`RELAY_NETWORKS`)."
        findings.append(warning("nat", ", ".join(map(str, sorted(map(str, here.masks)))), cause, cure, sentence))
    if here.container and not findings:
        findings.append(fine("container", "container", "the spool is on a volume, and devices keep their addresses"))
    return findings


# --- the listeners


def _listener(facts: ListenerFacts, service: str) -> Finding:
    """`service`: the user that the relay runs as, if it is another than ours."""
    name, port = facts.listener.name, facts.listener.port
    if not facts.trouble or facts.ours:
        return fine("listener", name, "the relay listens there" if facts.ours else "free")
    if facts.errno == "EADDRINUSE":
        by = f" by {facts.holder}" if facts.holder else ""
        cure = f"Stop that program (on Debian often exim4 or postfix), or listen on another port than {port}."
        return problem("port-taken", name, f"Another program has the port: it is taken{by}.", cure, facts.trouble)
    if facts.errno in ("EACCES", "EPERM"):
        cure = (
            "Give the program CAP_NET_BIND_SERVICE (AmbientCapabilities= in the unit, cap_add in compose.yaml), "
            "or listen on a port from 1024."
        )
        if not facts.unsure:
            cause = "No program in this container may listen on a port below 1024."
            return problem("port-forbidden", name, cause, cure, facts.trouble)
        if service:
            return fine("listener", name, f"nobody has it; whether {service} may listen there is not seen by this user")
        cause = "This user may not listen on a port below 1024; a service that was given that right may."
        return warning("port-forbidden", name, cause, f"Nothing, if the relay runs as such a service. {cure}", facts.trouble)
    if facts.errno in ("EADDRNOTAVAIL", "EAFNOSUPPORT"):
        cure = "Set `listen.address` to an address of this machine, or 0.0.0.0:25 for all of them."
        return problem("listen-address", name, "This machine does not have that address.", cure, facts.trouble)
    return problem("listener", name, "The relay cannot listen there.", "See what the system says.", facts.trouble)
