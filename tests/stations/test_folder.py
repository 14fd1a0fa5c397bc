"""An upstream that is a folder: real files in real folders."""

import asyncio
import base64
import ctypes
import errno
import os
import stat
import struct
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.mail.address import parse_address
from relay.mail.envelope import Origin
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Fault, Stage
from relay.outbound.replies import Fate, judge
from relay.upstream import file_writer
from relay.upstream.settings import Folder, Save, Upstream
from relay.upstream.transports import Means, Transports
from tests.support import faults
from tests.support.waiting import until

WHEN = datetime(2026, 11, 30, 12, 0, 5, tzinfo=UTC)
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


def part(head: str, octets: bytes) -> bytes:
    coded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return head.encode() + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded


def multipart(*parts: bytes, subject: str = "Scan") -> bytes:
    head = f"From: <scanner@home.example>\r\nSubject: {subject}\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n".encode()
    return head + b"".join(b"--b1\r\n" + one + b"\r\n" for one in parts) + b"--b1--\r\n"


TEXT = b"Content-Type: text/plain\r\n\r\nPlease find the scan attached.\r\n"
SCAN = multipart(TEXT, part('Content-Type: application/pdf; name="scan.pdf"', PDF))


def mail(content: bytes = SCAN, **more: object) -> Outgoing:
    given = {
        "queue_id": "q1q1q1q1q1q1q1",
        "reverse_path": parse_address("scanner@home.example"),
        "forward_paths": (parse_address("scans@home.example"), parse_address("b@home.example")),
        "content": [content[at : at + 5000] for at in range(0, len(content), 5000)],
        "size": len(content),
        "origin": Origin("192.168.0.21", "BRN001"),
        "device": "192.168.0.21",
        "accepted_at": WHEN,
    }
    return Outgoing(**{**given, **more})  # type: ignore[arg-type]


async def submit(folder, outgoing: Outgoing, save: Save = Save.ATTACHMENTS, timeout: float = 60.0):
    transports = Transports(Means("relay.test"))
    upstream = Upstream("scans", Folder(str(folder), save), timeout=timedelta(seconds=timeout))
    report = await transports.submit(upstream, outgoing)
    await transports.close()
    assert set(report.answers) == set(outgoing.forward_paths)
    assert not report.left
    return report


async def answer(folder, outgoing: Outgoing, save: Save = Save.ATTACHMENTS, timeout: float = 60.0):
    first, *others = (await submit(folder, outgoing, save, timeout)).answers.values()
    assert all(other == first for other in others)
    return first


def files(folder) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


async def test_a_scan_becomes_a_file(tmp_path):
    """The PDF with its own name and octets; one answer for each recipient, one file for all."""
    said = await answer(tmp_path, mail())
    assert judge(said).fate is Fate.RELAYED
    assert said.reply.text == f"saved scan.pdf ({len(PDF)} octets)"
    assert files(tmp_path) == {"scan.pdf": PDF}
    assert stat.S_IMODE((tmp_path / "scan.pdf").stat().st_mode) & 0o007 == 0
    assert (tmp_path / "scan.pdf").stat().st_mtime == WHEN.timestamp()


async def test_the_whole_message_or_both(tmp_path):
    """`message` keeps it octet for octet, `both` has the attachment beside it."""
    for save in (Save.MESSAGE, Save.BOTH):
        (tmp_path / save.value).mkdir()
        await answer(tmp_path / save.value, mail(), save)
    assert files(tmp_path / "message") == {"Scan.eml": SCAN}
    assert files(tmp_path / "both") == {"Scan.eml": SCAN, "scan.pdf": PDF}


async def test_no_file_is_replaced(tmp_path):
    """A name that is taken, in this message or before it, gets a number; so does one that differs in case only."""
    (tmp_path / "scan.pdf").write_bytes(b"another")
    os.symlink("/etc/passwd", tmp_path / "scan (2).pdf")
    (tmp_path / "scan (3).pdf").mkdir()
    head = "Content-Type: application/pdf; name={}"
    two = multipart(*(part(head.format(name), PDF + name.encode()) for name in ("scan.pdf", "SCAN.pdf", "scan.pdf")))
    said = await answer(tmp_path, mail(two))
    assert (tmp_path / "scan.pdf").read_bytes() == b"another"
    names = ["scan (4).pdf", "SCAN (2).pdf", "scan (5).pdf"]
    assert [name in said.reply.text for name in names] == [True, False, True], said
    assert (tmp_path / "scan (4).pdf").read_bytes() == PDF + b"scan.pdf"
    assert (tmp_path / "scan (5).pdf").read_bytes() == PDF + b"scan.pdf"
    assert (tmp_path / "SCAN.pdf").read_bytes() == PDF + b"SCAN.pdf"


