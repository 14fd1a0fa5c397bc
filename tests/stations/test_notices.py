"""The notifier with the real spool and a real HTTP server that plays the person's push service.

spool (pending failures) ──► Notifier ──► spool (one notice, queued like any mail)
                                 └──────► POST http://127.0.0.1/topic
"""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from relay import events
from relay.mail.address import Address
from relay.mail.envelope import Envelope
from relay.mail.reply import Fault
from relay.outbound import webhook
from relay.outbound.notice_content import NoticePolicy
from relay.outbound.notifier import WEBHOOK, Notifier
from relay.outbound.replies import judge
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import Action, Entry, NoticeKind, Order, PendingNotice, Settlement, State, TrailLine
from tests.support.push import Push
from tests.support.spooled import after, an_entry
from tests.support.waiting import until
from tests.support.world import Clock, Ids

BOSS = Address("boss", "example.jp")
TARO = Address("taro", "isp.example")


@pytest.fixture
def push() -> Iterator[Push]:
    service = Push()
    yield service
    service.close()


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock) -> AsyncIterator[Spool]:
    opened = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=0), now=clock)
    yield opened
    await opened.close()


def notifier(spool: Spool, clock: Clock, ids: Ids, policy: NoticePolicy, **more: Any) -> Notifier:
    settings: dict[str, Any] = {
        "spool": spool,
        "policy": policy,
        "hostname": "relay.home.example",
        "now": clock,
        "new_queue_id": ids,
        "advise": lambda answer, upstream: judge(answer).advice,
        "may_route": lambda address: address.domain != "nowhere.example",
        "give_up_after": timedelta(days=5),
        "push": partial(webhook.tell, pauses=(0.01,)),
    }
    return Notifier(**(settings | more))


async def fail(
    spool: Spool,
    clock: Clock,
    queue_id: str,
    *,
    notify: Address = BOSS,
    to: tuple[str, ...] = ("gone@host.example",),
    kind: NoticeKind = NoticeKind.FAILED,
    said: str = "no such user here",
) -> None:
    """A message whose recipients were all refused, or are late; the notice about it is pending."""
    entry = an_entry(queue_id, clock(), content=b"Subject: nightly backup\r\nFrom: nas\r\n\r\nhello\r\n", to=to)
    await spool.commit(entry)
    others = []
    while (claim := await spool.claim(clock())) and claim.entry.queue_id != queue_id:
        others.append(claim)
    assert claim is not None
    for other in others:
        await spool.release(other)
    state = State.FAILED if kind is NoticeKind.FAILED else State.QUEUED
    outcomes = tuple(
        replace(after(each, state, said=said, due_at=clock() + timedelta(days=1)), code=550, status="5.1.1", stage="rcpt")
        for each in claim.recipients
    )
    details = {"upstream": "isp", "peer": "192.0.2.7:587", "lost": False, "to": ", ".join(to)}
    trail = (TrailLine(clock(), "tried", "isp at rcpt: 550 5.1.1 no such user here", details),)
    notices = tuple(PendingNotice(queue_id, kind, notify, each, clock()) for each in outcomes)
    await spool.settle(claim, Settlement(outcomes, trail, notices, warned=kind is NoticeKind.DELAYED))
    await spool.release(claim)


async def queued_notices(spool: Spool) -> list[tuple[Entry, email.message.EmailMessage]]:
    """The notices in the queue, oldest first, parsed as their reader's program would."""
    found = []
    for line in await spool.entries():
        stored = await spool.entry(line.entry.queue_id)
        if stored and stored.entry.notice:
            octets = b"".join(stored.entry.content)
            found.append((stored.entry, email.message_from_bytes(octets, policy=email.policy.default)))
    return found


