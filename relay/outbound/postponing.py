"""Carries out what storms.py decides: mail of a device waits, or is merged into a digest, when it is due.

due ── quiet hours? waits till they end ── first of its kind? goes ── else waits for a digest
the digest is due ── one transaction: all that wait for it end as merged, and it is queued
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from relay import crash_points, events
from relay.mail.device import Device
from relay.mail.dsn import Notice
from relay.mail.encoded_words import kept_subject, subject_text
from relay.mail.message import Message
from relay.mail.reply import Fault
from relay.outbound import storms, trail
from relay.outbound.in_hand import Doing, Mark
from relay.outbound.retry import spread
from relay.outbound.storing import stored, until_stored
from relay.outbound.storms import Case, Course, Decision, Memory
from relay.spool.contract import Spool
from relay.spool.entry import ORDERED, PASSED, Claim, Entry, Settlement, StoredEntry, TrailLine
from relay.spool.storms import Collected, Merge, Weighed

_IN_THREAD = 16_384  # octets of a message whose header is read beside the event loop


class Postponing:
    """For one spool.  A reload may set another `hostname`."""

    def __init__(
        self,
        spool: Spool,
        now: Callable[[], datetime],
        new_queue_id: Callable[[datetime], str],
        hostname: str,
        zone: tzinfo | None = None,
    ) -> None:
        self._spool, self._now, self._new_queue_id, self._zone = spool, now, new_queue_id, zone
        self.hostname = hostname

    async def holds_back(self, claim: Claim, device: Device | None, mark: Mark) -> bool:
        """Whether nothing of it is to be sent now: it waits, or has become part of a digest.  Raises LeaseLost, SpoolAway.

        `device` is whose mail it is, by today's configuration.
        """
        if claim.entry.notice or claim.entry.merges or claim.storm == ORDERED:
            return False
        waits = claim.storm not in ("", PASSED)
        if not waits and not (device and device.may_wait):
            return False
        now = self._now()
        until = storms.quiet_until(device.quiet, now, self._zone) if device and device.quiet else None
        weighed = waits or bool(device and device.storm and not claim.storm and _untouched(claim))
        if until is None and not weighed:
            return False
        with mark.at(Doing.PREPARING):
            subject = await self._subject(claim.entry)
        urgent = bool(device and storms.excepted(device.quiet, subject))
        if device and until and not urgent:
            await self._keep_quiet(claim, device, until, waits=waits)
            return True
        return weighed and await self._collects(claim, mark, device, subject, urgent=urgent)

    async def _subject(self, entry: Entry) -> str:
        def work() -> str:
            field = Message.parse(entry.content).get("subject")
            return subject_text(field.value) if field else ""

        return await asyncio.to_thread(work) if entry.size > _IN_THREAD else work()

    # -- quiet hours ------------------------------------------------------------------------------------------------------

    async def _keep_quiet(self, claim: Claim, device: Device, until: datetime, *, waits: bool) -> None:
        # those that wait for a digest do not all come at once: the first one makes it
        due_at = until + timedelta(seconds=60 * spread(claim.entry.queue_id)) if waits else until
        outcomes = tuple(replace(one, due_at=due_at, fault=Fault.QUIET) for one in claim.recipients)
        known = all(one.fault is Fault.QUIET for one in claim.recipients)
        wall = f"{until.astimezone(self._zone):%H:%M}"
        line = trail.quiet(claim.recipients, device.name, until, wall, self._now())
        await stored(self._spool, claim, Settlement(outcomes, () if known else (line,)))
        if not known:
            _tell(claim.entry.queue_id, line)

    # -- storms -----------------------------------------------------------------------------------------------------------

    async def _collects(self, claim: Claim, mark: Mark, device: Device | None, subject: str, *, urgent: bool) -> bool:
        name = device.name if device else ""
        group = storms.group_of(name, claim.entry.envelope, urgent=urgent)
        case, rule = Case(claim.entry.queue_id, group, storms.kind_of(group, subject)), device.storm if device else None

        def decide(memory: Memory, storm: str) -> Decision:
            return storms.weigh(memory, storm, case, rule, self._now())

        while (decision := await self._weighed(claim, name, decide)) and decision.course is Course.RIPE:
            parts = await self._spool.collected(decision.storm)
            if [one.queue_id for one in parts] == [claim.entry.queue_id]:
                decision = await self._weighed(
                    claim, name, lambda memory, storm: storms.alone(memory, storm, case, self._now())
                )
                break
            if await self._merged(claim, mark, name, decision.storm, parts):
                return True
        return decision is None or decision.course is not Course.GOES

    async def _weighed(self, claim: Claim, device: str, decide: Callable[[Memory, str], Decision]) -> Decision | None:
        """The decision, stored; None if nothing of the claim waits any more."""
        decision, lines = None, list[TrailLine]()

        def weigh(text: str, storm: str) -> Weighed:
            nonlocal decision
            decision = decide(storms.read(text), storm)
            lines[:] = (
                trail.collected(claim.recipients, device, decision.digest_at, decision.count, self._now())
                if (decision.fresh and decision.digest_at)
                else []
            )
            outcomes = tuple(
                replace(one, due_at=decision.due_at, fault=Fault.DIGEST) for one in claim.recipients if decision.due_at
            )
            return Weighed(storms.written(decision.memory), decision.storm, Settlement(outcomes, tuple(lines)))

        queue_id = claim.entry.queue_id
        weighed = await until_stored(queue_id, lambda: self._spool.weigh(claim, device, weigh))
        crash_points.passed("weigh-durable")
        if weighed is None:
            return None
        for line in lines:
            _tell(queue_id, line)
        return decision

    async def _merged(self, claim: Claim, mark: Mark, device: str, storm: str, parts: Sequence[Collected]) -> bool:
        """Whether they are merged; False if some do not wait any more."""
        last = await self._spool.entry(parts[-1].queue_id) if parts else None
        if last is None:
            return False
        now = self._now()
        queue_id = self._new_queue_id(now)
        with mark.at(Doing.PREPARING):
            read = mark.deaths == 0  # what is in it may have stopped the relay
            notice = await asyncio.to_thread(self._composed, parts, last if read else None, device, queue_id, now)
        crash_points.passed("digest-composed")
        digest = _entry_of(notice, queue_id, last.entry, claim, len(parts), now)
        what = Merge(
            digest,
            (trail.digest(device, notice.subject, digest.size, len(parts), now),),
            device,
            storm,
            tuple(one.queue_id for one in parts),
            trail.merged(claim.recipients, queue_id, len(parts), now),
            lambda memory: storms.written(storms.merged(storms.read(memory), storm, now)),
        )
        if not await until_stored(claim.entry.queue_id, lambda: self._spool.merge(what)):
            return False
        crash_points.passed("digest-durable")
        for one in parts:
            events.note("merged", queue_id=one.queue_id, digest=queue_id, messages=len(parts), device=device)
        return True

    def _composed(
        self, parts: Sequence[Collected], last: StoredEntry | None, device: str, queue_id: str, now: datetime
    ) -> Notice:
        from relay.mail.digest import Part, compose_digest  # loaded with the first digest

        shown = [Part(one.queue_id, one.accepted_at, kept_subject(one.subject)) for one in parts]

        def composed(message: Message | None) -> Notice:
            return compose_digest(
                shown, message, device=device, hostname=self.hostname, queue_id=queue_id, now=now, zone=self._zone
            )

        try:
            return composed(Message.parse(last.entry.content) if last else None)
        except Exception as error:  # whatever reading raises: a digest without the last text is better than none
            events.note("warned", f"the last message of a digest cannot be read: {error}", queue_id=parts[-1].queue_id)
            return composed(None)


def _untouched(claim: Claim) -> bool:
    """Whether no upstream was asked for it so far: what was begun is ended."""
    whole = len(claim.recipients) == len({address.key for address in claim.entry.envelope.forward_paths})
    return whole and not any(one.attempts or one.upstream or one.maybe_at for one in claim.recipients)


def _entry_of(notice: Notice, queue_id: str, last: Entry, claim: Claim, merges: int, now: datetime) -> Entry:
    """The digest as a message that the device sent, so that it goes where its mail goes."""
    return Entry(
        queue_id=queue_id,
        accepted_at=now,
        origin=last.origin,
        envelope=replace(last.envelope, forward_paths=tuple(one.address for one in claim.recipients), body=""),
        size=len(notice.content),
        content=(notice.content,),
        message_id=notice.message_id,
        digest=hashlib.sha256(notice.content).hexdigest(),
        merges=merges,
    )


def _tell(queue_id: str, line: TrailLine) -> None:
    details: dict[str, Any] = dict(line.details)
    events.note("postponed", trail.words(line), queue_id=queue_id, **details)
