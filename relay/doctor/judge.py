"""From facts to findings: each fault under its own name, with its cause and its cure, and nothing said twice.  Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay.doctor.consent_age import judge_consents
from relay.doctor.dkim import DkimFacts, aligned_by_dkim, judge_dkim, unsigned
from relay.doctor.domain import DomainFacts, SendingPath, judge_domains
from relay.doctor.finding import Finding, Grade, counted, fine, problem, warning
from relay.doctor.folder import FolderFacts, judge_folder
from relay.doctor.host import HostFacts, judge_host
from relay.doctor.mailbox import MailboxFacts, judge_mailbox
from relay.doctor.push import PushFacts, judge_push
from relay.doctor.subject import Subject
from relay.doctor.uplink import UplinkFacts, judge_uplink
from relay.doctor.upstream import UpstreamFacts, judge_upstream


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known.  `resolver` is why the DNS knows no real name, "" if it does; `consents` as in consent_age.

    `invented` is what the resolver said of a name that does not exist, "" if it said so.  `direct` are the user's own
    domains whose mail goes by `mx`.  `named`: no upstream was asked, but all their servers' names have addresses.
    """

    host: HostFacts
    resolver: str = ""
    invented: str = ""
    upstreams: tuple[UpstreamFacts, ...] = ()
    domains: tuple[DomainFacts, ...] = ()
    ways: tuple[SendingPath, ...] = ()
    uplink: UplinkFacts | None = None
    took: float = 0.0
    consents: tuple[Mapping[str, Any], ...] = ()
    folders: tuple[FolderFacts, ...] = ()
    pushes: tuple[PushFacts, ...] = ()
    mailboxes: tuple[MailboxFacts, ...] = ()
    dkim: tuple[DkimFacts, ...] = ()
    direct: tuple[str, ...] = ()
    named: bool = False

    @property
    def upstreams_found(self) -> bool:
        """Whether the servers of all upstreams have addresses, so that no mail waits for the DNS."""
        return self.named or (bool(self.upstreams) and all(one.addresses for one in self.upstreams))


def judge(facts: Facts, subject: Subject) -> list[Finding]:
    """All findings, in the order in which a person would look: here, the DNS, the upstreams, the domains, the line."""
    findings = [*_configuration(subject), *judge_host(facts.host, facts.upstreams, subject)]
    resolver = _resolver(facts, subject)
    only_domains = bool(facts.resolver) and bool(subject.nameservers)  # upstreams are looked up elsewhere, and matter more
    findings += [] if only_domains else resolver
    wrong_clock = any(one.name == "clock" and one.grade is Grade.PROBLEM for one in findings)
    no_names = bool(facts.resolver) and not subject.nameservers  # the same resolver: one fault, one finding
    for one in facts.upstreams:
        if no_names and one.name_trouble:
            continue
        findings += judge_upstream(one, subject, wrong_clock=wrong_clock)
    findings += [finding for one in facts.folders for finding in judge_folder(one)]
    findings += [finding for one in facts.pushes for finding in judge_push(one)]
    findings += [finding for one in facts.mailboxes for finding in judge_mailbox(one)]
    told = frozenset(one.about for one in findings if one.name == "login-oauth")
    findings += judge_consents(facts.consents, told=told)
    findings += resolver if only_domains else []
    line = replace(facts.uplink, ways=_signed(facts.uplink.ways, facts)) if facts.uplink else None
    findings += judge_domains(facts.domains, _signed(facts.ways, facts), line.ways if line else (), subject)
    blind = ("dkim-unknown", "dkim-missing", "dane") if facts.resolver else ()  # the same resolver again
    findings += [one for one in judge_dkim(facts.dkim) if one.name not in blind]
    findings += unsigned(facts.direct, subject.dkim)
    if line:
        seen = judge_uplink(line, facts.domains, facts.upstreams, subject)
        findings += [one for one in seen if one.name not in blind]
    return findings


def _signed(ways: Iterable[SendingPath], facts: Facts) -> tuple[SendingPath, ...]:
    aligned = aligned_by_dkim(facts.dkim)
    return tuple(replace(way, signed=(way.domain, way.upstream) in aligned) for way in ways)


def _configuration(subject: Subject) -> list[Finding]:
    where = subject.source or "the environment"
    cure = "Change the setting that is named, or leave it if it is meant so."
    remarks = [warning("configuration", where, remark.removeprefix(f"{where}:"), cure) for remark in subject.remarks]
    counts = f"{counted(len(subject.upstreams), 'upstream')}, {counted(len(subject.routes), 'route')}"
    return remarks or [fine("configuration", where, counts)]


def _resolver(facts: Facts, subject: Subject) -> list[Finding]:
    asked = ", ".join(subject.nameservers) or "the system's resolver"
    if facts.invented:
        cause = "The nameserver gives an address for names that do not exist, so a misspelt host or domain seems to exist."
        cure = "Set `dns: {nameservers: [...]}` to another one, or switch off the search help of the provider or router."
        return [
            warning("resolver-invents", asked, cause, cure, f"a name that does not exist is said to be at {facts.invented}")
        ]
    if not facts.resolver:
        return [fine("resolver", asked, "answers")] if facts.domains or facts.uplink else []
    unseen = ("what is published for DKIM, SPF and DMARC was not looked at",) if subject.dkim else ()
    cure = (
        "Set `dns: {nameservers: [...]}` to one that answers (often the router: 192.168.0.1:53), or remove it to use "
        "/etc/resolv.conf."
        if subject.nameservers
        else "Repair /etc/resolv.conf (Docker: `dns:` in compose.yaml)."
    )
    if facts.upstreams_found and not subject.uses_mx:
        cause = "The servers of the upstreams are found, so mail goes out; SPF, DMARC and MX records cannot be looked up."
        return [warning("resolver-records", asked, cause, cure, facts.resolver, *unseen)]
    if subject.nameservers:
        lost = "mail by mx cannot be delivered, and " if subject.uses_mx else ""
        cause = f"DNS does not work at these nameservers, so {lost}SPF, DMARC and MX records cannot be looked up."
    else:
        named = [f"{one.upstream.name} ({one.upstream.smtp.host})" for one in facts.upstreams if one.name_trouble]
        by = ", ".join(named + ["mx"] * subject.uses_mx) or "any upstream that is named by host"
        cause = f"Mail by {by} waits, since the server cannot be found: DNS does not work on this machine."
    return [problem("resolver", asked, cause, cure, facts.resolver, *unseen)]
