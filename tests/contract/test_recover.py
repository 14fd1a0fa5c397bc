"""A damaged spool: the relay refuses to start and says what to do; `queue export` saves what can be read."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.doctor.spool_probe import file_facts
from relay.spool import open_spool
from relay.spool.contract import SpoolBroken, SpoolSettings
from relay.spool.entry import State
from relay.spool.sqlite.recover import save
from relay.spool.sqlite.schema import PAGE, prepare
from tests.support.spooled import an_entry, settled

BLOCK = 4096  # octets that a disk loses at least
SMALL, LARGE, IN_FILES, RELAYED = 30, 5, 2, 5


def content_of(name: str, octets: int) -> bytes:
    return (f"Subject: {name}\r\n\r\n".encode() + name.encode() * (octets // len(name)))[:octets]


@pytest.fixture(params=[PAGE, 4096])
async def damaged(request, tmp_path, clock, ids) -> tuple[Path, dict[str, bytes]]:
    """A closed spool, of pages as they are now or were once, and the contents that should be in it, by queue id."""
    path, contents = tmp_path / "spool.db", {}
    prepare(path, request.param)
    spool = await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0), now=clock)
    for octets in [3000] * SMALL + [240_000] * LARGE + [300_000] * IN_FILES:
        queue_id = ids(clock.advance(seconds=1))
        contents[queue_id] = content_of(queue_id, octets)
        await spool.commit(an_entry(queue_id, clock(), content=contents[queue_id]))
    for _ in range(RELAYED):
        claim = await spool.claim(clock())
        await spool.settle(claim, settled(claim.recipients, State.RELAYED))
        await spool.release(claim)
        del contents[claim.entry.queue_id]
    await spool.close()
    return path, contents


def spoil(path: Path, blocks: list[int]) -> None:
    """Overwrites these blocks (the first is 0) with what a dying disk gives."""
    with path.open("r+b") as file:
        for block in blocks:
            file.seek(block * BLOCK)
            file.write(random.Random(block).randbytes(BLOCK))


async def refusal(path: Path, clock) -> str:
    with pytest.raises(SpoolBroken) as told:
        await open_spool(SpoolSettings(f"sqlite:{path}"), now=clock)
    return str(told.value)


def whole(saved, directory: Path) -> dict[str, bytes]:
    return {one.name: (directory / one.file).read_bytes() for one in saved if one.file and not one.amiss}


async def test_a_sound_spool_is_saved_octet_for_octet(damaged, tmp_path):
    """Every message with content becomes a file, for nobody else to read; those relayed are only listed."""
    path, contents = damaged
    before = path.read_bytes()
    saved = save(path, tmp_path / "out")
    assert whole(saved, tmp_path / "out") == contents
    assert len(saved) == len(contents) + RELAYED
    assert path.read_bytes() == before
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()} == {0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


async def test_without_its_first_block_nothing_is_lost(damaged, tmp_path, clock):
    """The page that says where everything is can be taken from a new spool; the relay itself refuses to start."""
    path, contents = damaged
    spoil(path, [0])
    assert "relay queue export DIRECTORY" in await refusal(path, clock)
    assert whole(save(path, tmp_path / "out"), tmp_path / "out") == contents


@pytest.mark.parametrize("seed", range(6))
async def test_of_a_file_with_holes_what_is_readable_is_saved(damaged, tmp_path, clock, seed):
    """A twentieth of the blocks is noise: what is called whole is whole, and the rest is told of."""
    path, contents = damaged
    blocks = path.stat().st_size // BLOCK
    spoil(path, random.Random(seed).sample(range(23, blocks), blocks // 20))
    said = await refusal(path, clock)
    assert said.startswith(f"{path} is damaged. Stop the relay, save what can be read")
    assert len(said) < 1000, "the cure, and a few of the findings"
    saved = save(path, tmp_path / "out")
    found = whole(saved, tmp_path / "out")
    assert all(contents[name] == octets for name, octets in found.items())
    large = int.from_bytes(path.read_bytes()[16:18], "big") > PAGE  # one of those holds 13 of the messages' rows
    assert len(found) > len(contents) // (3 if large else 2)
    missing = [name for name in contents if name not in found]
    assert len([one for one in saved if one.amiss]) >= len(missing)


async def test_a_file_cut_short_gives_what_it_has(damaged, tmp_path, clock):
    """The end is missing: refused at the start, and what was before it is saved."""
    path, contents = damaged
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3 // BLOCK * BLOCK)
    assert "is damaged" in await refusal(path, clock)
    found = whole(save(path, tmp_path / "out"), tmp_path / "out")
    assert found
    assert all(contents[name] == octets for name, octets in found.items())


async def test_a_spool_in_use_is_not_exported(tmp_path, clock):
    """The holder is named: what the daemon writes meanwhile would be half in the copy."""
    spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool.db"), now=clock)
    with pytest.raises(SpoolBroken, match=r"another relay .* uses this spool; stop it first"):
        save(tmp_path / "spool.db", tmp_path / "out")
    await spool.close()
    with pytest.raises(SpoolBroken, match="no such spool"):
        save(tmp_path / "nowhere.db", tmp_path / "out")


async def test_noise_is_no_spool(tmp_path):
    """Nothing recognisable: said so, without a file left over."""
    (tmp_path / "spool.db").write_bytes(random.Random(0).randbytes(100 * BLOCK))
    saved = []
    try:
        saved = save(tmp_path / "spool.db", tmp_path / "out")
    except SpoolBroken as told:
        assert "recognised" in str(told)
    assert saved == []
    assert list((tmp_path / "out").iterdir()) == []


async def test_the_command_exports_and_tells_whose_it_is(damaged, tmp_path):
    """`relay queue export` exits 1 if something is amiss, writes index.json, and `relay run` names it."""
    path, contents = damaged
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps({"upstreams": {"a": {"host": "127.0.0.1", "tls": "none"}}, "spool": {"url": f"sqlite:{path}"}})
    )

    def relay(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "relay", *words, "--config", str(config)]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)

    done = relay("queue", "export", str(tmp_path / "sound"))
    assert done.returncode == 0, done.stderr
    spoil(path, [path.stat().st_size // BLOCK - 3])
    refused = relay("run")
    assert refused.returncode == 1
    assert "relay queue export DIRECTORY" in refused.stderr
    done = relay("queue", "export", str(tmp_path / "out"), "--json")
    index = json.loads(done.stdout)
    assert json.loads((tmp_path / "out" / "index.json").read_text()) == index
    assert done.returncode == (1 if any(one["amiss"] for one in index["messages"]) else 0)
    assert {one["recipients"][0]["address"] for one in index["messages"] if "recipients" in one} == {"me@example.jp"}
    assert len([one for one in index["messages"] if one["file"]]) >= len(contents) - 2


async def test_the_doctor_sees_the_damage_that_a_start_would(damaged, tmp_path, clock):
    """As `relay run` refuses it; a sound spool, or one in use, is not accused, and no file is left beside it."""
    path, _ = damaged
    settings, beside = SpoolSettings(f"sqlite:{path}"), sorted(path.parent.iterdir())
    assert file_facts(settings.file).damage == ""
    spool = await open_spool(settings, now=clock)
    assert file_facts(settings.file).damage == ""
    await spool.close()
    spoil(path, [path.stat().st_size // BLOCK - 3])
    seen = file_facts(settings.file).damage
    assert seen and (await refusal(path, clock)).endswith(seen)
    assert sorted(path.parent.iterdir()) == beside


async def test_the_doctor_reads_the_log_that_a_crash_left(tmp_path, clock, ids):
    """What is only in the write-ahead log belongs to the spool."""
    spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/alive.db", keep_free=0), now=clock)
    await spool.commit(an_entry(ids(clock()), clock(), content=content_of("log", 300_000)))
    for end in ("", "-wal"):
        shutil.copy(f"{tmp_path}/alive.db{end}", f"{tmp_path}/crashed.db{end}")
    await spool.close()
    assert file_facts(tmp_path / "crashed.db").damage == ""
