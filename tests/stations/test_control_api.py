"""The API: what docs/openapi.yaml promises is what the server says, on both of its sockets.

program ──HTTP──> relay run (TCP and UNIX socket)        relay run ──> upstream that refuses far.example
"""

import http.client
import json
import shutil
import smtplib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.control.client import Running
from relay.spool.contract import SpoolSettings
from tests.support import tools
from tests.support.running import ROOT, RelayProcess, running
from tests.support.shape import faults, resolved
from tests.support.sink import sink
from tests.support.waiting import eventually

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
Ask = Callable[..., tuple[int, str, Any]]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One message relayed, one failed, one waiting at an upstream that is away."""
    folder = tmp_path_factory.mktemp("api")
    with sink(folder / "sink") as upstream, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and it refuses
        common = {"host": "127.0.0.1", "tls": "none", "sender": "taro@isp.example"}
        config = {
            "upstreams": {
                "isp": {**common, "port": upstream.port, "limits": {"per_day": 100}},
                "away": {**common, "port": closed.getsockname()[1]},
            },
            "routes": [{"to": "*@away.example", "via": ["away"]}, {"via": ["isp"]}],
            "retry": {"delays": ["1h"], "rest": ["1h"]},
            "web": {"address": "127.0.0.1:0"},
            "devices": {"store": {"helo": "nas", "expect_every": "26h"}},
        }
        with running(folder, config) as one:
            for to in ("you@far.example", "nobody@far.example", "you@away.example"):
                submit(one, to)
            one.wait_for("relayed")
            one.wait_for("failed")
            one.wait_for("deferred")
            yield one


def submit(relay: RelayProcess, to: str, subject: bytes = b"hello", helo: bytes = b"nas") -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as device:
        device.sock.sendall(b"EHLO " + helo + b"\r\n")
        device.getreply()
        device.mail("taro@isp.example")
        device.rcpt(to)
        assert device.data(b"From: taro@isp.example\r\nSubject: " + subject + b"\r\n\r\nhi")[0] == 250


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("relay", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@pytest.fixture(params=["tcp", "unix"])
def ask(request: pytest.FixtureRequest, relay: RelayProcess) -> Ask:
    """The same questions on both ways in."""

    def asking(method: str, path: str, body: object = None) -> tuple[int, str, Any]:
        place = relay.events("started")[-1]["web"]
        unix = request.param == "unix"
        connection = _Unix(relay.spool.parent / "control.sock") if unix else http.client.HTTPConnection(place, timeout=20)
        try:
            octets = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            connection.request(method, path, octets, {"Content-Type": "application/json"} if octets is not None else {})
            answer = connection.getresponse()
            kind = (answer.getheader("Content-Type") or "").partition(";")[0]
            text = answer.read().decode()
            return answer.status, kind, json.loads(text) if kind == "application/json" else text
        finally:
            connection.close()

    return asking


def promised(path: str, method: str, code: int, kind: str) -> dict[str, Any]:
    answers = DOCUMENT["paths"][path][method]["responses"]
    assert str(code) in answers, f"{method} {path} answered {code}, which the document does not know"
    answer = answers[str(code)]
    answer = resolved(DOCUMENT, answer["$ref"]) if "$ref" in answer else answer
    assert kind in answer["content"]
    return dict(answer["content"][kind]["schema"])


def ids(ask: Ask, state: str) -> list[str]:
    return [one["id"] for one in ask("GET", f"/api/queue?state={state}")[2]["messages"]]


@pytest.mark.parametrize("path", [path for path, verbs in DOCUMENT["paths"].items() if "get" in verbs])
def test_every_answer_has_the_promised_shape(ask: Ask, path: str) -> None:
    """Each path of the document is there, and what it says has the keys and types that the document names."""
    asked = path.replace("{queue_id}", ids(ask, "failed")[0]).replace("{name}", "store")
    code, kind, value = ask("GET", asked)
    assert code == 200
    assert list(faults(DOCUMENT, promised(path, "get", code, kind), value)) == []


def test_the_document_tells_of_every_route() -> None:
    """A route that the document does not know would be a secret."""
    from relay.control import api, care_api
    from relay.control.status import RelayStatus

    watch = RelayStatus(None, None, None)  # type: ignore[arg-type]
    routes = {route.path for route in (*api.api_routes(watch), *care_api.care_routes(watch, trusted=False))}
    assert routes | {"/metrics", "/api/messages"} == set(DOCUMENT["paths"])


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("get", "/api/queue?state=lost", None, 400),
        ("get", "/api/queue?limit=-1", None, 400),
        ("get", "/api/queue?skip=99999999999999999999", None, 400),
        ("get", "/api/queue?limit=%EF%BC%91", None, 400),
        ("get", "/api/queue/nosuchmessage00", None, 404),
        ("get", "/api/queue/%00", None, 404),
        ("post", "/api/orders", b"{", 400),
        ("post", "/api/orders", b"[" * 100_000, 400),
        ("post", "/api/orders", b"\xff\xfe", 400),
        ("post", "/api/orders", [], 400),
        ("post", "/api/orders", {"action": "explode"}, 400),
        ("post", "/api/orders", {"action": "retry", "ids": "all"}, 400),
        ("post", "/api/orders", {"action": "retry", "ids": [1]}, 400),
        ("post", "/api/orders", {"action": "hold", "ids": [], "via": "isp"}, 400),
        ("post", "/api/orders", {"action": "release", "ids": [], "via": "nobody"}, 400),
        ("post", "/api/orders", {"action": "retry", "ids": ["\ud800", "../../etc"]}, 200),
    ],
)
def test_nonsense_is_answered_as_promised(ask: Ask, method: str, path: str, body: object, code: int) -> None:
    """Wrong questions get 4xx with a sentence, never a 500, and the document knows of it."""
    found, kind, value = ask(method.upper(), path, body)
    assert found == code
    template = path.partition("?")[0] if not path.startswith("/api/queue/") else "/api/queue/{queue_id}"
    assert list(faults(DOCUMENT, promised(template, method, code, kind), value)) == []


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/api/nowhere", 404), ("DELETE", "/api/queue", 405), ("GET", "/api/orders", 405)]
)
def test_what_is_not_there_says_so_in_json(ask: Ask, method: str, path: str, code: int) -> None:
    """A program that asks wrongly gets an answer that it can read."""
    found, kind, value = ask(method, path)
    assert (found, kind) == (code, "application/json")
    assert value["error"]


def test_orders_do_what_they_say(ask: Ask) -> None:
    """Hold and release by id; an unknown id is named."""
    (waiting,) = [one["id"] for one in ask("GET", "/api/queue?state=queued&state=held")[2]["messages"]]
    held = ask("POST", "/api/orders", {"action": "hold", "ids": [waiting, "nosuchmessage00"]})[2]
    assert held == {"applied": 1, "unknown": ["nosuchmessage00"]}
    assert ids(ask, "held") == [waiting]
    assert ask("POST", "/api/orders", {"action": "release", "ids": [waiting]})[2] == {"applied": 1, "unknown": []}
    assert ids(ask, "held") == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"via": "nobody"}, "away, isp, mx"),
        ({"to": "root"}, "no domain"),
        ({"to": "a b@x@y"}, "to: "),
        ({"content": None}, "a message is an object"),
    ],
)
def test_a_message_that_cannot_be_handed_in_is_answered_in_words(
    relay: RelayProcess, changed: dict[str, object], says: str
) -> None:
    """Nothing is stored."""
    before = len(relay.queue("--all"))
    good = {"from": "taro@isp.example", "to": "you@far.example", "via": "isp", "content": "Subject: x\r\n\r\nx\r\n"}
    running = Running(SpoolSettings(f"sqlite:{relay.spool}"))
    code, answer = running.ask("POST", "/api/messages", {**good, **changed})
    assert code == 400 and says in answer["error"]
    assert len(relay.queue("--all")) == before


def test_messages_are_handed_in_on_the_unix_socket_alone(relay: RelayProcess) -> None:
    """Who may look at the page may not send mail in others' names."""
    connection = http.client.HTTPConnection(relay.events("started")[-1]["web"], timeout=20)
    order = {"from": "", "to": "you@far.example", "via": "isp", "content": "x"}
    connection.request("POST", "/api/messages", json.dumps(order), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 404
    connection.close()


def test_the_list_is_paged(ask: Ask) -> None:
    """`limit` and `skip` walk through all messages once."""
    everything = [one["id"] for one in ask("GET", "/api/queue")[2]["messages"]]
    walked = [ask("GET", f"/api/queue?limit=1&skip={n}")[2]["messages"][0]["id"] for n in range(len(everything))]
    assert walked == everything
    assert ask("GET", f"/api/queue?skip={len(everything)}")[2]["messages"] == []


def test_the_socket_is_its_owners_alone(relay: RelayProcess) -> None:
    """Who may open the socket may do anything, so nobody else may."""
    assert (relay.spool.parent / "control.sock").stat().st_mode & 0o777 == 0o600


def test_an_upstream_in_trouble_is_not_our_sickness(ask: Ask, relay: RelayProcess) -> None:
    """One upstream is away and rests, and the relay is healthy and ready all the same."""

    def upstreams() -> dict[str, Any]:
        return {one["name"]: one for one in ask("GET", "/api/upstreams")[2]["upstreams"]}

    eventually(lambda: upstreams()["away"]["resting_until"], 20)  # a test before this one may have woken it just now
    lines = upstreams()
    assert (lines["isp"]["per_day"], lines["isp"]["resting_until"]) == (100, None)
    assert ask("GET", "/healthz")[0] == 200
    assert ask("GET", "/readyz")[2] == {"ready": True, "why": []}
    assert relay.command("health").returncode == 0


def test_looking_makes_no_noise(ask: Ask, relay: RelayProcess) -> None:
    """Health checks, scrapes and views leave no line in the log."""
    before = len(relay.lines)
    for path in ("/healthz", "/readyz", "/metrics", "/api/relay"):
        ask("GET", path)
    assert relay.command("health").returncode == 0
    assert relay.lines[before:] == []


def test_history_counts_what_happened(ask: Ask) -> None:
    """The hour that runs is the last of 168, and holds what was relayed, put off and failed."""
    hours = ask("GET", "/api/history")[2]["hours"]
    assert len(hours) == 168
    assert sum(hour["failed"] for hour in hours[-2:]) == 1


def test_octets_that_never_were_text_do_no_harm(ask: Ask, relay: RelayProcess) -> None:
    """A device that names itself in Latin-1 and writes raw Shift_JIS is shown, and breaks no answer."""
    submit(relay, "raw@far.example", subject="ディスク障害".encode("cp932"), helo=b"caf\xe9 \x00<b>")
    relay.wait_for("relayed", 2)
    (found,) = [one for one in ask("GET", "/api/queue")[2]["messages"] if one["recipients"][0]["address"] == "raw@far.example"]
    story = ask("GET", f"/api/queue/{found['id']}")[2]
    assert story["subject"] == "ディスク障害"
    assert "caf" in story["origin"]["helo"]
    assert ask("GET", "/api/devices")[0] == 200
    ask("POST", "/api/orders", {"action": "remove", "ids": [found["id"]]})


@pytest.mark.timeout(330)
def test_schemathesis_finds_no_lie(relay: RelayProcess, tmp_path: Path) -> None:
    """Hundreds of generated requests, good and bad: every answer is one that the document promises."""
    program = ROOT / ".venv-schemathesis" / "bin" / "schemathesis"
    found = str(program) if program.exists() else shutil.which("schemathesis")
    if found is None:
        tools.missing("schemathesis (make schemathesis)")
    place = relay.events("started")[-1]["web"]
    line = [str(found), "run", str(ROOT / "docs" / "openapi.yaml"), "--url", f"http://{place}", "--max-examples", "30"]
    line += ["--exclude-checks", "unsupported_method,missing_required_header", "--seed", "1", "--no-color"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
