"""One message to push services that keep their documented API, through the library in its own process.

letter ──> PushDelivery ──> push process (Apprise) ──> ntfy, Gotify, Telegram on loopback
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.doctor.finding import Grade
from relay.doctor.push import PushFacts, judge_push
from relay.doctor.push_probe import push_facts
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Stage
from relay.outbound.replies import Blame, Fate, judge
from relay.secret import Secret
from relay.upstream.push import process
from relay.upstream.push.check_calls import Proof
from relay.upstream.push.transport import PushDelivery
from relay.upstream.report import Report
from relay.upstream.settings import PushService, Upstream
from tests.support.push_chats import Matrix
from tests.support.push_services import JPEG, NEEDS_APPRISE, Gotify, Ntfy, Service, Telegram, children, hiding, proxy, serving
from tests.support.running import ROOT
from tests.support.sending import letter, server_context
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import until

pytestmark = NEEDS_APPRISE


@pytest.fixture
async def delivery() -> AsyncIterator[PushDelivery]:
    made = PushDelivery()
    yield made
    await made.close()


@pytest.fixture
def ntfy() -> Iterator[Ntfy]:
    with serving(Ntfy()) as service:
        yield service


@pytest.fixture
def gotify() -> Iterator[Gotify]:
    with serving(Gotify()) as service:
        yield service


def phone(*urls: str, timeout: float = 10, **more: Any) -> Upstream:
    return Upstream("phone", PushService(tuple(map(Secret, urls)), **more), timeout=timedelta(seconds=timeout))


def at(service: Service, query: str = "") -> str:
    if isinstance(service, Gotify):
        return f"gotify://127.0.0.1:{service.port}/{service.key}{query}"
    return f"ntfy://127.0.0.1:{service.port}/camera-alarms{query}"


def mail(text: str = "Motion at the gate.", pictures: int = 0, **more: Any) -> Outgoing:
    message = EmailMessage()
    message["From"], message["To"] = "cam@home.example", "me@isp.example"
    message["Subject"] = more.pop("subject", "Alarm ゲート")
    message.set_content(text)
    for number in range(pictures):
        message.add_attachment(JPEG, maintype="image", subtype="jpeg", filename=f"snap{number}.jpg")
    return letter("me@isp.example", content=[message.as_bytes().replace(b"\n", b"\r\n")], **more)


def said(report: Report) -> Answer:
    (one,) = report.answers.values()
    return one


async def test_title_and_text(delivery: PushDelivery, ntfy: Ntfy, gotify: Gotify) -> None:
    """Both URLs get the message; the relay itself has not loaded the library."""
    upstream = phone(at(ntfy), at(gotify), title="{device}: {subject}")
    report = await delivery.submit(upstream, mail(device="gate camera"))
    assert said(report).reply.code == 250
    for service in (ntfy, gotify):
        (pushed,) = service.pushed
        assert (pushed.title, pushed.message) == ("gate camera: Alarm ゲート", "Motion at the gate.")
    assert report.conversation.peer == f"127.0.0.1:{gotify.port}"
    assert "apprise" not in sys.modules
    assert "requests" not in sys.modules


async def test_a_picture_goes_along(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """Octet for octet, under its name, with the text."""
    report = await delivery.submit(phone(at(ntfy)), mail(pictures=1))
    assert said(report).reply.code == 250
    (pushed,) = ntfy.pushed
    assert (pushed.title, pushed.message, pushed.to) == ("Alarm ゲート", "Motion at the gate.", "camera-alarms")
    assert pushed.files == {"snap0.jpg": JPEG}
    assert report.conversation.notes == ()


async def test_pictures_are_left_out_where_none_are_taken(delivery: PushDelivery, gotify: Gotify) -> None:
    """The text arrives, and the trail says what does not."""
    report = await delivery.submit(phone(at(gotify)), mail(pictures=2))
    assert said(report).reply.code == 250
    assert gotify.pushed[0].message == "Motion at the gate."
    assert report.conversation.notes == ("2 pictures were left out for Gotify",)


@pytest.mark.parametrize("refuses", [{"attachments": False}, {"largest": 100}])
async def test_a_service_that_refuses_the_picture_gets_the_text(delivery: PushDelivery, refuses: dict[str, Any]) -> None:
    """A server without room for attachments, or a picture that is too large for it."""
    with serving(Ntfy(**refuses)) as service:
        report = await delivery.submit(phone(at(service)), mail(pictures=1))
        assert said(report).reply.code == 250
        assert [(one.message, one.files) for one in service.pushed] == [("Motion at the gate.", {})]
        assert report.conversation.notes == ("a picture was left out for ntfy",)


async def test_no_pictures_if_none_are_wanted(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """`attachments: false`."""
    await delivery.submit(phone(at(ntfy), attachments=False), mail(pictures=1))
    assert ntfy.pushed[0].files == {}


@pytest.mark.parametrize(("word", "least"), [("word ", 3000), ("写真", 1000), ("📷", 500)])
async def test_text_is_cut_to_what_the_service_takes(delivery: PushDelivery, ntfy: Ntfy, word: str, least: int) -> None:
    """With a sign that it was, and a note; ntfy counts octets."""
    report = await delivery.submit(phone(at(ntfy)), mail(word * 5000))
    assert said(report).reply.code == 250
    text = ntfy.pushed[0].message
    assert text.endswith("...")
    assert least < len(text) < 4097
    assert any(note.startswith("the text was cut to") for note in report.conversation.notes)


async def test_a_text_that_is_too_large_goes_shorter(delivery: PushDelivery, gotify: Gotify) -> None:
    """A proxy before the service may take less than the service itself."""
    gotify.refuse(413, {"error": "Request Entity Too Large"})
    report = await delivery.submit(phone(at(gotify)), mail("word " * 1000))
    assert said(report).reply.code == 250
    assert len(gotify.pushed[0].message) <= 1000
    assert report.conversation.notes == ("the text was cut to 1000 characters for Gotify",)


async def test_a_mail_without_text(delivery: PushDelivery, gotify: Gotify) -> None:
    """Gotify demands one: the title stands in."""
    report = await delivery.submit(phone(at(gotify)), mail("", subject="UPS on battery"))
    assert said(report).reply.code == 250
    assert gotify.pushed[0].message == "UPS on battery"


@pytest.mark.parametrize(
    ("status", "body", "fate", "blame"),
    [
        (400, {"code": 40024, "error": "invalid request"}, Fate.FAILED, Blame.MESSAGE),
        (403, {"code": 40301, "error": "forbidden"}, Fate.DEFERRED, Blame.LOGIN),
        (429, {"code": 42901, "error": "limit reached"}, Fate.DEFERRED, Blame.RATE),
        (500, {}, Fate.DEFERRED, Blame.UPSTREAM),
        (503, {}, Fate.DEFERRED, Blame.UPSTREAM),
        (307, {}, Fate.DEFERRED, Blame.LOGIN),
    ],
)
async def test_the_status_becomes_the_fate(
    delivery: PushDelivery, ntfy: Ntfy, status: int, body: dict[str, Any], fate: Fate, blame: Blame
) -> None:
    """What the library makes words of is read where it arrives; a redirect is not followed."""
    ntfy.refuse(status, body, Retry_After="17", Location="http://127.0.0.1:9/")
    answer = said(await delivery.submit(phone(at(ntfy)), mail()))
    verdict = judge(answer)
    assert (verdict.fate, verdict.blame) == (fate, blame)
    assert f"HTTP {status}" in answer.reply.text
    assert "camera-alarms" not in answer.reply.text
    if status == 429:
        assert answer.retry_after == 17
    assert said(await delivery.submit(phone(at(ntfy)), mail())).reply.code == 250


async def test_a_wrong_token_is_about_the_account(delivery: PushDelivery, gotify: Gotify) -> None:
    """And the service's words say so, without the token."""
    answer = said(await delivery.submit(phone(f"gotify://127.0.0.1:{gotify.port}/AwrongKeyOf15.x"), mail()))
    assert answer.fault is Fault.PUSH_ACCOUNT
    assert "valid access token" in answer.reply.text
    assert "AwrongKeyOf15" not in answer.reply.text


