"""A sender's domain: what it publishes, and what that means - SPF by each upstream, DMARC, whether answers come back.  Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.doctor.dmarc import Dmarc, aligned
from relay.doctor.finding import Finding, Grade, fine, problem, warning
from relay.doctor.sending_hosts import Evidence, SendingHosts
from relay.doctor.spf_check import FAIL, NONE, PASS, PERMERROR, TEMPERROR, SpfResult, is_name
from relay.doctor.spf_propose import Proposal
from relay.doctor.subject import Subject
from relay.mail.dkim_record import zone_line
from relay.mail.rewrite import Rewrite
from relay.networks import in_lan
from relay.upstream.providers import preset_for
from relay.upstream.settings import DIRECT_UPSTREAM, Upstream


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain that mail goes out in the name of: `mx` as published ("" in it is the null MX), and its DMARC policy.

    `inside`: the private address of its mail host, which shows that the nameserver tells the LAN's own view of it.
    """

    domain: str
    exists: bool = True
    mx: tuple[str, ...] = ()
    has_address: bool = False
    dmarc: Dmarc = field(default_factory=Dmarc)
    inside: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class SendingPath:
    """Mail in the name of `domain` delivered by `upstream`: what SPF says to it, and the record that would do.

    `theirs`: the domain belongs to the provider (or another one), so its DNS is not the user's to change.  `signed`: a DKIM
    signature of the domain that receivers can check is on it.
    """

    domain: str
    upstream: str
    outgoing: SendingHosts
    outcome: SpfResult
    proposal: Proposal = field(default_factory=Proposal)
    theirs: str = ""
    signed: bool = False


def judge_domains(
    domains: Sequence[DomainFacts], ways: Sequence[SendingPath], own_ways: Sequence[SendingPath], subject: Subject
) -> list[Finding]:
    """`own_ways` are those of mail that we deliver ourselves."""
    findings: list[Finding] = []
    for domain in domains:
        found = [_mailbox(domain)]
        if domain.exists and not domain.trouble:
            found += judge_ways([domain], ways, subject.upstreams)
            if domain.inside:
                found += judge_ways([domain], own_ways, {DIRECT_UPSTREAM.name: DIRECT_UPSTREAM})
            found += _dmarc(domain)
        findings += _split(found, domain, subject) if domain.inside else found
    findings += [one for upstream in subject.upstreams.values() for one in _from_stays(upstream)]
    return findings


def judge_ways(domains: Iterable[DomainFacts], ways: Iterable[SendingPath], upstreams: Mapping[str, Upstream]) -> list[Finding]:
    """SPF for each domain by each upstream; domains of which the DNS tells nothing have another finding."""
    sound = {one.domain: one for one in domains if one.exists and not one.trouble}
    judged = [(_spf(way, sound[way.domain], upstreams[way.upstream]), way) for way in ways if way.domain in sound]
    return [_beside_dkim(found, way) if way.signed else found for found, way in judged]


def _beside_dkim(found: Finding, way: SendingPath) -> Finding:
    """SPF is no problem where DKIM makes up for it; some receivers look at SPF all the same."""
    if found.grade is Grade.OK:
        return found
    seen = f"the mail is signed by DKIM as {way.domain}, so it is aligned and passes DMARC all the same"
    return replace(found, grade=Grade.WARNING, evidence=(*found.evidence, seen))


def _split(found: list[Finding], facts: DomainFacts, subject: Subject) -> list[Finding]:
    """Split DNS: receivers may see another zone than we, so what looks wrong in ours is only told as seen from here.

    What is sound stays: most such nameservers change an address or two and leave the rest.
    """
    wrong = [one for one in found if one.grade is not Grade.OK]
    if not wrong:
        return found
    asked = ", ".join(subject.nameservers) or "the system's resolver"
    cause = (
        f"By {asked} mail for the domain goes to {facts.inside}, an address of a LAN. That is a view for the LAN only, so what "
        "receivers see of SPF, DMARC and MX is not known here."
    )
    cure = (
        'Set `dns: {nameservers: ["9.9.9.9:53"]}`, or another one outside, and run the doctor again; if that one tells the '
        "same, publish the public address of the mail host."
    )
    seen = (f"seen from here, {one.about}: {one.cause}" for one in wrong)
    return [*(one for one in found if one.grade is Grade.OK), warning("split-dns", facts.domain, cause, cure, *seen)]


