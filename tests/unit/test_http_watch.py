"""What is counted of the requests of the push library, by which dropped pictures are seen."""

from types import SimpleNamespace
from typing import Any

import pytest

from relay.upstream.push.http_watch import Watch


def request(method: str, body: Any, **headers: str) -> Any:
    return SimpleNamespace(method=method, url="https://push.example/", body=body, headers=headers)


@pytest.mark.parametrize(
    ("one", "octets"),
    [
        (request("GET", None), 0),
        (request("POST", None, **{"Content-Length": "0"}), 0),
        (request("POST", b"text", **{"Content-Length": "4"}), 4),
    ],
    ids=["nothing", "an empty body", "a body"],
)
def test_what_goes_out_is_counted(one: Any, octets: int) -> None:
    """A question without a body is no picture: a service that asks first and drops the pictures is still seen to."""
    watch = Watch(lambda *_: True, 1.0)
    assert watch.going(one) is one
    assert watch.octets == octets


def test_a_stream_may_have_it_all() -> None:
    """Nobody knows its length, so no picture is said to be dropped."""
    watch = Watch(lambda *_: True, 1.0)
    watch.going(request("POST", iter([b"x"]), **{"Transfer-Encoding": "chunked"}))
    assert watch.octets > 10**12
