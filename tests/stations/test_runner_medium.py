"""The queue runner on a medium that fails now and then: nothing is sent twice, nothing is given up, nobody else waits."""

from relay.outbound.routing import Route
from relay.spool.contract import SpoolAway
from relay.spool.entry import State
from tests.stations.test_runner import running, upstream
from tests.support.upstream import ScriptedUpstream


def failing(spool, monkeypatch, verb, *errors):
    """The spool's verb, which first fails in these ways; the list of what is still to come."""
    real, left = getattr(spool, verb), list(errors)

    async def sometimes(*args, **more):
        if left:
            raise left.pop(0)
        return await real(*args, **more)

    monkeypatch.setattr(spool, verb, sometimes)
    return left


async def test_what_was_sent_and_cannot_be_stored_is_not_sent_again(tmp_path, monkeypatch):
    """The upstream's 250 is kept in mind until it is on disk, however often the disk says no."""
    async with ScriptedUpstream() as isp:
        async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", isp.port)]) as world:
            left = failing(world.spool, monkeypatch, "settle", OSError("disk I/O error"), OSError("disk I/O error"))
            queue_id = await world.accept("x@y.example")
            await world.until(queue_id, State.RELAYED)
            trail = await world.trail(queue_id)
    assert left == []
    assert len(isp.messages) == 1
    assert sum(line.startswith("relayed: isp") for line in trail) == 1


async def test_a_queue_that_cannot_be_read_for_a_while_is_read_again(tmp_path, monkeypatch):
    """The runner does not end with the error: what was accepted goes once the medium is well, or is back."""
    for error in (SpoolAway("elsewhere"), OSError("disk I/O error")):
        async with ScriptedUpstream() as isp:
            path = tmp_path / type(error).__name__
            path.mkdir()
            async with running(path, [Route(via=("isp",))], [upstream("isp", isp.port)]) as world:
                left = failing(world.spool, monkeypatch, "claim", error)
                await world.until(await world.accept("x@y.example"), State.RELAYED)
        assert left == [] and len(isp.messages) == 1