def _mailbox(facts: DomainFacts) -> Finding:
    """Whether the domain can receive: receivers refuse senders that nobody can answer, and failure notices go there."""
    domain = facts.domain
    if facts.trouble:
        cure = "Run the doctor again; if it stays so, the domain's nameservers are in trouble: ask its registrar."
        return warning("domain-unknown", domain, "The DNS failed on this domain of the sender.", cure, facts.trouble)
    if not facts.exists:
        cause = "The sender's domain does not exist: every receiver refuses its mail."
        cure = "Correct `sender` (or `sender_domains`) of the upstream; if the domain is yours, see whether it has ended."
        return problem("domain-missing", domain, cause, cure, f"the DNS says there is no {domain}")
    if facts.mx and not any(facts.mx):
        cause = "The domain says that it takes no mail at all (null MX, RFC 7505), so receivers refuse mail from it."
        cure = f"Publish the MX of the mail host for {domain}, or use a sender of a domain that can receive."
        return problem("null-mx", domain, cause, cure, f"{domain} MX 0 .")
    if not facts.mx and not facts.has_address:
        cause = "The domain has neither a mail host (MX) nor an address: nobody can answer, and receivers refuse its mail."
        return problem("no-mx", domain, cause, f"Publish an MX for {domain}: the name of the mail host where its mailbox is.")
    if not facts.mx:
        cause = "The domain has no mail host (MX); answers go to its web address, which seldom takes mail."
        return warning("no-mx", domain, cause, f"Publish an MX for {domain}: the name of the mail host where its mailbox is.")
    return fine("mx", domain, f"mail for it goes to {facts.mx[0]}")


def _spf(way: SendingPath, domain: DomainFacts, upstream: Upstream) -> Finding:
    result, about = way.outcome.result, f"{way.domain} by {way.upstream}"
    known, preset = way.outgoing.evidence, preset_for(upstream.provider)
    if result == TEMPERROR:
        cause = "It is not known whether SPF passes: the DNS failed on a record that it needs."
        return warning("spf-unknown", about, cause, "Run the doctor again in a few minutes.", way.outcome.why)
    if preset and preset.own_path and result != PERMERROR:
        return fine("spf", about, f"{preset.name} delivers under a reverse-path of its own; what counts is DKIM, set up there")
    in_the_lan = all(map(in_lan, way.outgoing.samples))
    if in_the_lan and result not in (NONE, PERMERROR):
        return _unknown_addresses(way, about)
    if result == PASS:
        return fine("spf", about, f"SPF passes: {way.outcome.why or way.outgoing.term}")
    evidence = (f"SPF says {result}: {way.outcome.why}", _consequence(domain.dmarc), *way.outgoing.doubts)
    if way.theirs:
        return _theirs(way, about, upstream, evidence)
    host = upstream.transport.host
    own = is_name(host) and aligned(way.domain, host)
    if in_the_lan or known is Evidence.UNKNOWN:
        return _to_be_asked(way, about, upstream, evidence, own=own)
    name, cause = _cause(way)
    if not way.proposal.record:
        cure = (
            f"Take terms out of the record of {way.domain} until at most 10 look-ups are left, and put {way.outgoing.term} in; "
            "no record that keeps all of it would pass."
        )
        return problem("spf-too-long", about, cause, cure, *evidence)
    cure = f"Publish this as the only SPF record (TXT) of {way.domain}, keeping what else is there."
    if preset and preset.spf_tick:
        cure += f" At {preset.name} the tick box for SPF in the control panel does the same."
    if upstream.transport.by_domain:
        cure += " If your address changes now and then, send by an upstream instead."
    tell = problem
    if known is Evidence.LIKELY:
        # what the host publishes is a guess at where it delivers from, if a good one
        likely = f"{way.outgoing.term} is likely, by what {host} publishes, and not certain"
        cure = f"If {host} delivers by itself: {cure}" if own else f"Ask the provider first: {likely}. {cure}"
        tell = problem if result in (NONE, PERMERROR) else warning
    if own and result == NONE:
        cure = f"If {way.domain} is yours, publish this TXT record; if it is your provider's, nothing can be done here."
        tell = warning
    return tell(name, about, cause, cure, *evidence, *way.proposal.changes, publish=zone_line(way.domain, way.proposal.record))