async def test_a_failure_becomes_one_notice_in_the_queue(spool: Spool, clock: Clock, ids: Ids) -> None:
    """The notice is an ordinary queued message with the null reverse-path, and the failure is struck off."""
    await fail(spool, clock, "lost000000001", to=("gone@host.example", "left@host.example"))
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    assert await spool.pending_notices() == []
    [(entry, mail)] = await queued_notices(spool)
    assert entry.envelope.reverse_path is None and entry.envelope.forward_paths == (BOSS,)
    assert mail["Subject"] == "Not delivered: nightly backup (to gone@host.example and 1 more)"
    status = mail.get_payload()[1].get_payload()  # type: ignore[union-attr]
    assert [part["Final-Recipient"] for part in status[1:]] == ["rfc822; gone@host.example", "rfc822; left@host.example"]
    assert status[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user here"
    assert status[1]["Remote-MTA"] == "dns; [192.0.2.7]"
    assert "There is no such recipient" in mail.get_payload()[0].get_content()  # type: ignore[union-attr]


async def test_both_trails_tell_of_the_notice(spool: Spool, clock: Clock, ids: Ids) -> None:
    """Who looks at the failed message sees which notice told of it; the notice's own trail says what it is."""
    await fail(spool, clock, "lost000000001")
    before = events.counts["noticed", ""]
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    stored = await spool.entry("lost000000001")
    assert stored and stored.trail[-1].event == "noticed"
    assert stored.trail[-1].text == "boss@example.jp is told of this by notice test0000000001"
    notice = await spool.entry("test0000000001")
    assert notice and [line.event for line in notice.trail] == ["accepted"]
    assert events.counts["noticed", ""] == before + 1


async def test_the_first_goes_at_once_and_what_follows_is_bundled(spool: Spool, clock: Clock, ids: Ids) -> None:
    """Within `digest` of a notice nothing more goes to that person; then all that came meanwhile goes in one."""
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS, digest=timedelta(minutes=15)))
    await fail(spool, clock, "lost000000001")
    assert await telling.flush(clock()) is None
    first_at = clock()
    for number in (2, 3):
        clock.advance(minutes=5)
        await fail(spool, clock, f"lost00000000{number}")
        assert await telling.flush(clock()) == first_at + timedelta(minutes=15)
    assert len(await queued_notices(spool)) == 1
    clock.advance(minutes=5)
    assert await telling.flush(clock()) is None
    (_, first), (_, second) = await queued_notices(spool)
    assert second["Subject"] == "Not delivered: 2 messages"
    assert first["Message-ID"] != second["Message-ID"]
    assert await spool.pending_notices() == []


async def test_persons_do_not_wait_for_each_other(spool: Spool, clock: Clock, ids: Ids) -> None:
    """One person's digest interval holds back nothing for another, and nobody reads of another's mail."""
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS))
    await fail(spool, clock, "lost000000001", to=("a@host.example",))
    await telling.flush(clock())
    await fail(spool, clock, "lost000000002", notify=TARO, to=("b@host.example",))
    await telling.flush(clock())
    (one, first), (two, second) = await queued_notices(spool)
    assert (one.envelope.forward_paths, two.envelope.forward_paths) == ((BOSS,), (TARO,))
    assert "b@host.example" not in str(first) and "a@host.example" not in str(second)


async def test_a_restart_tells_nothing_twice_and_nothing_never(spool: Spool, clock: Clock, ids: Ids) -> None:
    """What was told is told; what was pending when the process died is told by the next one."""
    await fail(spool, clock, "lost000000001")
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    await fail(spool, clock, "lost000000002")
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    assert len(await queued_notices(spool)) == 2


async def test_a_removed_message_is_still_told_of(spool: Spool, clock: Clock, ids: Ids) -> None:
    """An operator may remove a failed message before its notice went; the person hears of it all the same."""
    await fail(spool, clock, "lost000000001")
    await spool.order(Order(Action.REMOVE, ("lost000000001",)), clock())
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    [(_, mail)] = await queued_notices(spool)
    assert "gone@host.example" in mail["Subject"]


async def test_a_delay_says_how_long_it_will_be_tried(spool: Spool, clock: Clock, ids: Ids) -> None:
    """A delay notice has the action `delayed`, a status of class 4, and the end of trying."""
    await fail(spool, clock, "late000000001", kind=NoticeKind.DELAYED)
    await notifier(spool, clock, ids, NoticePolicy(to=BOSS)).flush(clock())
    [(_, mail)] = await queued_notices(spool)
    group = mail.get_payload()[1].get_payload()[1]  # type: ignore[union-attr]
    assert (group["Action"], group["Status"]) == ("delayed", "4.0.0")
    assert group["Will-Retry-Until"] == "Fri, 27 Nov 2026 03:04:05 +0000"
    assert mail["Subject"].startswith("Late: nightly backup")


