"""All that a spool has moves into another one, whichever backends they are: each message once, wherever it stops."""

import shutil

import pytest

from relay.cli.main import main
from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolSettings
from relay.spool.entry import Action, Order, Settlement, State, TrailLine
from relay.spool.move_spool import move, move_one
from tests.support.postgres import check_invariants
from tests.support.spooled import HOUR, a_notice, after, an_entry, settled

LARGE = tuple(bytes([number]) * 100_000 for number in range(11))
NAMES = [letter * 14 for letter in "abcde"]


@pytest.fixture
def urls(tmp_path, postgres_server):
    return {
        "sqlite": f"sqlite:{tmp_path}/spool.db",
        "postgres": postgres_server.database(),
        "other": f"sqlite:{tmp_path}/other.db",
    }


async def opened(url, clock):
    return await open_spool(SpoolSettings(url, keep_free=0), now=clock)


async def fill(spool, clock):
    """One that waits, one half done, one held and large, one failed and untold, one relayed; counts and a refused sender."""
    _, b, c, d, e = NAMES
    for name in NAMES:
        content = LARGE if name == c else b"content of " + name.encode()
        entry = an_entry(name, clock(), content=content, to=("a@x.jp", "b@x.jp"), message_id=f"<{name}@nas>")
        await spool.commit(entry, (TrailLine(clock(), "accepted", f"from {name}"),))
        clock.advance(seconds=1)
    claims = [await spool.claim(clock()) for _ in NAMES]
    for claim in claims:
        name = claim.entry.queue_id
        if name == b:
            later = after(claim.recipients[1], State.QUEUED, due_at=clock() + HOUR, said="later")
            await spool.settle(claim, Settlement((after(claim.recipients[0], State.RELAYED), later), sent="isp", warned=True))
        if name == d:
            failed = settled(claim.recipients, State.FAILED)
            notices = (a_notice(d, failed.outcomes[0], clock()),)
            await spool.settle(claim, Settlement(failed.outcomes, notices=notices, refused_sender=("isp", "nas@lan")))
        if name == e:
            await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    for claim in claims:
        await spool.release(claim)
    await spool.order(Order(Action.HOLD, (c,)), clock())


async def picture(spool, clock):
    """All that can be seen of a spool."""
    messages = {}
    for name in NAMES:
        parcel = await spool.pack(name)
        try:
            content = b"".join(parcel.stored.entry.content)
        except LeaseLost:
            content = None
        flags = (parcel.kept, parcel.repeated, parcel.warned, parcel.over_at)
        messages[name] = (parcel.stored.entry, parcel.stored.recipients, parcel.stored.trail, content, flags)
    notices = [(one.queue_id, one.kind, one.recipient, one.made_at) for one in await spool.pending_notices()]
    return messages, notices, await spool.sent_today(f"{clock():%Y-%m-%d}"), await spool.refused_senders()


@pytest.mark.parametrize("way", [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "other")])
async def test_everything_arrives_as_it_was(urls, clock, way):
    """Recipients, trails, content, notices, counts: the target shows what the source showed, and the source is empty."""
    source, target = await opened(urls[way[0]], clock), await opened(urls[way[1]], clock)
    await fill(source, clock)
    before = await picture(source, clock)
    assert await move(source, target, clock) == len(NAMES)
    assert await picture(target, clock) == before
    assert (await source.entries(), await source.pending_notices()) == ([], [])
    assert (await target.claim(clock())).entry.queue_id == NAMES[0]
    await source.close()
    await target.close()
    assert "postgres" not in way or check_invariants(urls["postgres"]) == []


@pytest.mark.parametrize("way", [("sqlite", "postgres"), ("postgres", "sqlite")])
async def test_who_is_interrupted_between_two_steps_goes_on(urls, clock, way):
    """A message that is in the target and still in the source leaves the source and is not doubled."""
    source, target = await opened(urls[way[0]], clock), await opened(urls[way[1]], clock)
    await fill(source, clock)
    before = await picture(source, clock)
    for name in (NAMES[0], NAMES[3], NAMES[4]):
        assert await target.adopt(await source.pack(name))  # and here it was killed
    await move(source, target, clock)
    assert await picture(target, clock) == before
    assert await move(source, target, clock) == 0
    await source.close()
    await target.close()


async def test_what_came_once_does_not_come_again(urls, clock):
    """The operator removed it from the shared queue before the source knew that it had gone: it stays removed."""
    source, target = await opened(urls["sqlite"], clock), await opened(urls["postgres"], clock)
    await source.commit(an_entry(NAMES[0], clock()))
    assert await target.adopt(await source.pack(NAMES[0]))
    await target.order(Order(Action.REMOVE, (NAMES[0],)), clock())
    assert await move_one(source, target, NAMES[0], clock)
    assert await target.entries() == await source.entries() == []
    await source.close()
    await target.close()


async def test_the_command_moves_a_spool(urls, clock, tmp_path, capsys, monkeypatch):
    """`relay spool move FROM TO`; a second time there is nothing left; a spool in use is refused."""
    import asyncio

    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "none.yaml"))
    source = await opened(urls["sqlite"], clock)
    await fill(source, clock)

    def command(*words):
        return main(["spool", *words])

    assert await asyncio.to_thread(command, "move", urls["sqlite"], urls["postgres"]) == 1
    assert "another relay" in capsys.readouterr().err
    await source.close()
    assert await asyncio.to_thread(command, "move", urls["sqlite"], urls["postgres"]) == 0
    assert "moved 5 messages" in capsys.readouterr().out
    assert await asyncio.to_thread(command, "move", urls["sqlite"], urls["postgres"], "--json") == 0
    assert capsys.readouterr().out.split() == ["{", '"moved":', "0", "}"]
    assert await asyncio.to_thread(command, "prepare", urls["postgres"]) == 0
    relay = await open_spool(SpoolSettings(urls["postgres"]), now=clock, home=tmp_path / "home")
    assert await asyncio.to_thread(command, "move", urls["postgres"], urls["sqlite"]) == 1
    assert "stop it first" in capsys.readouterr().err
    await relay.close()
    shutil.rmtree(tmp_path / "home")


def test_a_mistyped_source_is_named_and_nothing_is_made(tmp_path, capsys, monkeypatch):
    """An empty spool would be made in its place, and "moved 0 messages" be said of mail that is elsewhere."""
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "none.yaml"))
    typed = tmp_path / "mistyped.db"
    assert main(["spool", "move", f"sqlite:{typed}", f"sqlite:{tmp_path}/new.db"]) == 2
    assert f"{typed}: no such spool" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
