"""From facts to findings: each fault under its own name, with its cause and its cure, and nothing said twice.  Pure."""

from relay.doctor.facts import Facts, Subject
from relay.doctor.finding import Finding, Grade, fine, problem, warning
from relay.doctor.judge_consent import judge_consents
from relay.doctor.judge_domain import judge_domains
from relay.doctor.judge_here import judge_here
from relay.doctor.judge_line import judge_line
from relay.doctor.judge_upstream import judge_upstream


def judge(facts: Facts, subject: Subject) -> list[Finding]:
    """All findings, in the order in which a person would look: here, the DNS, the upstreams, the domains, the line."""
    findings = [*_configuration(subject), *judge_here(facts, subject), *_resolver(facts, subject)]
    wrong_clock = any(one.name == "clock" and one.grade is Grade.PROBLEM for one in findings)
    no_names = bool(facts.resolver) and not subject.nameservers  # the same resolver: one fault, one finding
    for one in facts.upstreams:
        if no_names and one.name_trouble:
            continue
        findings += judge_upstream(one, subject, wrong_clock=wrong_clock)
    told = frozenset(one.about for one in findings if one.name == "login-oauth")
    findings += judge_consents(facts.consents, told=told)
    findings += judge_domains(facts, subject)
    if facts.line:
        findings += judge_line(facts.line, facts, subject)
    return findings


def _configuration(subject: Subject) -> list[Finding]:
    where = subject.source or "the environment"
    cure = "Change the setting that is named, or leave it if it is meant so."
    remarks = [warning("configuration", where, remark, cure) for remark in subject.remarks]
    return remarks or [fine("configuration", where, f"{len(subject.upstreams)} upstreams, {len(subject.routes)} routes")]


def _resolver(facts: Facts, subject: Subject) -> list[Finding]:
    asked = ", ".join(subject.nameservers) or "the system's resolver"
    if facts.invented:
        cause = "The nameserver makes up an address for names that do not exist: misspelt hosts and domains seem to be there."
        cure = "Set `dns: {nameservers: [...]}` to an honest one, or switch off the search help of the provider or router."
        return [
            warning("resolver-invents", asked, cause, cure, f"a name that does not exist is said to be at {facts.invented}")
        ]
    if not facts.resolver:
        return [fine("resolver", asked, "answers")] if facts.domains or facts.line else []
    cause = "The nameserver knows no name in the internet, so SPF, DMARC and MX records cannot be looked up."
    without = "take the line out" if subject.nameservers else "mend what this system asks (/etc/resolv.conf)"
    cure = f"Set `dns: {{nameservers: [...]}}` to one that answers (often the router: 192.168.0.1:53), or {without}."
    return [problem("resolver", asked, cause, cure, facts.resolver)]