@pytest.fixture
def telegram(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Telegram]:
    """api.telegram.org by a proxy, with a certificate of our own authority."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    host = "api.telegram.org"
    with serving(Telegram(), server_context(ca, host)) as service, proxy({host: service.port}) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        yield service
        assert set(asked) <= {"api.telegram.org:443"}


def chat(service: Telegram, number: str = "987654321") -> str:
    return f"tgram://{service.token}/{number}"


async def test_telegram_gets_the_picture_with_the_text(delivery: PushDelivery, telegram: Telegram) -> None:
    """Over TLS, by sendPhoto, with the text as its caption."""
    report = await delivery.submit(phone(chat(telegram)), mail(pictures=1))
    assert said(report).reply.code == 250, said(report)
    assert report.conversation.tls.startswith("TLSv1")
    files = [one for one in telegram.pushed if one.files]
    assert [list(one.files.values()) for one in files] == [[JPEG]]
    assert any("Motion at the gate." in one.message for one in telegram.pushed)


async def test_telegram_says_how_long_to_wait(delivery: PushDelivery, telegram: Telegram) -> None:
    """In the answer's body: parameters.retry_after."""
    told = {"description": "Too Many Requests: retry after 35", "parameters": {"retry_after": 35}}
    telegram.refuse(429, {"ok": False, "error_code": 429, **told})
    answer = said(await delivery.submit(phone(chat(telegram)), mail()))
    assert (answer.fault, answer.retry_after) == (Fault.PUSH_RATE, 35)