async def test_the_same_message_again_writes_nothing_twice(tmp_path):
    """As after a crash before the fate was stored: the files are known again, twins within the message too.

    Where one of them is gone, which somebody may have taken, the message is not known as a whole.
    """
    twins = multipart(*[part("Content-Type: image/png; name=page.png", b"\x89PNG")] * 2)
    assert [(await answer(tmp_path, mail(twins))).known for _ in range(3)] == [False, True, True]
    (tmp_path / "page.png").unlink()
    assert not (await answer(tmp_path, mail(twins))).known
    said = await answer(tmp_path, mail(twins))
    assert files(tmp_path) == {"page.png": b"\x89PNG", "page (2).png": b"\x89PNG"}
    assert said.reply.text.count("was there already") == 2


async def test_another_message_with_the_same_octets_is_another_file(tmp_path):
    """Two scans of one page are two scans."""
    for number, seconds in enumerate((0.1, 0.14, 60.1)):
        later = mail(queue_id=f"q2q2q2q2q2q2q{number}", accepted_at=WHEN + timedelta(seconds=seconds))
        await answer(tmp_path, later)
    assert files(tmp_path) == {"scan.pdf": PDF, "scan (2).pdf": PDF, "scan (3).pdf": PDF}


async def test_a_folder_full_of_the_same_name(tmp_path):
    """After ninety-nine numbers the queue id makes the name, and a repeated try still finds it."""
    for number in range(1, 100):
        (tmp_path / ("scan.pdf" if number == 1 else f"scan ({number}).pdf")).write_bytes(b"")
    await answer(tmp_path, mail())
    await answer(tmp_path, mail())
    assert (tmp_path / "scan (q1q1q1q1q1q1q1).pdf").read_bytes() == PDF
    assert len(files(tmp_path)) == 100


async def test_several_long_values_are_one_name(tmp_path):
    """Cut, so that no sender can make a name that no file system takes."""
    sender = parse_address(f"{'s' * 60}@{'d' * 60}.example")
    long = mail(device="ü" * 200, reverse_path=sender, origin=Origin("1" * 200))
    await answer(tmp_path / "{device} {from} {client}", long)
    [name] = files(tmp_path)
    assert len(name.rpartition("/")[0].encode()) == 255
    assert name.startswith("ü" * 60 + " sss")


async def test_folders_are_made_of_who_sent_it(tmp_path, monkeypatch):
    """The fields are filled in, each as one name; below the fixed part folders are made."""
    folder = tmp_path / "{device}" / "{from}-{client}" / "in" / "{date}"
    hostile = mail(origin=Origin("fe80::1%eth0"), device="../../escape", reverse_path=None)
    report = await submit(folder, hostile)
    [name] = files(tmp_path)
    assert name == f"-..-escape/unknown-fe80__1%eth0/in/{WHEN.astimezone():%Y-%m-%d}/scan.pdf"
    assert report.conversation.peer == str((tmp_path / name).parent)
    await answer(tmp_path / "{device}", mail())
    assert (tmp_path / "192.168.0.21" / "scan.pdf").read_bytes() == PDF


async def test_a_link_below_the_fixed_part_is_not_followed(tmp_path):
    """Who can write in the folder must not choose where the relay writes."""
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    os.symlink(outside, inside / "192.168.0.21")
    said = await answer(inside / "{client}", mail())
    assert said.fault is Fault.FOLDER_MISSING
    assert files(outside) == {}


