"""The whole relay with a folder among its upstreams.

scanner ──> relay ──> a folder of files ──> (where that takes nothing) ──> the ISP
"""

import json
from pathlib import Path

import pytest

from relay.cli.main import main
from relay.doctor.finding import Grade
from relay.doctor.folder import judge_folder
from relay.doctor.folder_probe import folder_facts
from relay.upstream.settings import Folder, Upstream
from tests.stations.test_folder import PDF, SCAN, files
from tests.support.inprocess import ended, relay_at_home, send
from tests.support.upstream import ScriptedUpstream

SENDER, SCANS = "scanner@isp.example", "scans@isp.example"


def settings(folder: Path | str, port: int = 9, **more: object) -> dict[str, object]:
    isp = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": SENDER}
    routes = [{"to": "scans@*", "via": ["scans", "isp"]}, {"via": ["isp"]}]
    return {"upstreams": {"scans": {"folder": str(folder), **more}, "isp": isp}, "routes": routes}


async def test_a_scan_becomes_a_file_and_no_mail(tmp_path: Path) -> None:
    """The folder comes first in the chain and takes it; the trail has the name, the status counts it.

    The device's name is in the path.
    """
    scans = tmp_path / "scans"
    scans.mkdir()
    device = {"devices": {"hall scanner": {"client": "127.0.0.1"}}}
    async with (
        ScriptedUpstream() as server,
        relay_at_home(tmp_path, settings(scans / "{device}", server.port) | device) as relay,
    ):
        story = await ended(relay, await send(relay, SENDER, SCANS, SCAN), "relayed", "failed")
        [recipient] = story["recipients"]
        assert (recipient["state"], recipient["upstream"]) == ("relayed", "scans")
        assert recipient["said"] == f"saved scan.pdf ({len(PDF)} octets)"
        assert recipient["peer"] == str(scans / "hall scanner")
        assert "scan.pdf" in json.dumps(story["trail"])
        assert relay._services is not None
        [line] = [one for one in (await relay._services.status())["upstreams"] if one["name"] == "scans"]
        assert (line["place"], line["sent_today"]) == (str(scans / "{device}"), 1)
    assert files(scans) == {"hall scanner/scan.pdf": PDF}
    assert server.messages == []


async def test_where_the_folder_takes_nothing_the_mail_goes(tmp_path: Path) -> None:
    """A share that is not mounted: the next of the chain, the advice in the trail, and the folder rests for the next one."""
    async with ScriptedUpstream() as server, relay_at_home(tmp_path, settings(tmp_path / "none", server.port)) as relay:
        for _ in range(2):
            story = await ended(relay, await send(relay, SENDER, SCANS, SCAN), "relayed", "failed")
            assert [one["upstream"] for one in story["recipients"]] == ["isp"]
    assert [one.forward_paths for one in server.messages] == [[SCANS], [SCANS]]
    assert not (tmp_path / "none").exists()


async def test_alone_it_waits_and_goes_when_the_folder_is_there(tmp_path: Path) -> None:
    """No other upstream: deferred with its advice, then written at a later try."""
    scans = tmp_path / "scans"
    given = settings(scans) | {"routes": [{"via": ["scans"]}]}
    async with relay_at_home(tmp_path, given) as relay:
        queue_id = await send(relay, SENDER, SCANS, SCAN)
        story = await ended(relay, queue_id, "queued")
        while not story["recipients"][0]["said"]:
            story = await ended(relay, queue_id, "queued")
        assert (story["recipients"][0]["code"], story["recipients"][0]["fault"]) == (451, "folder-missing")
        scans.mkdir()
        story = await ended(relay, queue_id, "relayed")
    assert files(scans) == {"scan.pdf": PDF}


async def test_a_message_that_was_sent_elsewhere_can_be_saved(tmp_path: Path) -> None:
    """`relay queue release --via scans` for what an upstream refused."""
    scans = tmp_path / "scans"
    scans.mkdir()
    async with (
        ScriptedUpstream(script={"DOT": "552 5.3.4 too big"}) as server,
        relay_at_home(tmp_path, settings(scans, server.port)) as relay,
    ):
        queue_id = await send(relay, SENDER, "b@isp.example", SCAN)
        await ended(relay, queue_id, "failed")
        await relay.desk.order("release", [queue_id], "scans")
        await ended(relay, queue_id, "relayed")
    assert files(scans) == {"scan.pdf": PDF}