def _to_be_asked(way: SendingPath, about: str, upstream: Upstream, evidence: tuple[str, ...], *, own: bool) -> Finding:
    """It is not known where the upstream delivers from: then no record is named, only whom to ask what."""
    result, host = way.outcome.result, upstream.transport.host
    ask = (
        f'Ask the provider of {host}: "Which include: belongs in the SPF record of my domain {way.domain} when its '
        f'mail goes out by your server?"'
    )
    if own and result not in (NONE, PERMERROR):
        return fine("spf", about, "the domain and the server have one owner, so SPF is the owner's task")
    if result in (NONE, PERMERROR):
        name, cause = _cause(way)
        cure = f'{ask} Then publish one record with it: "v=spf1 mx include:... ~all".'
        if own:
            cure = f"If {way.domain} is yours, publish a sound SPF record that names {host}; if not, tell your provider."
        return (warning if own else problem)(name, about, cause, cure, *evidence)
    cause = (
        f"Where {way.upstream} delivers from is not published, and the SPF record of {way.domain} names neither its host nor "
        "anything else of its domain: only its provider knows whether SPF passes."
    )
    cure = f"{ask} If it is not in the record yet, put it before the `all` there."
    return warning("spf-unverifiable", about, cause, cure, *evidence)


def _cause(way: SendingPath) -> tuple[str, str]:
    domain, result = way.domain, way.outcome.result
    if result == NONE:
        return "spf-none", f"{domain} publishes no SPF record: receivers cannot tell its mail from forged mail."
    if result == PERMERROR:
        return "spf-broken", f"The SPF record of {domain} has a mistake, so receivers treat all its mail as suspicious."
    if result == FAIL:
        seems = "forbids" if way.outgoing.evidence is Evidence.CERTAIN else "seems to forbid"
        return "spf-fail", f"The SPF record of {domain} {seems} what {way.upstream} delivers: its addresses are not in it."
    return (
        "spf-weak",
        f"The SPF record of {domain} does not name {way.upstream}: its mail looks unverified and is filed as spam.",
    )


def _consequence(dmarc: Dmarc) -> str:
    if dmarc.enforced:
        return f"and by its DMARC policy (p={dmarc.policy}) receivers {_DEEDS[dmarc.policy]} it unless DKIM saves it"
    return "and no DMARC policy asks for more than that"


_DEEDS = {"quarantine": "file as spam", "reject": "refuse"}


def _unknown_addresses(way: SendingPath, about: str) -> Finding:
    if way.outgoing.samples:
        return fine("spf", about, "the upstream is in the LAN: what it delivers by is not known here")
    cause = "The addresses that this upstream delivers from are not known: neither it nor its domain publishes them."
    cure = f"Ask the provider which `include:` belongs in the SPF record of {way.domain}."
    return warning("spf-unverifiable", about, cause, cure, *way.outgoing.doubts)


def _theirs(way: SendingPath, about: str, upstream: Upstream, evidence: tuple[str, ...]) -> Finding:
    preset = preset_for(upstream.provider)
    if preset and preset.name == way.theirs:
        return fine("spf", about, f"the domain is {way.theirs}'s own, which answers for it")
    cause = f"{way.domain} belongs to {way.theirs}: nobody else can send in its name and pass SPF."
    cure = (
        f"Set `sender` to an address of this account or of a domain of yours, or route such mail by {way.theirs}'s own server."
    )
    return problem("spf-foreign", about, cause, cure, *evidence)


def _dmarc(facts: DomainFacts) -> Iterator[Finding]:
    dmarc, domain = facts.dmarc, facts.domain
    if dmarc.mistake:
        cure = f'Publish one record at _dmarc.{dmarc.domain}, for example "v=DMARC1; p=none".'
        yield warning("dmarc-broken", domain, f"The DMARC record does not count: {dmarc.mistake}.", cure, dmarc.record)
    elif dmarc.policy:
        strict = ", for this very domain only (aspf=s)" if dmarc.strict else ""
        what = f"asks receivers to {_DEEDS.get(dmarc.policy, 'let pass')} mail that is not aligned{strict}"
        rewriting = "a sender that the relay rewrites to this domain is aligned, as envelope and From change together"
        yield fine("dmarc", domain, f"p={dmarc.policy} {what}; {rewriting}")


def _from_stays(upstream: Upstream) -> Iterator[Finding]:
    identity = upstream.identity
    if identity.sender and not identity.rewrite_from and identity.rewrite is not Rewrite.NEVER:
        cause = (
            "With `rewrite_from: false` the device's own From stays while the envelope becomes the account's, so the two "
            "are not aligned: where the From's domain has a DMARC policy, receivers refuse the mail."
        )
        yield warning("dmarc-from", upstream.name, cause, "Leave `rewrite_from` out, or list the domain in `sender_domains`.")
