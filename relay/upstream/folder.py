"""An upstream that is a folder: what is attached to a message becomes files.  All file work is in threads."""

import asyncio
import codecs
import os
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, groupby
from typing import cast

from relay.detached import apart
from relay.mail.charset_names import readings
from relay.mail.encoded_words import readable
from relay.mail.file_parts import FilePart, file_parts
from relay.mail.message import Message
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.file_names import extension_for, file_name, folder_for, joined, titled
from relay.upstream.file_writer import Abandoned, FileWriter, FolderFailed, WrittenFile, enter, failing, room, sweep
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import Folder, Save, Upstream

_PATIENCE = 10  # times the time-out of one reply, as for the final reply of a server
_MOST_STUCK = 4
_SWEEP_EVERY = 3600.0  # seconds
_MOST_SWEPT = 1000  # folders of which it is remembered when they were swept
_SHOWN = 10  # names of files in a reply
_TOLD = ("from", "to", "date", "subject")  # header fields that stand above the text of a message


class FolderDelivery:
    """Saves messages.  Nothing is kept open between two."""

    def __init__(self) -> None:
        self._swept: dict[str, float] = {}
        self._stuck: Counter[str] = Counter()  # threads that nobody waits for any more, by the disk or share that they wait for

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """Returns when all files are on the disk under their names.  Raises only what reading the content raises."""
        began = time.monotonic()
        job = _Job(upstream.of_kind(Folder), outgoing, self._swept)
        answer = job.late()
        if self._stuck[job.fixed] < _MOST_STUCK:
            answer = await self._done(job, _PATIENCE * upstream.timeout.total_seconds())
        conversation = Conversation(peer=job.place, took=time.monotonic() - began)
        return Report(dict.fromkeys(outgoing.forward_paths, answer), conversation)

    async def _done(self, job: "_Job", patience: float) -> Answer:
        work = asyncio.ensure_future(apart(job.run))
        try:
            done, _ = await asyncio.wait({work}, timeout=patience)
        finally:
            job.abandon()  # of no effect on what is done
        if done:
            return work.result()

        def over(late: "asyncio.Future[Answer]") -> None:
            self._stuck[job.fixed] -= 1
            _ = late.cancelled() or late.exception()  # nobody else hears of it

        self._stuck[job.fixed] += 1
        work.add_done_callback(over)
        return job.late()

    def forget(self, name: str) -> None:
        """There is nothing to forget."""

    async def close(self) -> None:
        """There is nothing to end; a thread that still waits for a disk does not hold up the end of the process."""