@pytest.mark.parametrize("wrong", ["token", "chat"])
async def test_telegram_and_a_wrong_account(delivery: PushDelivery, telegram: Telegram, wrong: str) -> None:
    """A chat that is not found is answered with 400, as a bad message is: it must not fail the mail."""
    url = chat(telegram, "111222333") if wrong == "chat" else f"tgram://123456789:{'B' * 35}/987654321"
    answer = said(await delivery.submit(phone(url), mail()))
    assert answer.fault is Fault.PUSH_ACCOUNT
    assert "111222333" not in answer.reply.text
    assert "BBBB" not in answer.reply.text


async def test_a_certificate_that_nobody_vouches_for(delivery: PushDelivery) -> None:
    """Nothing is sent, and it waits."""
    with serving(Ntfy(), server_context(trustme.CA(), "127.0.0.1")) as service:
        answer = said(await delivery.submit(phone(f"ntfys://127.0.0.1:{service.port}/camera-alarms"), mail()))
        assert (answer.fault, answer.stage) == (Fault.TLS_TRUST, Stage.TLS)
        assert service.requests == 0


async def test_nobody_there(delivery: PushDelivery, unused_tcp_port: int) -> None:
    """A closed port, a name that does not exist: it waits, and surely nothing went out."""
    answer = said(await delivery.submit(phone(f"ntfy://127.0.0.1:{unused_tcp_port}/camera-alarms"), mail()))
    assert (answer.fault, answer.stage) == (Fault.REFUSED, Stage.CONNECT)
    answer = said(await delivery.submit(phone("ntfy://nobody.invalid/camera-alarms"), mail()))
    assert answer.fault in (Fault.NO_HOST, Fault.DNS)