@pytest.mark.parametrize("missing", ["none", "none/{device}", "file/{device}"])
async def test_the_fixed_part_is_never_made(tmp_path, missing):
    """A share that is not mounted waits; nothing is written below its mount point."""
    (tmp_path / "file").write_bytes(b"")
    said = await answer(tmp_path / missing, mail())
    assert (said.fault, said.stage, said.reply.code) == (Fault.FOLDER_MISSING, Stage.CONNECT, 451)
    verdict = judge(said)
    assert (verdict.fate, verdict.try_next, verdict.rests, verdict.advice.name) == (Fate.DEFERRED, True, True, "folder-missing")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.EACCES, Fault.FOLDER_RIGHTS),
        (errno.EROFS, Fault.FOLDER_RIGHTS),
        (errno.ENOSPC, Fault.FOLDER_FULL),
        (errno.EDQUOT, Fault.FOLDER_FULL),
        (errno.EIO, Fault.FOLDER_IO),
        (errno.ESTALE, Fault.FOLDER_IO),
    ],
)
@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "link"])
async def test_what_the_system_refuses_defers_and_leaves_nothing(tmp_path, monkeypatch, number, fault, call):
    """At each call: the message waits, with the system's words, and no hidden file is left."""
    real = getattr(os, call)
    monkeypatch.setattr(file_writer, "RENAMES", file_writer.RENAMES[1:2])

    def failing(*args: object, **how: object) -> object:
        if call == "open" and not (isinstance(args[1], int) and args[1] & os.O_CREAT):
            return real(*args, **how)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(file_writer.os, call, failing)
    said = await answer(tmp_path / "{client}", mail())
    monkeypatch.undo()
    assert (said.fault, judge(said).fate) == (fault, Fate.DEFERRED)
    assert os.strerror(number) in said.reply.text
    assert files(tmp_path) == {}


@pytest.mark.parametrize("first", [1, 2])
async def test_file_systems_that_cannot_rename_so(tmp_path, monkeypatch, first):
    """NFS has links instead, some shares neither: no file is replaced there either."""
    (tmp_path / "scan.pdf").write_bytes(b"another")

    def cannot(folder: int, temporary: bytes, name: bytes) -> None:
        raise OSError(errno.EINVAL, "no such call")

    monkeypatch.setattr(file_writer, "RENAMES", (*[cannot] * first, *file_writer.RENAMES[first:]))
    await answer(tmp_path, mail())
    await answer(tmp_path, mail())
    assert files(tmp_path) == {"scan.pdf": b"another", "scan (2).pdf": PDF}


async def test_a_link_whose_answer_was_lost_counts(tmp_path, monkeypatch):
    """NFS repeats a request and says that the name is taken: by this same file."""
    real = os.link

    def twice(*args: object, **how: object) -> None:
        real(*args, **how)  # type: ignore[arg-type]
        real(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(file_writer, "RENAMES", file_writer.RENAMES[1:])
    monkeypatch.setattr(file_writer.os, "link", twice)
    await answer(tmp_path, mail())
    assert files(tmp_path) == {"scan.pdf": PDF}


async def test_a_failure_between_two_names_stays_with_the_folder(tmp_path, monkeypatch):
    """Another upstream would double the first file; the next try here finds it."""
    real, names = os.link, []

    def once(*args: object, **how: object) -> None:
        names.append(args[1])
        if len(names) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*args, **how)  # type: ignore[arg-type]

    two = multipart(*(part(f"Content-Type: image/png; name={name}.png", b"\x89PNG") for name in "ab"))
    with monkeypatch.context() as patched:
        patched.setattr(file_writer, "RENAMES", file_writer.RENAMES[1:2])
        patched.setattr(file_writer.os, "link", once)
        verdict = judge(await answer(tmp_path, mail(two)))
    assert (verdict.fate, verdict.try_next) == (Fate.DEFERRED, False)
    assert set(files(tmp_path)) == {"a.png"}
    await answer(tmp_path, mail(two))
    assert set(files(tmp_path)) == {"a.png", "b.png"}


