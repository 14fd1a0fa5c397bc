"""uvicorn is pinned to one version, since relay/control/server.py uses insides of it: an upgrade that lacks them fails here."""

import inspect
import tomllib

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from relay.control import server
from tests.support.running import ROOT


def test_the_version_is_pinned_and_installed():
    """An exact pin: no user gets a version that nobody tried."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"uvicorn=={uvicorn.__version__}" in project["dependencies"]


def test_what_we_override_is_there_with_its_arguments():
    """A method that was renamed would leave ours uncalled, and its bounds with it."""
    for base, ours in ((uvicorn.Server, server._Quiet), (H11Protocol, server._Bounded)):
        for name in (
            "capture_signals",
            "main_loop",
            "connection_made",
            "data_received",
            "resume_writing",
            "on_response_complete",
            "connection_lost",
        ):
            if name in vars(ours):
                theirs, own = inspect.signature(getattr(base, name)), inspect.signature(getattr(ours, name))
                assert list(theirs.parameters) == list(own.parameters), name
    assert inspect.signature(RequestResponseCycle).parameters["on_response"]


def test_what_we_read_is_there():
    """Attributes that are set when a connection, or a request, begins."""
    config = uvicorn.Config(lambda *_: None, http=H11Protocol, lifespan="off", ws="none", log_config=None)
    one = uvicorn.Server(config)
    assert {"connections", "tasks"} <= set(vars(one.server_state))
    config.load()
    protocol = H11Protocol(config, one.server_state, {}, object())
    assert {"client", "transport", "connections", "cycle", "loop", "scope"} <= set(vars(protocol))
    cycle = inspect.getsource(RequestResponseCycle.__init__)
    for name in ("more_body", "response_complete", "scope"):
        assert f"self.{name} =" in cycle, name
    assert isinstance(protocol.conn, h11.Connection)
