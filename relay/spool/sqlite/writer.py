"""Does all writing, one transaction after the other.  Jobs that wait together share one, and so one fsync.

Quick jobs (almost all) run their statements in the event loop, where they change pages in memory.  Only the COMMIT, which
writes and syncs, goes to a thread: handing over the interpreter's lock for each statement costs more than the statement.
Jobs that may take long, and those that fail, run in the thread from beginning to end.  The connection
belongs to the thread from the moment something is handed to it until its answer is back, else to the event loop.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.sqlite import read
from relay.spool.sqlite.connections import Room, be_impatient, be_patient, shrink_log, translate, write_home, writer
from relay.spool.sqlite.jobs import Answer, Commit, Job

T = TypeVar("T")

BATCH = 200
QUICK_BATCH = 50
"""Quick jobs that are done in one go: devices wait no longer than that for the event loop."""
_RETRY_EVERY = 0.5  # seconds between tries to write what is owed
_OWN_FAULT = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
"""Errors of what was to be written, not of the medium: trying again is no use."""


class Writer:
    """Owns the writing connection.  `told` is called in the event loop, once a turn, with whether to wake and news."""

    def __init__(self, path: Path, room: Room, told: Callable[[bool, list[str]], None]) -> None:
        self._path = path
        self._room = room
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._handed_over = False
        self._beginning = False
        self._orders: queue.SimpleQueue[list[Job] | Commit | None] = queue.SimpleQueue()
        self._db: sqlite3.Connection | None = None
        self._owed: deque[Job] = deque()
        self._paying: asyncio.TimerHandle | None = None
        self._answers: list[Answer] = []
        self._news: list[str] = []
        self._trouble = ""
        self._closing = False
        self._wake = False
        self._thread = threading.Thread(target=self._serve, name="spool-writer", daemon=True)
        self.syncs = 0
        """Transactions written so far; each is one fsync of the write-ahead log."""

    def start(self) -> None:
        self._thread.start()

    @property
    def owes(self) -> bool:
        """Whether something that must be written is in memory only."""
        return bool(self._owed)

    @property
    def broken(self) -> bool:
        return bool(self._trouble)

    def submit(self, job: Job) -> "asyncio.Future[Any]":
        """Hands a job over; from the event loop only.  Raises SpoolBroken once closed."""
        if self._closing:
            raise SpoolBroken(f"{self._path}: the spool is closed")
        job.future = self._loop.create_future()
        self._waiting.append(job)
        self._soon()
        return job.future

    def leave(self, job: Job) -> None:
        """Hands over a job without waiting for it; after `close` it is left to the next start."""
        if not self._closing:
            self.submit(job).add_done_callback(lambda future: future.cancelled() or future.exception())

    async def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        after: Callable[[Any], None] | None = None,
        owed: bool = False,
        settles: bool = False,
        wakes: bool = False,
        quick: bool = False,
    ) -> T:
        """What `work` returned, once it is durable.  Raises what `work` raised, SpoolFull, SpoolBroken."""
        answer: T = await self.submit(Job(work, after=after, owed=owed, settles=settles, wakes=wakes, quick=quick))
        return answer

    async def look(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Reads between two transactions, so the answer has nothing that could still be lost."""
        answer: T = await self.submit(Job(question, looks=True))
        return answer

    async def close(self) -> int:
        """Writes what waits, ends the thread; the number of settlements that could not be written."""
        if not self._closing:
            self._closing = True
            if self._paying:
                self._paying.cancel()
            while self._waiting:
                self._orders.put(self._next(BATCH))
            self._orders.put(None)
        await asyncio.to_thread(self._thread.join)
        return sum(job.settles for job in self._owed)  # all else is clearing up: the next start does it again

    # -- in the event loop ----------------------------------------------------------------------------------------

    def _soon(self) -> None:
        """Begins after all callers that are ready now have submitted their jobs: they share a transaction."""
        if not (self._handed_over or self._beginning or self._closing):
            self._beginning = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._beginning = False
        if self._handed_over or self._closing or not self._waiting:
            return
        if self._waiting[0].quick and not (self._owed or self._trouble) and self._db is not None:
            jobs = self._next(QUICK_BATCH, lambda job: job.quick)
            order: list[Job] | Commit = self._statements(self._db, jobs) or jobs
        else:
            looks = self._waiting[0].looks
            # a look must not see what was written beside it: its `after` has not run yet
            order = self._next(BATCH, lambda job: job.looks is looks)
        self._handed_over = True
        self._orders.put(order)

    def _next(self, most: int, fits: Callable[[Job], bool] = lambda job: True) -> list[Job]:
        jobs: list[Job] = []
        while self._waiting and len(jobs) < most and fits(self._waiting[0]):
            jobs.append(self._waiting.popleft())
        return jobs

    def _statements(self, db: sqlite3.Connection, jobs: list[Job]) -> Commit | None:
        """All but the COMMIT; None, and nothing written, if anything fails: then the thread does it all."""
        try:
            answers = self._all_or_none(db, jobs)
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            return None
        return Commit(answers) if answers else None

    def _answer(self, answers: list[Answer], wake: bool, news: list[str]) -> None:
        self._handed_over = False
        for job, result, refused in answers:
            if job.after and refused is None:
                try:
                    job.after(result)
                except Exception as bug:  # must not keep the others from their answers
                    news.append(f"what follows a commit went wrong: {bug!r}")
        for job, result, refused in answers:
            future = job.future
            if future is None or future.done():
                continue
            if refused is None:
                future.set_result(result)
            else:
                future.set_exception(refused)
        self._told(wake, news)
        if self._waiting:
            self._soon()
        if self._owed and not (self._paying or self._closing):
            self._paying = self._loop.call_later(_RETRY_EVERY, self._pay_again)

    def _pay_again(self) -> None:
        self._paying = None
        if not (self._handed_over or self._closing):
            self._handed_over = True
            self._orders.put([])

    # -- the writer thread ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            if isinstance(order, Commit):
                self._commit(order)
            else:
                self._turn(order)
        self._end()

    def _commit(self, order: Commit) -> None:
        db = self._connection()
        try:
            self._durable(db)
        except sqlite3.Error as error:
            jobs = [job for job, *_ in order.answers]
            self._failed(jobs, error)
        else:
            self._conclude(order.answers)
        self._deliver()

    def _turn(self, jobs: list[Job]) -> None:
        self._room.doubt()
        if self._db is not None:
            be_patient(self._db)
        self._pay()
        writing = [job for job in jobs if not job.looks and not self._queue_behind(job)]
        if writing:
            self._write(writing)
        for job in jobs:
            if job.looks:
                self._look(job)
        if self._db is not None:
            be_impatient(self._db)  # the event loop must not wait
        self._deliver()

    def _queue_behind(self, job: Job) -> bool:
        """Settlements are stored in the order in which they were made."""
        if not (job.owed and self._owed):
            return False
        self._owed.append(job)
        self._answers.append((replace(job, after=None), None, None))
        return True

    def _pay(self) -> None:
        while self._owed:
            job = self._owed[0]
            try:
                answers = self._transaction([job])
            except sqlite3.Error as error:
                trouble = self._stumble(error)
                if not isinstance(error, _OWN_FAULT):
                    return
                self._owed.popleft()
                self._news.append(f"a settlement cannot be stored: {trouble}")
                continue
            self._owed.popleft()
            self._conclude([(replace(job, future=None, wakes=True), *answers[0][1:])])

    def _write(self, jobs: Sequence[Job]) -> None:
        try:
            answers = self._transaction(jobs)
        except sqlite3.Error as error:
            self._failed(jobs, error)
        else:
            self._conclude(answers)

    def _failed(self, jobs: Sequence[Job], error: sqlite3.Error) -> None:
        trouble = self._stumble(error)
        if len(jobs) > 1 and not self.broken:
            for job in jobs:  # one that needs too much room must not fail the others
                if not self._queue_behind(job):
                    self._write([job])
            return
        for job in jobs:
            keep = job.owed and not isinstance(error, _OWN_FAULT)
            if keep:
                self._owed.append(job)
            # its `after` runs when it is written at last
            self._answers.append((replace(job, after=None) if keep else job, None, None if keep else trouble))

    def _transaction(self, jobs: Sequence[Job]) -> list[Answer]:
        db = self._connection()
        answers = self._all_or_none(db, jobs) or self._one_by_one(db, jobs)
        self._durable(db)
        return answers

    def _durable(self, db: sqlite3.Connection) -> None:
        db.execute("COMMIT")
        self.syncs += 1
        self._trouble = ""
        if self._room.stale:
            with contextlib.suppress(sqlite3.Error):  # it is durable, whatever becomes of this
                self._room.changed(read.room_within(db, self._path))

    def _all_or_none(self, db: sqlite3.Connection, jobs: Sequence[Job]) -> list[Answer]:
        """The common case, without savepoints; an empty list, and nothing written, if one job fails."""
        db.execute("BEGIN IMMEDIATE")
        try:
            return [(job, job.work(db), None) for job in jobs]
        except sqlite3.Error:
            raise
        except Exception:
            db.execute("ROLLBACK")
            return []

    def _one_by_one(self, db: sqlite3.Connection, jobs: Sequence[Job]) -> list[Answer]:
        """Each with a savepoint: a job that fails is rolled back alone."""
        answers: list[Answer] = []
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            db.execute("SAVEPOINT job")
            try:
                answers.append((job, job.work(db), None))
            except sqlite3.Error:
                raise
            except Exception as refused:
                db.execute("ROLLBACK TO job")
                answers.append((job, None, refused))
            db.execute("RELEASE job")
        return answers

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            db = writer(self._path)
            if self.broken:
                write_home(db)
            self._db = db
        return self._db

    def _stumble(self, error: sqlite3.Error) -> SpoolFull | SpoolBroken:
        """Rolls back; after an error of the disk the next turn opens a new connection."""
        trouble = translate(error, self._path)
        self._wake = True  # what was refused may be in the log all the same: to be looked for when that is read again
        try:
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as worse:
            trouble = translate(worse, self._path)
        if isinstance(trouble, SpoolBroken) and not isinstance(error, _OWN_FAULT):
            self._let_go()
            if not self._trouble:
                self._news.append(str(trouble))
            self._trouble = str(trouble)
        self._room.changed(self._room.free_pages)
        return trouble

    def _look(self, job: Job) -> None:
        try:
            self._answers.append((job, job.work(self._connection()), None))
        except sqlite3.Error as error:
            self._answers.append((job, None, self._stumble(error)))
        except Exception as refused:
            self._answers.append((job, None, refused))

    def _conclude(self, answers: list[Answer]) -> None:
        self._wake = self._wake or any(job.wakes for job, _, refused in answers if refused is None)
        self._answers += answers

    def _deliver(self) -> None:
        answers, self._answers = self._answers, []
        news, self._news = self._news, []
        wake, self._wake = self._wake, False
        with contextlib.suppress(RuntimeError):  # the loop ended without closing us: nobody waits any more
            self._loop.call_soon_threadsafe(self._answer, answers, wake, news)

    def _let_go(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _end(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):  # else the log stays and is read at the next start
                shrink_log(self._db)
        self._let_go()
