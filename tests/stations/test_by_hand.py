"""What a person does who mends something: every order helps, none makes anything later.

device ──> relay run ──> upstream that is away, or refuses the password
"""

import asyncio
import json
from os.path import commonprefix
from pathlib import Path

from tests.stations.test_commands import submit, upstream_at
from tests.support.running import RelayProcess, running
from tests.support.sink import sink
from tests.support.upstream import ScriptedUpstream


def test_no_order_makes_the_next_attempt_later(tmp_path: Path, unused_tcp_port: int) -> None:
    """Impatient retries start the ladder of delays anew; an unknown id touches nothing."""
    config = {"upstreams": {"away": upstream_at(unused_tcp_port)}, "retry": {"delays": ["1m", "5h"], "rest": ["1s"]}}
    with running(tmp_path, config) as relay:
        (queue_id,) = submit(relay)
        relay.wait_for("deferred")
        for number in range(3):
            before = len(relay.events("deferred"))
            assert relay.command("queue", "retry", "--all").returncode == 0
            relay.wait_for("deferred", before + 1)
            (row,) = relay.show(queue_id)["recipients"]
            assert row["attempts"] == 1, f"after {number + 1} retries by hand"
        tried = len(relay.events("tried"))
        done = relay.command("queue", "retry", "nosuchmessage1")
        assert done.returncode == 1
        assert relay.command("health").returncode == 0
        assert len(relay.events("tried")) == tried


def test_the_beginning_of_an_id_is_enough(tmp_path: Path, unused_tcp_port: int) -> None:
    """Beside the relay and without it, for looking and ordering; where two begin so, nothing is done to either."""
    config = {"upstreams": {"away": upstream_at(unused_tcp_port)}, "retry": {"rest": ["5h"]}}
    with running(tmp_path, config) as relay:
        ids = [submit(relay)[0] for _ in range(2)]
        short = commonprefix(ids)  # noqa: RUF071 - these are no paths
        own = [one[: len(short) + 1] for one in ids]
        assert relay.show(own[0])["id"] == ids[0]
        for words in (("show", short), ("hold", own[0], short)):
            done = relay.command("queue", *words)
            assert (done.returncode, f"begin with {short}" in done.stderr) == (1, True), done.stderr
        assert relay.command("queue", "hold", own[0], ids[0]).stdout == "hold: 1 message\n"
        relay.stop()
        assert relay.show(own[1])["id"] == ids[1]
        assert [one["recipients"][0]["state"] for one in relay.queue()] == ["held", "queued"]
        done = relay.command("queue", "hold", short)
        assert (done.returncode, "several" in done.stderr) == (1, True), done.stderr


async def test_retry_reads_a_mended_password(tmp_path: Path) -> None:
    """The cure that is printed works: mend the password file, `queue retry --all`, and the mail goes."""
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    async with ScriptedUpstream(users={"taro": "right"}, require_auth=True) as isp:
        upstream = {**upstream_at(isp.port), "username": "taro", "password_file": str(secret)}
        relay = RelayProcess(tmp_path, {"upstreams": {"isp": upstream}, "retry": {"rest_login": "1h"}})
        await asyncio.to_thread(relay.start)
        try:
            await asyncio.to_thread(submit, relay)
            await asyncio.to_thread(relay.wait_for, "deferred")
            secret.write_text("right\n")
            done = await asyncio.to_thread(relay.command, "queue", "retry", "--all")
            assert done.returncode == 0, done.stderr
            assert (await isp.arrived(1))[0].user == "taro"
            assert [known for _, _, known in isp.auths] == [False, True]
        finally:
            await asyncio.to_thread(relay.stop)


def test_a_broken_file_does_not_blind_who_asks_a_running_relay(tmp_path: Path) -> None:
    """The old settings go on: health, queue and send ask the relay, and say what is wrong with the file."""
    with sink(tmp_path / "sink") as behind, running(tmp_path, {"upstreams": {"isp": upstream_at(behind.port)}}) as relay:
        relay.config_file.write_text(json.dumps({**relay.config, "log": {"level": "loud"}}))
        for words in (("health",), ("queue", "list", "--json"), ("send", "--to", "me@far.example")):
            done = relay.command(*words)
            assert done.returncode == 0, done.stderr
            assert "log.level" in done.stderr
        relay.stop()
        assert relay.command("health").returncode == 2
