"""DKIM: whether the record in the DNS is the one of the key, and what receivers make of it.  RFC 6376 s3.6, RFC 8301.  Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relay.doctor.finding import Finding, fine, problem, warning
from relay.mail.dkim_record import PublicKey, name_of, read, zone_line
from relay.upstream.settings import DIRECT_UPSTREAM, DkimKey

_SHORT = 2048


@dataclass(frozen=True, slots=True)
class DkimFacts:
    """One key and what the DNS has for it: `records` are its TXT records, `trouble` why they are not known.

    `public` None: there is no key yet, or it cannot be used (`unusable`).
    """

    key: DkimKey
    public: PublicKey | None = None
    unusable: str = ""
    records: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def passes(self) -> bool:
        """Whether receivers can check what it signs."""
        if self.public is None or len(self.records) != 1:
            return False
        found = read(self.records[0])
        return bool(found.key and found.key.same_as(self.public) and not found.testing)


def judge_dkim(facts: Sequence[DkimFacts]) -> list[Finding]:
    findings = [finding for one in facts for finding in _judged(one)]
    for domain in dict.fromkeys(one.key.domain for one in facts):
        kinds = {one.public.kind for one in facts if one.public and one.key.domain == domain}
        if kinds == {"ed25519"}:
            cause = "All keys of the domain are Ed25519: Gmail, Microsoft and many others cannot check such signatures."
            cure = f"Add an RSA key under another selector: {{domain: {domain}, selector: rsa}}; then both sign."
            findings.append(warning("dkim-ed25519", domain, cause, cure))
    return findings


def aligned_by_dkim(facts: Iterable[DkimFacts]) -> frozenset[tuple[str, str]]:
    """(domain, upstream) of mail that passes DMARC whatever SPF says: it is signed in the domain of its From."""
    return frozenset((one.key.domain, name) for one in facts if one.passes for name in one.key.via)


def unsigned(domains: Iterable[str], keys: Iterable[DkimKey]) -> Iterator[Finding]:
    """Which of the domains whose mail goes straight to MX nobody signs for."""
    signed = {key.domain for key in keys if DIRECT_UPSTREAM.name in key.via}
    for domain in domains:
        if domain not in signed:
            cause = (
                "Mail from the domain that goes by `mx` is not signed (DKIM): Gmail and others file it as spam, or refuse it."
            )
            cure = f"Set `dkim: {{domain: {domain}}}`, publish what `relay dkim {domain}` prints, and reload."
            yield warning("dkim-none", domain, cause, cure)


def _judged(facts: DkimFacts) -> Iterator[Finding]:
    key, about = facts.key, name_of(facts.key.domain, facts.key.selector)
    if facts.unusable:
        cause = "The key cannot be used, so mail from the domain waits, or takes the next upstream of its route."
        cure = "Put a private key there (PEM, no passphrase) that the relay's user can read; the relay tries again by itself."
        yield problem("dkim-key", about, cause, cure, facts.unusable)
    elif not facts.public:
        cause = "There is no key yet; it is made when the relay starts, and receivers need its record before they get mail."
        yield warning("dkim-key", about, cause, f"Run `relay dkim {key.domain}` and publish what it prints.")
    elif facts.trouble:
        cause = "It is not known whether the record is published: the DNS failed on it."
        yield warning("dkim-unknown", about, cause, "Run the doctor again in a few minutes.", facts.trouble)
    else:
        yield _published(facts, facts.public, about)
        if facts.public.kind == "rsa" and facts.public.bits < _SHORT:
            cause = f"The key is short ({facts.public.bits} bits): some receivers do not count its signatures (RFC 8301)."
            cure = (
                f"Add a key under another selector ({{domain: {key.domain}, selector: new}}), publish it, and remove this one."
            )
            yield warning("dkim-short", about, cause, cure)


def _published(facts: DkimFacts, public: PublicKey, about: str) -> Finding:
    publish, key = zone_line(about, public.record), facts.key
    if not facts.records:
        cause = "The record is not published: receivers take what is signed for unsigned, or for forged."
        cure = "Publish this TXT record; panels often add the domain to the name by themselves."
        return problem("dkim-missing", about, cause, cure, f"there is no TXT record at {about}", publish=publish)
    if len(facts.records) > 1:
        cause = f"There are {len(facts.records)} records at this name; which one a receiver takes is chance."
        return problem("dkim-several", about, cause, "Leave only this one.", *facts.records, publish=publish)
    found = read(facts.records[0])
    if found.revoked:
        cause = "The record says that the key was revoked (an empty p=), so no signature of it counts."
        return problem("dkim-revoked", about, cause, "Publish this one instead.", found.text, publish=publish)
    if found.mistake:
        cause = f"The record does not count: {found.mistake}."
        cure = f"Publish exactly this. {_cut(found.text, public)}".rstrip()
        return problem("dkim-broken", about, cause, cure, found.text, publish=publish)
    if found.key and not found.key.same_as(public):
        cause = "The record is of another key than the one that signs, so every signature is wrong."
        cure = f"Publish this one instead, or put the key of that record in place of {key.key_file}."
        return problem("dkim-other-key", about, cause, cure, found.text, publish=publish)
    if found.testing:
        cause = "The record says t=y (a test): receivers may treat what is signed as unsigned."
        return warning("dkim-testing", about, cause, "Take t=y out once mail arrives.", found.text, publish=publish)
    size = f"RSA, {public.bits} bits" if public.kind == "rsa" else "Ed25519"
    return fine("dkim", about, f"published, and the same as the key ({size}); signed is what goes by {', '.join(key.via)}")


def _cut(text: str, public: PublicKey) -> str:
    """A hint where a panel kept only the beginning."""
    bare, whole = "".join(text.split()), "".join(public.record.split())
    if bare and whole.startswith(bare):
        there = f"{len(text)} of {len(public.record)} characters are there"
        return f"It was cut off: {there}. Enter it as several strings of one record."
    return ""
