"""Pushover, Discord, Slack, Matrix and a plain webhook as docs/push.md has them: one story for each.

letter ──> PushDelivery ──> push process (Apprise) ──> (a proxy) ──> tests/support/push_chats.py
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from relay.doctor.push import judge_push
from relay.doctor.push_probe import push_facts
from relay.mail.reply import Fault
from relay.upstream.push.check_calls import Proof
from relay.upstream.push.transport import PushDelivery
from tests.stations.test_push_services import mail, phone, said
from tests.support.push_chats import Discord, Hook, Matrix, Pushover, Slack
from tests.support.push_services import JPEG, NEEDS_APPRISE, Pushed, Service, proxy, serving
from tests.support.sending import server_context

pytestmark = NEEDS_APPRISE

HOSTS = {
    "api.pushover.net": Pushover,
    "discord.com": Discord,
    "slack.com": Slack,
}


class Story:
    """One service: what came of each letter, and that no part of a URL was in the answers."""

    def __init__(self, delivery: PushDelivery, service: Service) -> None:
        self.delivery, self.service = delivery, service
        self.notes: tuple[str, ...] = ()
        self.reply = ""

    async def sent(self, url: str, text: str = "Motion at the gate.", pictures: int = 0) -> list[Pushed]:
        """What the service took of a letter that it takes."""
        before = len(self.service.pushed)
        report = await self.delivery.submit(phone(url), mail(text, pictures))
        assert said(report).reply.code == 250, said(report)
        self.notes, self.reply = report.conversation.notes, said(report).reply.text
        return self.service.pushed[before:]

    async def refused(self, *urls: str) -> set[Fault | None]:
        found = set()
        for url in urls:
            answer = said(await self.delivery.submit(phone(url), mail(pictures=1)))
            assert not [part for part in url.split("/")[2:] if len(part) > 5 and part in str(answer)]
            found.add(answer.fault)
        return found

    async def proved(self, *urls: str) -> list[Proof | str]:
        """What the doctor finds, without anything sent."""
        before = len(self.service.pushed)
        facts = await push_facts(phone(*urls), 5.0, 30.0)
        assert len(self.service.pushed) == before
        names = [one.name for one in judge_push(facts)]
        found = zip(facts.urls, names, strict=True)
        return [one.proved if name in ("push", "push-clear") else name for one, name in found]


@pytest.fixture
async def delivery() -> AsyncIterator[PushDelivery]:
    made = PushDelivery()
    yield made
    await made.close()


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[type[Service], Service]]:
    """Services of the world by a proxy, with certificates of our own authority."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with ExitStack() as stack:
        made = {host: kind() for host, kind in HOSTS.items()}
        made |= dict.fromkeys(("hooks.slack.com", "files.slack.com"), made["slack.com"])
        names = server_context(ca, *made)
        for service in {id(one): one for one in made.values()}.values():
            stack.enter_context(serving(service, names))
        port, _ = stack.enter_context(proxy({host: service.port for host, service in made.items()}))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        yield {type(service): service for service in made.values()}


async def test_pushover(delivery: PushDelivery, internet: dict[type[Service], Pushover]) -> None:
    service = internet[Pushover]
    story = Story(delivery, service)
    url = f"pover://{service.user}@{service.token}"
    [one] = await story.sent(url, pictures=1)
    assert (one.title, one.message, list(one.files.values())) == ("Alarm ゲート", "Motion at the gate.", [JPEG])
    [one] = await story.sent(url, "long " * 1000)
    assert one.message.endswith("...")
    assert len(one.message) <= 1024
    wrong = (f"pover://{'u' * 30}@{service.token}", f"pover://{service.user}@{'a' * 30}", f"{url}/desk")
    assert await story.refused(*wrong[:2]) == {Fault.PUSH_ACCOUNT}
    assert await story.proved(url, f"{url}/iphone", *wrong) == [Proof.TARGET, Proof.TARGET, *["push-url"] * 3]
    service.refuse(429, {"status": 0, "errors": ["application is over its message limit"]})
    assert await story.refused(url) == {Fault.PUSH_RATE}


async def test_discord(delivery: PushDelivery, internet: dict[type[Service], Discord]) -> None:
    service = internet[Discord]
    story = Story(delivery, service)
    url = f"discord://{service.place}/{service.token}"
    taken = await story.sent(url, pictures=2)
    assert "Alarm ゲート\r\nMotion at the gate." in [one.message for one in taken]
    assert [octets for one in taken for octets in one.files.values()] == [JPEG, JPEG]
    [one] = await story.sent(url, "long " * 1000)
    assert len(one.message) <= 2000
    wrong = (f"discord://{'9' * 18}/{service.token}", f"discord://{service.place}/{'B' * 26}")
    assert await story.refused(*wrong) == {Fault.PUSH_ACCOUNT}
    assert await story.proved(url, *wrong) == [Proof.TARGET, "push-url", "push-url"]
    service.largest = 100
    [one] = await story.sent(url, pictures=1)  # the text has gone when the picture is refused
    assert (one.message, story.notes) == ("Alarm ゲート\r\nMotion at the gate.", ("a picture was left out for Discord",))
    service.refuse(429, {"message": "You are being rate limited.", "retry_after": 0.64, "global": False}, times=4)
    answer = said(await delivery.submit(phone(url), mail()))
    assert (answer.fault, answer.retry_after) == (Fault.PUSH_RATE, 0.64)


