"""An upstream that is a push service: what is known of each of its URLs, and what that means.  Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from relay.doctor.finding import Finding, fine, problem, warning
from relay.mail.reply import Answer, Fault
from relay.outbound.replies import judge
from relay.upstream.push.check_calls import Proof
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class UrlFacts:
    """One URL by its number: which service, and what it answered.  Nothing was sent.

    `failed` is why it does not work, or why it is not known.  `proved` is what its check call shows; `unclear`: that was
    answered with `status`, which shows nothing.  `examined`: False where nothing can be tried without sending, or where the
    time was over before, after `late` seconds.
    """

    number: int
    service: str = ""
    peer: str = ""
    tls: str = ""
    failed: Answer | None = None
    proved: Proof = Proof.NOTHING
    unclear: bool = False
    status: int = 0
    examined: bool = True
    late: float = 0.0


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
    return [finding for one in facts.urls for finding in _judged(name, one, len(facts.urls))]


def _judged(name: str, url: UrlFacts, count: int) -> Iterator[Finding]:
    which = f"{url.service or 'a push service'}{f' (URL {url.number + 1} of {count})' if count > 1 else ''}"
    test = f"`relay send --to YOU --via {name}`"
    if url.failed:
        yield _failed(name, which, url.failed)
        return
    if url.late:
        cause = f"{which} was not examined, since {url.late:g} seconds were over."
        cure = f"Where other URLs do not answer, mend these first. A small board may be too slow for it: send a test, {test}."
        yield warning("push-unexamined", name, cause, cure)
        return
    if not url.examined:
        yield warning("push-unexamined", name, f"{which} cannot be examined without sending.", f"Send a test: {test}.")
        return
    if url.unclear:
        cause = f"{which} says that this login may not read there, or does not know the question (HTTP {url.status})."
        cure = f"That is right for a login that may only write. Else correct the URL. A test shows which: {test}."
        yield warning("push-unclear", name, cause, cure, url.peer)
    if not url.tls:
        cure = "Use the form of the URL with TLS (ntfys://, gotifys://, jsons://), unless it is a server of yours in the home."
        cause = f"{which} is reached, but without TLS: its token can be read on the way. {_PROVED[url.proved]}."
        yield warning("push-clear", name, cause, cure, url.peer)
    elif not url.unclear:
        yield fine("push", name, f"{which} is reached at {url.peer}: {url.tls}. {_PROVED[url.proved]}")


def _failed(name: str, which: str, answer: Answer) -> Finding:
    if answer.fault is Fault.PUSH_REFUSED:  # there was no message: what it does not take is the URL
        answer = replace(answer, fault=Fault.PUSH_ACCOUNT)
    advice = judge(answer).advice
    if answer.fault is Fault.INTERNAL:
        cure = "Install it anew: pip install 'lan-mail-relay[push]'. Then run the doctor again."
        return problem("push-process", name, "The library for push services does not work.", cure, str(answer))
    if answer.lost:
        cure = "Check the host in the URL, the line, DNS, and whether a firewall lets HTTPS out. "
        return problem("push-unreachable", name, f"{which}: {advice.cause}", f"{cure}{_TLS}", str(answer))
    if answer.fault is Fault.PUSH_ACCOUNT:
        return problem("push-url", name, f"{which}: {advice.cause}", advice.remedy, str(answer))
    return warning("push-trouble", name, f"{which}: {advice.cause}", advice.remedy, str(answer))


_PROVED = {
    Proof.TARGET: "It takes the token, and knows whom a message is for",
    Proof.LOGIN: "It takes the login; whether the topic, channel or room takes a message shows when one is sent",
    Proof.SERVER: "Whether it takes the login shows when a message is sent",
    Proof.NOTHING: "It has no call by which a token can be examined, so whether it takes it shows when a message is sent",
}
_TLS = "For a certificate of your own, name its authority in the variable SSL_CERT_FILE, or put `verify=no` into the URL."
