"""`relay send` where the relay took the message and then cannot tell what becomes of it."""

import json
from typing import Any

import pytest

from relay.cli import send
from relay.cli.main import main
from relay.control.client import Refused

AWAY = "the database of the queue is away"


class Blind:
    """A relay that refuses to show the message so many times, and then shows it relayed."""

    refusals = 1_000_000
    error: Exception = Refused(AWAY)

    def __init__(self, _settings: object) -> None:
        self.asked = 0

    def relay(self) -> dict[str, Any]:
        return {"listening": []}

    def message(self, queue_id: str) -> dict[str, Any]:
        self.asked += 1
        if self.asked <= self.refusals:
            raise self.error
        return {"id": queue_id, "recipients": [{"state": "relayed"}], "trail": []}


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> type[Blind]:
    class Own(Blind):
        pass

    monkeypatch.setattr(send, "Running", Own)
    monkeypatch.setattr(send, "configured_or_running", lambda _asked: type("Config", (), {"spool": None}))
    monkeypatch.setattr(send, "_submit", lambda *_: "q0123456789abc")
    return Own


@pytest.mark.parametrize("error", [Refused(AWAY), ConnectionRefusedError(111, AWAY)])
def test_a_fate_that_cannot_be_seen_is_told_with_the_id(
    blind: type[Blind], error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1; the id, the reason, and what to ask later."""
    blind.error = error
    assert main(["send", "--to", "me@far.example", "--wait", "0.3"]) == 1
    out, said = capsys.readouterr()
    assert out == "queued as q0123456789abc\n"
    assert f"cannot be seen now: {AWAY}" in said
    assert "`relay queue show q0123456789abc`" in said


def test_a_fate_that_cannot_be_seen_is_json_too(blind: type[Blind], capsys: pytest.CaptureFixture[str]) -> None:
    """One document on standard output, with id and reason."""
    assert main(["send", "--to", "me@far.example", "--wait", "0", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["recipients"], told["error"]) == ("q0123456789abc", [{"state": "unknown"}], AWAY)


def test_a_refusal_that_passes_is_asked_through(blind: type[Blind], capsys: pytest.CaptureFixture[str]) -> None:
    """The database comes back before `--wait` is over: the fate is told as ever."""
    blind.refusals = 2
    assert main(["send", "--to", "me@far.example", "--wait", "20"]) == 0
    assert capsys.readouterr().err == ""