async def test_slack(delivery: PushDelivery, internet: dict[type[Service], Slack]) -> None:
    """An incoming webhook has no pictures; a bot uploads them in three steps."""
    service = internet[Slack]
    story = Story(delivery, service)
    hook, bot = f"slack://{service.hook}", f"slack://{service.token}"
    [one] = await story.sent(hook, pictures=1)
    assert (one.title, one.message, one.files) == ("Alarm ゲート", "Motion at the gate.", {})
    assert story.notes == ("a picture was left out for Slack",)
    text, picture = await story.sent(f"{bot}/%23alarms", pictures=1)
    assert (text.title, text.message, text.to) == ("Alarm ゲート", "Motion at the gate.", "C0ALARMS1")
    assert (picture.files, picture.to) == ({"snap0.jpg": JPEG}, "C0ALARMS1")
    wrong = (f"{hook[:-1]}x", f"slack://xoxb-1234-1234-{'0' * 32}/%23alarms", f"{bot}/%23attic9")
    assert await story.refused(*wrong) == {Fault.PUSH_ACCOUNT}
    proved = [Proof.NOTHING, Proof.LOGIN, Proof.NOTHING, "push-url", Proof.LOGIN]
    assert await story.proved(hook, f"{bot}/%23alarms", *wrong) == proved
    for word in ("missing_scope", "file_uploads_disabled", "storage_limit_reached"):
        service.no_files = word
        [one] = await story.sent(f"{bot}/%23alarms", "門で動きがありました", pictures=1)  # else it would come with each try
        assert (one.message, story.notes) == ("門で動きがありました", ("a picture was left out for Slack",))
        assert word in story.reply
    service.no_files = "internal_error"  # which passes
    answer = said(await delivery.submit(phone(f"{bot}/%23alarms"), mail(pictures=1)))
    assert (answer.fault, answer.reply.code) == (Fault.PUSH_TROUBLE, 421)
    service.refuse(429, {"ok": False, "error": "ratelimited"}, Retry_After="30")
    answer = said(await delivery.submit(phone(f"{bot}/%23alarms"), mail()))
    assert (answer.fault, answer.retry_after) == (Fault.PUSH_RATE, 30)


async def test_matrix(delivery: PushDelivery) -> None:
    """By password and by access token; the doctor makes no device."""
    with serving(Matrix()) as service:
        story = Story(delivery, service)
        place = f"127.0.0.1:{service.port}/%23alarms:127.0.0.1"
        by_password, by_token = f"matrix://{service.user}:{service.password}@{place}", f"matrix://:{service.token}@{place}"
        for url in (by_password, by_token):
            picture, text = await story.sent(url, pictures=1)
            assert list(picture.files.values()) == [JPEG]
            assert text.message == "# Alarm ゲート\r\nMotion at the gate."
        service.largest = 100
        [text] = await story.sent(by_token, pictures=1)  # the picture comes first, so the text is sent without it
        assert (text.message[-5:], story.notes) == ("gate.", ("a picture was left out for Matrix",))
        assert "larger than that" in story.reply
        wrong = (f"matrix://{service.user}:no-such-password@{place}", f"matrix://:{service.token}4@{place}", f"{by_token}0")
        assert await story.refused(*wrong) == {Fault.PUSH_ACCOUNT}
        before = service.logins
        proved = [Proof.SERVER, Proof.LOGIN, Proof.SERVER, "push-url", Proof.LOGIN]
        assert await story.proved(by_password, by_token, *wrong) == proved
        assert service.logins == before
        assert service.logouts == before  # no device is left, and the token of the settings is not ended


async def test_a_plain_webhook(delivery: PushDelivery) -> None:
    """JSON with the pictures in base64; the doctor sends nothing, since it would be a message."""
    with serving(Hook()) as service:
        story = Story(delivery, service)
        url = f"json://127.0.0.1:{service.port}{service.path}"
        [one] = await story.sent(url, pictures=2)
        assert (one.title, one.message) == ("Alarm ゲート", "Motion at the gate.")
        assert one.files == {"snap0.jpg": JPEG, "snap1.jpg": JPEG}
        assert await story.refused(f"{url}-other") == {Fault.PUSH_ACCOUNT}
        before = service.requests
        assert await story.proved(url) == [Proof.NOTHING]
        assert service.requests == before