async def test_who_watches_the_folder_hears_of_whole_files(tmp_path, monkeypatch):
    """inotify as Paperless-ngx uses it: a name that is moved in, or a file that is closed after writing, and not hidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    for renames in (file_writer.RENAMES, file_writer.RENAMES[1:], file_writer.RENAMES[2:]):
        watch = libc.inotify_init1(os.O_NONBLOCK)
        place = tmp_path / str(len(renames))
        place.mkdir()
        libc.inotify_add_watch(watch, os.fsencode(place), 0x8 | 0x80)  # IN_CLOSE_WRITE, IN_MOVED_TO
        monkeypatch.setattr(file_writer, "RENAMES", renames)
        await answer(place, mail())
        events, seen = os.read(watch, 65_536), []
        os.close(watch)
        while events:
            _, _, _, length = struct.unpack_from("iIII", events)
            seen.append(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        assert seen[-1] == "scan.pdf"
        assert all(name.startswith(".relay-") for name in seen if name != "scan.pdf")


async def test_damaged_content_leaves_no_file(tmp_path):
    """What shows only after the last octet comes before any file has its name."""

    class Damaged(Exception):
        pass

    class Content:
        def __iter__(self):
            yield SCAN
            raise Damaged

    with pytest.raises(Damaged):
        await submit(tmp_path, replace(mail(), content=Content()))
    assert files(tmp_path) == {}


async def test_leftovers_are_swept(tmp_path):
    """Hidden files of this message, and old ones of others; not those that another relay may be writing."""
    for name in (".relay-q1q1q1q1q1q1q1-aaaa.part", ".relay-q9q9q9q9q9q9q9-bbbb.part", ".relayed.part", "x.part"):
        (tmp_path / name).write_bytes(b"half")
    await answer(tmp_path, mail())
    assert set(files(tmp_path)) == {".relay-q9q9q9q9q9q9q9-bbbb.part", ".relayed.part", "x.part", "scan.pdf"}
    folder = os.open(tmp_path, os.O_RDONLY)
    file_writer.sweep(folder, "other", WHEN.timestamp() + 10 * 365 * 86400)
    os.close(folder)
    assert set(files(tmp_path)) == {".relayed.part", "x.part", "scan.pdf"}


async def test_a_disk_that_does_not_answer_defers_or_stays(tmp_path, monkeypatch):
    """Before the names nothing can have arrived, so the next upstream is asked; after that only this folder is."""
    for call, certain in (("fsync", True), ("link", False)):
        hang = threading.Event()
        real = getattr(os, call)

        def slow(*args: object, hang: threading.Event = hang, real: object = real, **how: object) -> object:
            hang.wait(20)
            return real(*args, **how)  # type: ignore[operator]

        with monkeypatch.context() as patched:
            patched.setattr(file_writer, "RENAMES", file_writer.RENAMES[1:2])
            patched.setattr(file_writer.os, call, slow)
            began = asyncio.get_running_loop().time()
            said = await answer(tmp_path, mail(), timeout=0.05)
            assert asyncio.get_running_loop().time() - began < 5
            assert judge(said).try_next is certain
            hang.set()
            await until(lambda: not file_writer._in_hand)
    assert files(tmp_path) == {"scan.pdf": PDF}  # the second one came to its end after all
    await answer(tmp_path, mail())
    assert files(tmp_path) == {"scan.pdf": PDF}


async def test_a_message_without_attachments_is_never_dropped(tmp_path):
    """Its text becomes a file in UTF-8 with who, when and what above; HTML another; a bare subject one, too."""
    plain = b"From: <a@b.example>\r\nSubject: Test 1/2\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n"
    await answer(tmp_path, mail(plain + "日本語\r\n".encode("iso2022_jp")))
    page = b"Subject: page\r\nContent-Type: text/html; charset=windows-1252\r\n\r\n<p>\x80</p>\r\n"
    await answer(tmp_path, mail(page))
    await answer(tmp_path, mail(b"Subject: UPS on battery\r\n\r\n"))
    await answer(tmp_path, mail(b"\r\n\r\n"))
    hollow = b"DKIM-Signature: v=1\r\nSubject: hollow\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nno parts\r\n"
    await answer(tmp_path, mail(hollow))
    assert (tmp_path / "hollow.eml").read_bytes() == hollow
    (tmp_path / "hollow.eml").unlink()
    assert files(tmp_path) == {
        "Test 1-2.txt": "From: <a@b.example>\r\nSubject: Test 1/2\r\n\r\n日本語\r\n".encode(),
        "page.html": b"\xef\xbb\xbf<p>\xe2\x82\xac</p>\r\n",
        "UPS on battery.txt": b"Subject: UPS on battery\r\n\r\n",
        f"{WHEN.astimezone():%Y-%m-%d %H-%M-%S}.txt": b"\r\n",
    }


async def test_both_texts_of_an_alternative_are_kept(tmp_path):
    """Nobody knows which one says it all."""
    body = (
        b"--x\r\nContent-Type: text/plain\r\n\r\nsee the page\r\n--x\r\nContent-Type: text/html\r\n\r\n<b>all</b>\r\n--x--\r\n"
    )
    await answer(tmp_path, mail(b"Subject: s\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n" + body))
    assert files(tmp_path) == {"s.txt": b"Subject: s\r\n\r\nsee the page", "s.html": b"\xef\xbb\xbf<b>all</b>"}


async def test_the_room_that_stays_free(tmp_path):
    """A small file system that fills: what does not fit waits, and nothing is left half."""
    with faults.small_disk(tmp_path / "disk", "4m") as place:
        large = multipart(part("Content-Type: application/pdf; name=a.pdf", os.urandom(1_000_000)))
        codes = [await answer(place, mail(large, accepted_at=WHEN + timedelta(days=day))) for day in range(5)]
        assert [said.reply.code for said in codes] == [250, 250, 250, 451, 451]
        assert {said.fault for said in codes[3:]} == {Fault.FOLDER_FULL}
        assert sorted(files(place)) == ["a (2).pdf", "a (3).pdf", "a.pdf"]
        faults.take_all_that_is_left(place / "ballast")
        # somebody else fills it between our look and our writing
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("relay.upstream.folder.room", lambda folder: None)
            said = await answer(place, mail(accepted_at=WHEN + timedelta(days=9)))
        assert (said.fault, said.reply.status) == (Fault.FOLDER_FULL, "4.3.1")
        assert sorted(files(place)) == ["a (2).pdf", "a (3).pdf", "a.pdf", "ballast"]


async def test_a_disk_that_is_partly_full(tmp_path, monkeypatch):
    """Room for one file of two, or for no more names, or for the attachment but not for the message beside it: nothing
    is left by half, the rest of the disk stays as it was, and all of it is saved once there is room."""
    with faults.small_disk(tmp_path / "disk", "4m,nr_inodes=6") as place:
        pages = [part(f"Content-Type: application/pdf; name={name}.pdf", os.urandom(1_200_000)) for name in "ab"]
        both, one = multipart(*pages), multipart(pages[0])
        (place / "ballast").write_bytes(b"x" * 2_500_000)
        with monkeypatch.context() as patched:  # somebody else is quicker than our look
            patched.setattr("relay.upstream.folder.room", lambda folder: None)
            said = await answer(place, mail(both))
        assert (said.fault, sorted(files(place))) == (Fault.FOLDER_FULL, ["ballast"])
        said = await answer(place, mail(one), Save.BOTH)
        assert (said.fault, sorted(files(place))) == (Fault.FOLDER_FULL, ["ballast"])
        (place / "ballast").unlink()
        names = [place / f"{number}.txt" for number in range(4)]
        for name in names:
            name.touch()
        said = await answer(place / "{device}" / "{date}", mail(both))
        assert (said.fault, list(place.rglob("*.p*"))) == (Fault.FOLDER_FULL, [])
        for name in names:
            name.unlink()
        said = await answer(place / "{device}", mail(both))
        assert judge(said).fate is Fate.RELAYED
        assert sorted(files(place / "192.168.0.21")) == ["a.pdf", "b.pdf"]


async def test_a_share_that_hangs_for_days_takes_no_more_threads(tmp_path, monkeypatch):
    """After a few that never come back, none is started until one of them does."""
    hang, began = threading.Event(), []

    def slow(descriptor: int) -> None:
        began.append(descriptor)
        hang.wait(20)

    monkeypatch.setattr(file_writer.os, "fsync", slow)
    transports = Transports(Means("relay.test"))
    upstream = Upstream("scans", Folder(str(tmp_path)), timeout=timedelta(seconds=0.02))
    for _ in range(7):
        [said, _] = (await transports.submit(upstream, mail())).answers.values()
        assert (said.fault, judge(said).try_next) == (Fault.FOLDER_IO, True)
    assert len(began) == 4
    hang.set()
    monkeypatch.undo()
    await until(lambda: not file_writer._in_hand)
    upstream = replace(upstream, timeout=timedelta(seconds=1))

    async def relayed() -> bool:
        [said, _] = (await transports.submit(upstream, mail())).answers.values()
        return judge(said).fate is Fate.RELAYED

    await until(relayed, seconds=5)
    assert files(tmp_path) == {"scan.pdf": PDF}