async def test_a_notice_never_becomes_a_file(tmp_path: Path) -> None:
    """A failure is told by mail, not by a folder that nobody reads, even where that comes first in the chain."""
    scans = tmp_path / "scans"
    scans.mkdir()
    refusing = ScriptedUpstream(script={"RCPT": ["550 5.1.1 no such user"]})
    routes = [{"to": "nobody@*", "via": ["isp"]}, {"via": ["scans", "isp"]}]
    async with refusing as server, relay_at_home(tmp_path, settings(scans, server.port) | {"routes": routes}) as relay:
        await ended(relay, await send(relay, SENDER, "nobody@isp.example", SCAN), "failed")
        async with server.changed:
            await server.changed.wait_for(lambda: server.messages)
    assert server.messages[0].forward_paths == [SENDER]
    assert files(scans) == {}


def test_explain_tells_of_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`relay explain` names it in the chain and touches nothing."""
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(settings(tmp_path / "none")))
    assert main(["explain", "--config", str(file), "--from", SENDER, "--to", SCANS, "--client", "192.168.0.21"]) == 0
    assert f"  by scans ({tmp_path / 'none'}" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"folder": "scans/{devise}"}, "did you mean 'device'?"),
        ({"folder": "scans/{device"}, "braces in pairs"),
        ({"folder": "scans/{device}/.."}, "without .."),
        ({"folder": ""}, "expected a folder"),
        ({"folder": "scans", "save": "all"}, "expected attachments, message or both"),
        (
            {"folder": "scans", "host": "mail.isp.example"},
            "upstreams.scans.host: expected a mail server or a mailbox beside host, found folder",
        ),
        ({"folder": "scans", "hots": "mail.isp.example"}, "no such setting"),
        ({"folder": "scans", "push": "json://localhost"}, "upstreams.scans.push: expected push or folder"),
        ({"host": "mail.isp.example", "save": "both"}, "expected folder beside it"),
    ],
)
def test_mistakes_in_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: dict[str, str], complaint: str
) -> None:
    """Each with what was expected."""
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"upstreams": {"scans": said}}))
    assert main(["check", "--config", str(file)]) != 0
    out = capsys.readouterr()
    assert complaint in out.out + out.err


def seen(folder: Path, root: Path) -> dict[str, Grade]:
    return {one.name: one.grade for one in judge_folder(folder_facts(Upstream("scans", Folder(str(folder))), root))}


def test_what_the_doctor_sees(tmp_path: Path) -> None:
    """A sound folder, one that is missing, a file in its place, and a mount of fstab that is not there."""
    (tmp_path / "scans").mkdir()
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    assert seen(tmp_path / "scans" / "{device}", root) == {"folder": Grade.OK}
    assert files(tmp_path / "scans") == {}
    assert seen(tmp_path / "none", root) == {"folder-missing": Grade.PROBLEM}
    (tmp_path / "file").write_bytes(b"")
    assert seen(tmp_path / "file", root) == {"folder-missing": Grade.PROBLEM}
    (root / "etc/fstab").write_text(f"# nas\nUUID=1 / ext4 defaults 0 1\n//nas/scans {tmp_path} cifs defaults 0 0\n")
    assert seen(tmp_path / "scans", root) == {"folder-unmounted": Grade.PROBLEM}
    with (root / "proc/self/mountinfo").open("a") as table:
        table.write(f"23 22 0:5 / {tmp_path} rw - cifs //nas/scans rw\n")
    assert seen(tmp_path / "scans", root) == {"folder": Grade.OK}
    (root / ".dockerenv").touch()
    (root / "proc/self/mountinfo").write_text("22 1 0:9 / / rw - overlay overlay rw\n")
    (root / "etc/fstab").unlink()
    assert seen(tmp_path / "scans", root) == {"folder-lost": Grade.PROBLEM}