async def test_a_push_goes_out_beside_the_mail(spool: Spool, clock: Clock, ids: Ids, push: Push) -> None:
    """The webhook gets title and message for people, and the failures one by one for programs."""
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS, webhook=push.url))
    await fail(spool, clock, "lost000000001")
    await telling.flush(clock())
    await until(lambda: push.posts)
    [post] = push.posts
    assert post["title"] == "Not delivered: nightly backup (to gone@host.example)"
    assert "There is no such recipient" in post["message"] and post["title"] in post["text"]
    assert post["failures"][0]["queue_id"] == "lost000000001" and post["failures"][0]["code"] == 550
    assert push.headers[0]["Content-Type"] == "application/json"
    assert len(await queued_notices(spool)) == 1


async def test_a_broken_webhook_loses_no_mail(spool: Spool, clock: Clock, ids: Ids, push: Push) -> None:
    """The push is tried again and given up; the notice by mail is queued all the same."""
    push.status = 500
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS, webhook=push.url))
    await fail(spool, clock, "lost000000001")
    await telling.flush(clock())
    await until(lambda: len(push.posts) == 2)
    assert len(await queued_notices(spool)) == 1
    assert await spool.pending_notices() == []


async def test_where_nobody_can_be_mailed_the_push_is_kept_until_it_got_through(
    spool: Spool, clock: Clock, ids: Ids, push: Push
) -> None:
    """Without `notices.to` a failure stays pending through a broken webhook and is told when it works, once."""
    push.status = 503
    telling = notifier(spool, clock, ids, NoticePolicy(webhook=push.url))
    entry = an_entry("x", clock())
    whom = telling.notify_whom(entry)
    assert whom == WEBHOOK
    await fail(spool, clock, "lost000000001", notify=whom)
    work = asyncio.create_task(telling.run())
    try:
        await until(lambda: len(push.posts) == 2)
        assert len(await spool.pending_notices()) == 1
        push.status = 200
        clock.advance(minutes=20)
        telling.wake()
        await until(lambda: len(push.posts) == 3)
        while await spool.pending_notices():
            await asyncio.sleep(0.01)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert await queued_notices(spool) == []
    stored = await spool.entry("lost000000001")
    assert stored and stored.trail[-1].text == "the webhook is told of this"


async def test_a_redirect_is_no_success(push: Push) -> None:
    """A redirected POST would arrive as an empty GET; it counts as failed instead."""
    push.status = 302
    with pytest.raises(webhook.WebhookFailed, match="302"):
        await webhook.tell(push.url, webhook.body_of("t", "m"), pauses=())


async def test_a_webhook_nobody_listens_at_says_so() -> None:
    """A refused connection is a WebhookFailed with the reason in words."""
    service = Push()
    service.close()
    with pytest.raises(webhook.WebhookFailed, match="cannot be reached"):
        await webhook.tell(service.url, webhook.body_of("t", "m"), pauses=())


async def test_user_and_password_in_the_url_become_basic_authentication(push: Push) -> None:
    """`https://user:secret@host/` works, and the secret is not in the request line."""
    await webhook.tell(f"http://me:s%3Acret@127.0.0.1:{push.port}/hook?a=b", webhook.body_of("t", "m"), pauses=())
    assert push.headers[0]["Authorization"] == "Basic bWU6czpjcmV0"
    assert push.paths == ["/hook?a=b"]


async def test_alarms_go_at_once_and_once_a_day(spool: Spool, clock: Clock, ids: Ids, push: Push) -> None:
    """What has the same cause is told once a day, however often and in whatever words it comes; another one is told."""
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS, webhook=push.url))
    telling.alarm("isp is paused until 2026-11-22 03:20:00 UTC: auth: 535 5.7.8 no", "isp is paused: login")
    telling.alarm("isp is paused until 2026-11-22 04:20:00 UTC: auth: 535 other words", "isp is paused: login")
    await telling.flush(clock())
    await until(lambda: push.posts)
    [(entry, mail)] = await queued_notices(spool)
    assert entry.notice and entry.envelope.reverse_path is None
    assert mail.get_content().count("isp is paused until") == 1
    assert push.posts[0]["event"] == "alarm" and "535" in push.posts[0]["message"]
    clock.advance(hours=25)
    telling.alarm("isp is paused until 2026-11-23 04:20:00 UTC: auth: 535 5.7.8 no", "isp is paused: login")
    await telling.flush(clock())
    assert len(await queued_notices(spool)) == 2


