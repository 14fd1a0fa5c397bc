"""The one thread that writes: jobs that wait together share one transaction, and so one fsync."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from relay.spool import looking
from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.medium import Room, shrink_log, translate, writer

T = TypeVar("T")

BATCH = 200
_RETRY_EVERY = 0.5  # seconds between tries to write what is owed
_OWN_FAULT = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
"""Errors of what was to be written, not of the medium: trying again is no use."""


@dataclass(slots=True, eq=False)
class Job:
    """Something to be done by the writer thread.

    `work` may run more than once and must leave memory alone; `after` runs once, when what was written is durable.
    `looks`: it writes nothing and runs between transactions.  `owed`: it is a fact and must be written at last; on a
    full or broken medium its future is answered and the job kept.  `settles`: it says what became of a message.
    `wakes`: something else may be due afterwards than was before.
    """

    work: Callable[[sqlite3.Connection], Any]
    future: "asyncio.Future[Any] | None" = None
    after: Callable[[Any], None] | None = None
    looks: bool = False
    owed: bool = False
    settles: bool = False
    wakes: bool = False


Answer = tuple[Job, Any, BaseException | None]


class Writer:
    """Owns the writing connection.  `told` is called in the event loop, once a turn, with whether to wake and news."""

    def __init__(self, path: Path, room: Room, told: Callable[[bool, list[str]], None]) -> None:
        self._path = path
        self._room = room
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._db: sqlite3.Connection | None = None
        self._owed: deque[Job] = deque()
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
        """Whether something that must be written is still in memory only."""
        return bool(self._owed)

    @property
    def broken(self) -> bool:
        return bool(self._trouble)

    def submit(self, job: Job) -> "asyncio.Future[Any]":
        """Hands a job over; from the event loop only.  Raises SpoolBroken once closed."""
        if self._closing:
            raise SpoolBroken(f"{self._path}: the spool is closed")
        job.future = self._loop.create_future()
        self._jobs.put(job)
        return job.future

    async def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        after: Callable[[Any], None] | None = None,
        owed: bool = False,
        settles: bool = False,
        wakes: bool = False,
    ) -> T:
        """What `work` made of the connection, once it is durable.  Raises what `work` raised, SpoolFull, SpoolBroken."""
        answer: T = await self.submit(Job(work, after=after, owed=owed, settles=settles, wakes=wakes))
        return answer

    async def look(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Asks between two transactions, so the answer holds nothing that could still be lost."""
        answer: T = await self.submit(Job(question, looks=True))
        return answer

    async def close(self) -> int:
        """Writes what is in hand, ends the thread; the number of settlements that could not be written."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        return sum(job.settles for job in self._owed)  # all else is clearing up: the next start does it again

    # -- the writer thread ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        going = True
        while going:
            jobs, going = self._drain()
            self._turn(jobs)
        self._end()

    def _drain(self) -> tuple[list[Job], bool]:
        jobs: list[Job] = []
        try:
            job = self._jobs.get(timeout=_RETRY_EVERY if self._owed else None)
            while job is not None:
                jobs.append(job)
                if len(jobs) >= BATCH:
                    return jobs, True
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False

    def _turn(self, jobs: list[Job]) -> None:
        self._room.doubt()
        self._pay()
        writing = [job for job in jobs if not job.looks and not self._queue_behind(job)]
        if writing:
            self._write(writing)
        for job in jobs:
            if job.looks:
                self._look(job)
        self._deliver()

    def _queue_behind(self, job: Job) -> bool:
        """Settlements are stored in the order in which they were made."""
        if not (job.owed and self._owed):
            return False
        self._owed.append(job)
        self._answers.append((job, None, None))
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
            self._conclude([(Job(job.work, None, job.after, wakes=True), *answers[0][1:])])

    def _write(self, jobs: Sequence[Job]) -> None:
        try:
            answers = self._transaction(jobs)
        except sqlite3.Error as error:
            trouble = self._stumble(error)
            if len(jobs) > 1 and not self.broken:
                for job in jobs:  # what one of them needs too much must not cost the others
                    if not self._queue_behind(job):
                        self._write([job])
                return
            for job in jobs:
                keep = job.owed and not isinstance(error, _OWN_FAULT)
                if keep:
                    self._owed.append(job)
                self._answers.append((job, None, None if keep else trouble))
        else:
            self._conclude(answers)

    def _transaction(self, jobs: Sequence[Job]) -> list[Answer]:
        db = self._connection()
        answers = self._all_or_none(db, jobs) or self._one_by_one(db, jobs)
        db.execute("COMMIT")
        self.syncs += 1
        self._trouble = ""
        if self._room.stale:
            self._room.changed(looking.room_within(db, self._path))
        return answers

    def _all_or_none(self, db: sqlite3.Connection, jobs: Sequence[Job]) -> list[Answer]:
        """The common case, without savepoints; nothing at all, and nothing written, if one of them refuses."""
        db.execute("BEGIN IMMEDIATE")
        try:
            return [(job, job.work(db), None) for job in jobs]
        except sqlite3.Error:
            raise
        except Exception:
            db.execute("ROLLBACK")
            return []

    def _one_by_one(self, db: sqlite3.Connection, jobs: Sequence[Job]) -> list[Answer]:
        """Each behind a savepoint: who refuses takes back its own part only."""
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
                _write_home(db)
            self._db = db
        return self._db

    def _stumble(self, error: sqlite3.Error) -> SpoolFull | SpoolBroken:
        """Back to where the transaction began; a broken medium gets a new connection at the next turn."""
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
        for job, result, refused in answers:
            if refused is None:
                self._wake = self._wake or job.wakes
                if job.after:
                    job.after(result)
            self._answers.append((job, result, refused))

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

    # -- back in the event loop -----------------------------------------------------------------------------------

    def _answer(self, answers: list[Answer], wake: bool, news: list[str]) -> None:
        for job, result, refused in answers:
            future = job.future
            if future is None or future.done():
                continue
            if refused is None:
                future.set_result(result)
            else:
                future.set_exception(refused)
        self._told(wake, news)


def _write_home(db: sqlite3.Connection) -> None:
    """Writes all of the log anew into the file itself, and syncs that.  Raises sqlite3.Error.

    After a failed fsync the kernel takes lost pages for clean: another fsync of the log would prove nothing.
    """
    try:
        busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the log of a medium that failed is still being read; trying again")
    except sqlite3.Error:
        db.close()
        raise
