"""An upstream that is a push service: what is known of each of its URLs, and what that means.  Pure."""

from dataclasses import dataclass

from relay.doctor.finding import Finding, fine, problem, warning
from relay.mail.reply import Answer, Fault
from relay.outbound.replies import judge
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class UrlFacts:
    """One URL by its number: which service, and where a connection led.  Nothing was sent.

    `failed` is why there was no connection.  `examined`: False where that cannot be tried without sending.
    """

    number: int
    service: str = ""
    peer: str = ""
    tls: str = ""
    failed: Answer | None = None
    examined: bool = True


@dataclass(frozen=True, slots=True)
class PushFacts:
    """`trouble` is why nothing could be found out."""

    upstream: Upstream
    urls: tuple[UrlFacts, ...] = ()
    trouble: str = ""


def judge_push(facts: PushFacts) -> list[Finding]:
    """The findings on one upstream, one for each URL."""
    name = facts.upstream.name
    if facts.trouble:
        cure = "Run the doctor again. If it stays so, look whether this machine has memory left, and please report it."
        return [problem("push-process", name, "The process for push services does not work.", cure, facts.trouble)]
    return [_judged(name, one, len(facts.urls)) for one in facts.urls]


def _judged(name: str, url: UrlFacts, count: int) -> Finding:
    which = f"{url.service or 'a push service'}{f' (URL {url.number + 1} of {count})' if count > 1 else ''}"
    if url.failed:
        advice = judge(url.failed).advice
        if url.failed.fault is Fault.PUSH_ACCOUNT:
            return problem("push-url", name, f"{which}: {advice.cause}", advice.remedy, str(url.failed))
        cure = "Check the host in the URL, the line, DNS, and whether a firewall lets HTTPS out. "
        return problem("push-unreachable", name, f"{which}: {advice.cause}", f"{cure}{_TLS}".strip(), str(url.failed))
    if not url.examined:
        cure = f"Send a test: `relay send --to YOU --via {name}`."
        return warning(
            "push-unexamined", name, f"{which} is not reached by HTTP, so it cannot be examined without sending.", cure
        )
    if not url.tls:
        cure = "Use the form of the URL with TLS (ntfys://, gotifys://, jsons://), unless it is a server of yours in the home."
        return warning(
            "push-clear", name, f"{which} is reached, but without TLS: its token can be read on the way.", cure, url.peer
        )
    return fine("push", name, f"{which} is reached at {url.peer}: {url.tls}. Whether it takes the token shows when it is used")


_TLS = "For a certificate of your own, name its authority in the variable SSL_CERT_FILE, or put `verify=no` into the URL."