async def test_a_service_that_does_not_answer(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """It may have taken the message, and so it is marked before the request goes out."""
    ntfy.hang, marked = True, list[str]()
    answer = said(await delivery.submit(phone(at(ntfy), timeout=1), mail(at_dot=lambda: marked.append("now"))))
    assert judge(answer).blame is Blame.UNCERTAIN
    assert answer.fault is Fault.TIMED_OUT
    assert marked == ["now"]


async def test_nothing_is_marked_where_no_request_can_go_out(delivery: PushDelivery, unused_tcp_port: int) -> None:
    """So that a relay that dies then is in no doubt."""
    marked = list[str]()
    await delivery.submit(phone(f"ntfy://127.0.0.1:{unused_tcp_port}/x"), mail(at_dot=lambda: marked.append("now")))
    assert marked == []


async def test_those_that_took_it_do_not_get_it_again(delivery: PushDelivery, ntfy: Ntfy, gotify: Gotify) -> None:
    """One of two fails: at the next try only that one is asked; another message goes to both."""
    upstream = phone(at(ntfy), at(gotify))
    gotify.refuse(503)
    assert judge(said(await delivery.submit(upstream, mail()))).fate is Fate.DEFERRED
    report = await delivery.submit(upstream, mail())
    assert said(report).reply.code == 250
    assert report.conversation.notes == ("1 of the URLs had taken it before, and did not get it again",)
    assert (len(ntfy.pushed), len(gotify.pushed)) == (1, 1)
    await delivery.submit(upstream, mail(queue_id="r2r2r2r2r2r2r2"))
    assert (len(ntfy.pushed), len(gotify.pushed)) == (2, 2)


async def test_a_service_that_is_not_reached_by_http(delivery: PushDelivery) -> None:
    """Another mail server, by SMTP: the picture goes along, and it is marked before anything can go out."""
    marked = list[str]()
    async with ScriptedUpstream() as server:
        url = f"mailto://127.0.0.1:{server.port}?from=cam@home.example&to=me@isp.example&mode=insecure"
        report = await delivery.submit(phone(url), mail(pictures=1, at_dot=lambda: marked.append("now")))
        assert (said(report).reply.code, report.conversation.notes, marked) == (250, (), ["now"])
        [message] = server.messages
    [picture] = [one for one in message_from_bytes(message.content).walk() if one.get_filename() == "snap0.jpg"]
    assert picture.get_payload(decode=True) == JPEG


# the process


async def asked(service: Ntfy) -> None:
    """Until the service has a request."""
    async with asyncio.timeout(20):
        while not service.requests:
            await asyncio.sleep(0.005)


async def gone() -> None:
    await until(lambda: not children(), seconds=10)


async def test_it_is_started_when_needed_and_ends_when_idle(ntfy: Ntfy) -> None:
    """One for message after message; none before, none after."""
    delivery = PushDelivery(idle=0.5)
    assert children() == []
    await delivery.submit(phone(at(ntfy)), mail())
    (pid,) = children()
    await delivery.submit(phone(at(ntfy)), mail())
    assert children() == [pid]
    await gone()
    await delivery.submit(phone(at(ntfy)), mail())
    assert len(ntfy.pushed) == 3
    await delivery.close()
    await gone()


async def test_its_command_line_and_environment_hold_no_secret(
    delivery: PushDelivery, ntfy: Ntfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URLs come by a pipe; of our environment it gets what it needs."""
    monkeypatch.setenv("PHONE_URL", at(ntfy))
    await delivery.submit(phone(at(ntfy)), mail())
    (pid,) = children()
    for file in ("cmdline", "environ"):
        assert b"camera-alarms" not in Path(f"/proc/{pid}/{file}").read_bytes()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    assert re.search(r"^Max data size +629145600 ", limits, re.MULTILINE)


def left_out_of_the_image() -> set[str]:
    """The modules of Python's own library that packaging/make-rootfs.sh removes."""
    [words] = re.findall(r"rm -rf site-packages (.*?)\n    find", (ROOT / "packaging/make-rootfs.sh").read_text(), re.DOTALL)
    names = {word.rpartition("/")[2].removesuffix(".py") for word in words.replace("\\", " ").split()}
    return {name for name in names if name.isidentifier()} - {"_test"}


async def test_it_misses_nothing_in_the_image(ntfy: Ntfy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each URL of docs/push.md is understood, and a picture goes, without the parts of Python that are not there."""
    hidden = left_out_of_the_image()
    assert {"unittest", "pydoc", "tkinter"} <= hidden
    monkeypatch.setattr(process, "_COMMAND", hiding(*hidden))
    table = (ROOT / "docs/push.md").read_text(encoding="utf-8").partition("## URLs")[2].partition("## What arrives")[0]
    urls = tuple(re.findall(r"`(\w+://[^`\s]{6,})`", table))
    assert len(urls) >= 11
    assert set(process.misunderstood(urls)) == {""}
    process.misunderstood.cache_clear()
    delivery = PushDelivery()
    assert said(await delivery.submit(phone(at(ntfy)), mail(pictures=1))).reply.code == 250
    await delivery.close()
    assert ntfy.pushed[0].files == {"snap0.jpg": JPEG}


async def test_a_kernel_without_files_in_memory(ntfy: Ntfy, delivery: PushDelivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old NAS has none: a picture goes all the same; where the library wants a file of it, and fails, the text goes."""
    monkeypatch.setattr(process, "_COMMAND", hiding(also="import os; del os.memfd_create"))
    assert said(await delivery.submit(phone(at(ntfy)), mail(pictures=1))).reply.code == 250
    assert ntfy.pushed[0].files == {"snap0.jpg": JPEG}
    with serving(Matrix()) as matrix:
        url = f"matrix://:{matrix.token}@127.0.0.1:{matrix.port}/%23alarms:127.0.0.1"
        report = await delivery.submit(phone(url), mail(pictures=1))
        assert "the library failed: FileNotFoundError" in said(report).reply.text
        assert [(one.message[-5:], one.files) for one in matrix.pushed] == [("gate.", {})]
        assert report.conversation.notes == ("a picture was left out for Matrix",)


async def test_a_process_that_died_while_idle_is_replaced(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """The next message does not notice."""
    await delivery.submit(phone(at(ntfy)), mail())
    (pid,) = children()
    os.kill(pid, 9)
    await gone()
    assert said(await delivery.submit(phone(at(ntfy)), mail())).reply.code == 250


async def test_a_process_that_dies_in_the_middle(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """The request had gone out: it is not known what became of it."""
    ntfy.hang = True
    sending = asyncio.create_task(delivery.submit(phone(at(ntfy)), mail()))
    await asked(ntfy)
    (pid,) = children()
    os.kill(pid, 9)
    assert judge(said(await sending)).blame is Blame.UNCERTAIN
    ntfy.hang = False
    assert said(await delivery.submit(phone(at(ntfy)), mail())).reply.code == 250


async def test_a_process_that_hangs_is_killed(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """Stopped in the middle of a request: the relay waits ten times the time-out, and no longer."""
    ntfy.hang = True
    sending = asyncio.create_task(delivery.submit(phone(at(ntfy), timeout=0.3), mail()))
    await asked(ntfy)
    (pid,) = children()
    os.kill(pid, 19)
    answer = said(await sending)
    assert judge(answer).blame is Blame.UNCERTAIN
    await gone()


async def test_a_stop_in_the_middle_leaves_a_note(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """The relay stops while the service has the request: that it may have the message is reported, not lost."""
    ntfy.hang = True
    sending = asyncio.create_task(delivery.submit(phone(at(ntfy)), mail()))
    await asked(ntfy)
    sending.cancel()
    answer = said(await sending)
    assert (judge(answer).blame, answer.fault) == (Blame.UNCERTAIN, Fault.UNANSWERED)
    await gone()


async def test_content_that_cannot_be_read(delivery: PushDelivery, ntfy: Ntfy) -> None:
    """Nothing goes out, and the error is the caller's."""

    def damaged() -> Iterator[bytes]:
        yield b"Subject: x\r\n\r\n"
        raise OSError("the disk is broken")

    class Content:
        def __iter__(self) -> Iterator[bytes]:
            return damaged()

    with pytest.raises(OSError, match="the disk is broken"):
        await delivery.submit(phone(at(ntfy)), letter(content=Content(), size=20))
    assert ntfy.requests == 0
    await gone()


# the doctor


def found(facts: PushFacts) -> list[tuple[Grade, str]]:
    return [(one.grade, one.name) for one in judge_push(facts)]


async def test_the_doctor_asks_and_sends_nothing(ntfy: Ntfy, gotify: Gotify, unused_tcp_port: int) -> None:
    """TCP and TLS come about, and the service is asked about the login; no part of a URL is in the findings."""
    ca = trustme.CA()
    with serving(Ntfy(token="tk_right"), server_context(ca, "127.0.0.1")) as secure:
        secret = f"127.0.0.1:{secure.port}/camera-alarms?verify=no"
        urls = (
            at(ntfy),
            at(gotify),
            f"ntfys://tk_right@{secret}",
            f"ntfys://tk_wrong@{secret}",
            f"ntfys://{secret}",
            f"gotify://127.0.0.1:{gotify.port}/AwrongKeyOf15.x",
            f"gotify://127.0.0.1:{unused_tcp_port}/AbCdEf12345.xyz",
            f"json://127.0.0.1:{ntfy.port}/hook-x7",
        )
        facts = await push_facts(phone(*urls), 5.0, 30.0)
        assert found(facts) == [
            (Grade.WARNING, "push-clear"),
            (Grade.WARNING, "push-clear"),
            (Grade.OK, "push"),
            (Grade.PROBLEM, "push-url"),
            (Grade.WARNING, "push-unclear"),
            (Grade.PROBLEM, "push-url"),
            (Grade.PROBLEM, "push-unreachable"),
            (Grade.WARNING, "push-clear"),
        ]
        assert [one.proved for one in facts.urls] == [
            *(Proof.LOGIN, Proof.TARGET, Proof.LOGIN, *[Proof.NOTHING] * 5),
        ]
        for secret in ("camera-alarms", "tk_", "Awrong", "AbCdEf", "hook-x7", gotify.key):
            assert secret not in str(judge_push(facts))
        assert [service.pushed for service in (ntfy, gotify, secure)] == [[], [], []]
        assert (ntfy.requests, secure.requests) == (0, 0)
    await gone()


async def test_the_doctor_waits_no_longer_than_it_is_told(ntfy: Ntfy, gotify: Gotify) -> None:
    """A service that trickles octets without end: it is named, and the next one is examined all the same."""
    ntfy.hang = True
    facts = await push_facts(phone(at(ntfy), at(gotify)), 1.0, 30.0)
    assert found(facts) == [(Grade.PROBLEM, "push-unreachable"), (Grade.WARNING, "push-clear")]
    facts = await push_facts(phone(at(gotify), at(ntfy), at(gotify)), 20.0, 4.0)
    assert found(facts) == [(Grade.WARNING, "push-clear"), *[(Grade.WARNING, "push-unexamined")] * 2]
    await gone()


async def test_the_doctor_does_not_send_where_it_cannot_look(tmp_path: Path) -> None:
    """A service that is not reached by HTTP would send: it is left alone."""
    facts = await push_facts(phone("mailto://taro:secret@isp.example?smtp=127.0.0.1"), 2.0, 30.0)
    assert found(facts) == [(Grade.WARNING, "push-unexamined")]


async def test_the_doctor_asks_telegram_about_the_chat(telegram: Telegram) -> None:
    """By getChat: a wrong token and a chat that the bot does not know are told apart from what works."""
    wrong = f"tgram://123456789:{'B' * 35}/987654321"
    urls = (chat(telegram), f"{chat(telegram)}/111222333", wrong, f"tgram://{telegram.token}/")
    facts = await push_facts(phone(*urls), 5.0, 30.0)
    assert [one.name for one in judge_push(facts)] == ["push", "push-url", "push-url", "push"]
    assert [one.proved for one in facts.urls] == [Proof.TARGET, Proof.NOTHING, Proof.NOTHING, Proof.LOGIN]
    assert {path.rpartition("/")[2] for path in telegram.looks} == {"getChat", "getMe"}
    assert (telegram.pushed, telegram.requests) == ([], 0)
    assert not {"111222333", "987654321", "BBBB", telegram.token} & set(re.findall(r"[\w:-]+", str(judge_push(facts))))
