"""What the doctor says: a grade, the evidence, the cause and the cure.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

PAGE = "docs/findings.md"

_NAMES = """
    configuration clock spool-not-writable spool-alien spool-damaged spool-content spool-full spool-tight
    spool-slow spool-no-volume port-taken port-forbidden listen-address listener
    nat check-up resolver resolver-records upstream-name upstream-port op25b
    upstream-down upstream-unreachable upstream-mute upstream-refuses address-refused upstream-hello
    tls tls-mode tls-not-offered tls-trust tls-name tls-expired
    tls-soon tls-old tls-pin tls-ca-file tls-none tls-unverified
    login login-later login-mechanism login-oauth login-lost pop-login pop-window
    pop-needless senderhosts sender-refused sender-later ipv6-mute domain-missing
    domain-unknown null-mx no-mx spf-none spf-fail spf-weak
    spf-broken spf-too-long spf-foreign spf-unknown spf-unverifiable dmarc-broken
    dmarc-from port-25 port-25-unknown public-address pbl block-list
    block-list-refused block-list-unknown reverse-dns dane
    spool-away spool-version spool-schema spool-rights spool-leases spool-clock
    other-user resolver-invents split-dns upstream-slow graph-rights graph-mailbox
    push-process push-url push-trouble push-unclear push-unreachable push-unexamined push-clear
    folder-missing folder-unmounted folder-rights folder-full folder-io folder-lost
    certificate-unusable certificate-expired certificate-soon
    dkim-key dkim-missing dkim-several dkim-revoked dkim-broken dkim-other-key dkim-testing
    dkim-short dkim-ed25519 dkim-none dkim-unknown
"""
NAMES = frozenset(_NAMES.split())
"""Every finding that is not fine; each has a section of that name on the page."""


class Grade(Enum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`name` is stable, and its section on the page; `about` is whom it concerns: an upstream, a domain, a listener.

    `evidence` are sentences, with the other side's own words; `publish` is a DNS record, ready to be copied.
    """

    name: str
    grade: Grade
    about: str
    cause: str
    cure: str = ""
    evidence: tuple[str, ...] = ()
    publish: str = ""

    def __post_init__(self) -> None:
        if self.grade is not Grade.OK and self.name not in NAMES:
            raise ValueError(f"{self.name!r} has no section in {PAGE}")

    @property
    def link(self) -> str:
        return f"{PAGE}#{self.name}"

    def as_json(self) -> dict[str, Any]:
        """The stable keys of `doctor --json`."""
        return {
            "name": self.name,
            "grade": self.grade.value,
            "about": self.about,
            "cause": self.cause,
            "cure": self.cure,
            "evidence": list(self.evidence),
            "publish": self.publish,
            "link": self.link if self.grade is not Grade.OK else "",
        }


def fine(name: str, about: str, cause: str, *evidence: str) -> Finding:
    return Finding(name, Grade.OK, about, cause, evidence=evidence)


def warning(name: str, about: str, cause: str, cure: str, *evidence: str, publish: str = "") -> Finding:
    return Finding(name, Grade.WARNING, about, cause, cure, evidence, publish)


def problem(name: str, about: str, cause: str, cure: str, *evidence: str, publish: str = "") -> Finding:
    return Finding(name, Grade.PROBLEM, about, cause, cure, evidence, publish)


def problems(findings: Iterable[Finding]) -> list[Finding]:
    return [one for one in findings if one.grade is Grade.PROBLEM]


def in_words(finding: Finding, *, colour: bool = False) -> list[str]:
    """The lines of one finding for a person; what is fine takes one line."""
    mark = _painted(finding.grade, colour)
    lines = [f"{mark:<{7 + len(mark) - len(finding.grade.value)}}  {finding.about}: {finding.cause}"]
    if finding.grade is Grade.OK:
        return lines
    lines += [f"         seen: {sentence}" for sentence in finding.evidence]
    if finding.cure:
        lines.append(f"         cure: {finding.cure}")
    if finding.publish:
        lines += ["", f"             {finding.publish}", ""]
    return [*lines, f"         more: {finding.link}"]


def summary(findings: Iterable[Finding]) -> str:
    """One line for the end: how many of each grade."""
    grades = [one.grade for one in findings]
    bad = [(grades.count(Grade.PROBLEM), "problem"), (grades.count(Grade.WARNING), "warning")]
    said = " and ".join(counted(number, word) for number, word in bad if number)
    return said or f"no problem found ({counted(len(grades), 'check')} made)"


def counted(number: int, what: str) -> str:
    """`1 route`, `2 routes`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


_COLOURS = {Grade.OK: "32", Grade.WARNING: "33", Grade.PROBLEM: "1;31"}


def _painted(grade: Grade, colour: bool) -> str:
    return f"\x1b[{_COLOURS[grade]}m{grade.value}\x1b[0m" if colour else grade.value