class _Content:
    """The content, whose reading is noted as that of any transaction is."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def __iter__(self) -> Iterator[bytes]:
        def blocks() -> Generator[bytes, None, None]:
            yield from self._outgoing.content

        return self._outgoing.reading(blocks())


class _Job:
    """One message on its way into one folder.  `place` is where, `fixed` the part of it that must be there."""

    def __init__(self, folder: Folder, outgoing: Outgoing, swept: dict[str, float]) -> None:
        self._save_what, self._outgoing, self._swept = folder.save, outgoing, swept
        self._when = f"{outgoing.accepted_at.astimezone():%Y-%m-%d %H-%M-%S}"
        self.fixed, self._below = folder_for(folder.path, outgoing)
        self.place = joined(self.fixed, self._below)
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._naming = self._partly = False

    def run(self) -> Answer:
        """In a thread of its own."""
        try:
            return _taken(self._saved())
        except FolderFailed as failed:
            if self._partly:  # another upstream would double what has its name; the next try here finds it
                return Answer(Stage.CONTENT, Reply(451, "4.3.0", str(failed)), lost=True)
            status = "4.3.1" if failed.fault is Fault.FOLDER_FULL else "4.3.0"
            return Answer(Stage.CONNECT, Reply(451, status, str(failed)), fault=failed.fault)
        except Abandoned:
            return self.late()

    def abandon(self) -> None:
        """Nobody waits any more: what has not begun to get names gets none."""
        with self._lock:
            self._stop.set()

    def late(self) -> Answer:
        """It takes too long.  What has begun to get names may have come to its end."""
        words = f"{self.place}: no end of writing in the time that a message has"
        if self._naming:
            return Answer(Stage.CONTENT, Reply(451, "4.4.2", words), lost=True)
        return Answer(Stage.CONNECT, Reply(451, "4.3.0", words), fault=Fault.FOLDER_IO)

    def _saved(self) -> list[WrittenFile]:
        folder = enter(self.fixed, self._below)
        try:
            with failing(self.place):
                self._look_for_room(folder)
            self._sweep(folder)
            writer = FileWriter(folder, self.place, self._outgoing.queue_id, self._outgoing.accepted_at, self._stop)
            try:
                for name, blocks in _Files(self._outgoing, self._save_what, self._when):
                    writer.write(name, blocks)
                with self._lock:
                    if self._stop.is_set():
                        raise Abandoned
                    self._naming = True
                self._outgoing.at_dot()
                return writer.name_all()
            finally:
                self._partly = writer.begun
                writer.clean()
        finally:
            os.close(folder)

    def _look_for_room(self, folder: int) -> None:
        wanted = self._outgoing.size * (2 if self._save_what is Save.BOTH else 1)
        free = room(folder)
        if free is not None and free < wanted:
            words = f"{self.place}: {max(free, 0) / 1e6:.1f} MB may be written, this message needs {wanted / 1e6:.1f} MB"
            raise FolderFailed(Fault.FOLDER_FULL, words)

    def _sweep(self, folder: int) -> None:
        now = time.monotonic()
        if now - self._swept.get(self.place, -_SWEEP_EVERY) < _SWEEP_EVERY:
            return
        sweep(folder, self._outgoing.queue_id, time.time())
        self._swept[self.place] = now
        if len(self._swept) > _MOST_SWEPT:
            self._swept.pop(next(iter(self._swept)))


class _Files:
    """The files that a message becomes: the name wanted for each, and its octets, to be taken before the next one."""

    def __init__(self, outgoing: Outgoing, save: Save, when: str) -> None:
        self._content, self._save, self._when = _Content(outgoing), save, when
        self._message = Message.parse(self._content)
        self._subject = self._text("subject")

    def __iter__(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        found = False
        for part, blocks in self._parts() if self._save is not Save.MESSAGE else ():
            if part.attached:
                found = True
                yield self._attachment(part, blocks)
        if self._save is not Save.ATTACHMENTS:
            yield self._titled(".eml"), self._content
        elif not found:
            yield from self._texts()

    def _parts(self) -> Iterator[tuple[FilePart, Iterator[bytes]]]:
        """Each part with its decoded octets, which nobody has to take."""
        number = 0

        def part_of(event: FilePart | bytes) -> int:
            nonlocal number
            number += isinstance(event, FilePart)
            return number

        for _, events in groupby(file_parts(self._message), part_of):
            part = cast(FilePart, next(events))
            yield part, cast(Iterator[bytes], events)  # noqa: B031 - the rest of the group

    def _attachment(self, part: FilePart, blocks: Iterator[bytes]) -> tuple[str, Iterable[bytes]]:
        first = next(blocks, b"")
        extension = extension_for(part.kind, first)
        name = file_name([part.name, titled(self._subject, extension), self._when], extension)
        return name, chain([first], blocks)

    def _texts(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Of a message without attachments: each text that is not blank, plain ones with a few fields above."""
        blank = hollow = True
        for part, blocks in self._parts():
            begun, hollow = list[str](), False
            text = _decoded(part, blocks)
            for piece in text:
                begun.append(piece)
                if piece.strip():
                    break
            else:
                continue
            blank = False
            page = part.kind == "text/html"
            # in a page the mark says which charset it is, whatever the page itself says
            above = "\ufeff" if page else self._above()
            yield self._titled(".html" if page else ".txt"), _in_utf8(chain([above], begun, text))
        if hollow:  # a multipart without parts
            yield self._titled(".eml"), self._content
        elif blank:
            yield self._titled(".txt"), _in_utf8([self._above()])

    def _titled(self, extension: str) -> str:
        return titled(self._subject, extension) or f"{self._when}{extension}"

    def _above(self) -> str:
        lines = [f"{name.capitalize()}: {text}\r\n" for name in _TOLD if (text := self._text(name))]
        return "".join([*lines, "\r\n"])

    def _text(self, name: str) -> str:
        field = self._message.get(name)
        return readable(field.value.decode("utf-8", "replace"))[:1000] if field else ""


def _decoded(part: FilePart, blocks: Iterable[bytes]) -> Iterator[str]:
    codec = next(iter(readings(part.charset)), "utf-8")
    decoder = codecs.getincrementaldecoder(codec)("replace")
    for block in blocks:
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _in_utf8(text: Iterable[str]) -> Iterator[bytes]:
    return (piece.encode("utf-8", "replace") for piece in text)


def _taken(saved: list[WrittenFile]) -> Answer:
    shown = [f"{one.name} ({one.size} octets{', was there already' if one.there else ''})" for one in saved[:_SHOWN]]
    more = [f"{len(saved) - _SHOWN} more"] if len(saved) > _SHOWN else []
    known = all(one.there for one in saved)
    return Answer(Stage.CONTENT, Reply(250, "2.0.0", f"saved {', '.join([*shown, *more])}"), known=known)