async def test_mail_that_waits_on_purpose_raises_no_alarm(spool: Spool, clock: Clock, ids: Ids) -> None:
    """A quiet night is no standstill, and the morning after it is none either."""
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS))
    await spool.commit(an_entry("quiet000000001", clock()))
    claim = await spool.claim(clock())
    assert claim is not None
    morning = clock() + timedelta(hours=9)
    waits = tuple(replace(one, due_at=morning, fault=Fault.QUIET) for one in claim.recipients)
    await spool.settle(claim, Settlement(waits))
    await spool.release(claim)
    for _ in range(9 * 12):
        await telling.check_progress(clock())
        clock.advance(minutes=5)
    again = await spool.claim(clock())
    assert again is not None
    late = tuple(replace(one, due_at=clock() + timedelta(hours=4), fault=None, attempts=1) for one in again.recipients)
    await spool.settle(again, Settlement(late))
    await telling.check_progress(clock())
    await telling.flush(clock())
    assert await queued_notices(spool) == []


async def test_hours_without_a_delivery_raise_an_alarm(spool: Spool, clock: Clock, ids: Ids) -> None:
    """Mail that waits while nothing at all goes out is told of once; an empty queue is no trouble."""
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS))

    async def looked() -> int:
        await telling.check_progress(clock())
        await telling.flush(clock())
        return len(await queued_notices(spool))

    clock.advance(hours=9)
    assert await looked() == 0
    await spool.commit(an_entry("waiting0000001", clock()))
    clock.advance(hours=3)
    assert await looked() == 0
    events.counts["relayed", "isp"] += 1
    assert await looked() == 0
    clock.advance(hours=3)
    assert await looked() == 0
    clock.advance(hours=2)
    assert await looked() == 1
    clock.advance(hours=1)
    assert await looked() == 1
    [(_, mail)] = await queued_notices(spool)
    assert "Nothing has been delivered for 5 hours" in mail.get_content()
    clock.advance(hours=30)
    assert await looked() == 1  # the same trouble, still
    events.counts["relayed", "isp"] += 1
    assert await looked() == 1
    clock.advance(hours=30)
    assert await looked() == 2


async def test_a_full_spool_keeps_the_failure_pending(spool: Spool, clock: Clock, ids: Ids) -> None:
    """If the notice cannot be queued, the loop goes on and the failure is told when it can."""
    broken = True

    def stuck_ids(now: datetime) -> str:
        if broken:
            raise OSError("no room")
        return ids(now)

    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS), new_queue_id=stuck_ids)
    await fail(spool, clock, "lost000000001")
    before = events.counts["broken", ""]
    work = asyncio.create_task(telling.run())
    try:
        await until(lambda: events.counts["broken", ""] > before)
        assert len(await spool.pending_notices()) == 1
        broken = False
        telling.wake()
        async with asyncio.timeout(15):
            while not await queued_notices(spool):
                await asyncio.sleep(0.02)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert await spool.pending_notices() == []


def _entry_from(sender: Address | None, now: datetime, *, notice: bool = False) -> Entry:
    entry = an_entry("whom0000000001", now, notice=notice)
    return replace(entry, envelope=Envelope(sender, entry.envelope.forward_paths))


async def test_who_is_told(spool: Spool, clock: Clock, ids: Ids) -> None:
    """A real sender that routes is told; else the person in charge; nobody of `<>`.

    Of a notice that failed the person in charge, once: who could not be told is not told of that.
    """
    telling = notifier(spool, clock, ids, NoticePolicy(to=BOSS))
    assert telling.notify_whom(_entry_from(TARO, clock())) == TARO
    for useless in ("nas@lan.local", "root", "x@nowhere.example", "postmaster@relay.home.example", "x@[192.168.0.1]"):
        local, _, domain = useless.partition("@")
        assert telling.notify_whom(_entry_from(Address(local, domain), clock())) == BOSS
    assert telling.notify_whom(_entry_from(None, clock())) is None
    notice = _entry_from(TARO, clock(), notice=True)
    assert telling.notify_whom(notice) == BOSS
    to_boss = replace(notice, envelope=Envelope(None, (BOSS,)))
    assert telling.notify_whom(to_boss) is None
    telling.reload(policy=NoticePolicy(to=BOSS, webhook="http://127.0.0.1:1/"), hostname="relay.home.example")
    assert telling.notify_whom(to_boss) == WEBHOOK
    telling.reload(policy=NoticePolicy(), hostname="relay.home.example")
    assert telling.notify_whom(_entry_from(Address("root", "nas"), clock())) is None
