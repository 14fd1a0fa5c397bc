"""Of the library's request a harmless one is made, at the same server and with the same token."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.upstream.push.check_calls import LibraryRequest, Proof, check_call

POST = "POST"
BOT, HOOK = "https://t.example/bot1:A", "https://d.example/api/webhooks/1/tok"


def call(service, url, body=b"", method=POST):
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return check_call(service, LibraryRequest(method, url, octets))


@pytest.mark.parametrize(
    ("service", "url", "body", "asked", "proves"),
    [
        ("ntfy", "https://n.example/", {"topic": "t"}, "GET https://n.example/t/auth", Proof.LOGIN),
        ("ntfy", "https://n.example:84/s/", {"topic": "a/../b"}, "GET https://n.example:84/s/a%2F..%2Fb/auth", Proof.LOGIN),
        ("Gotify", "http://g.example/sub/message", {"message": "x"}, "POST http://g.example/sub/message", Proof.TARGET),
        ("Telegram", f"{BOT}/sendMessage", {"chat_id": -5}, f"GET {BOT}/getChat?chat_id=-5", Proof.TARGET),
        ("Telegram", f"{BOT}/sendMessage", {"chat_id": "@c"}, f"GET {BOT}/getChat?chat_id=%40c", Proof.TARGET),
        ("Telegram", f"{BOT}/getUpdates", b"", f"GET {BOT}/getMe", Proof.LOGIN),
        ("Discord", f"{HOOK}?thread_id=7", {}, f"GET {HOOK}", Proof.TARGET),
        ("Slack", "https://slack.com/api/chat.postMessage", {}, "POST https://slack.com/api/auth.test", Proof.LOGIN),
        (
            "Matrix",
            "http://m.example/_matrix/client/r0/login",
            b"",
            "GET http://m.example/_matrix/client/r0/login",
            Proof.SERVER,
        ),
    ],
)
def test_the_call_of_each_service(service, url, body, asked, proves):
    """Method and place; what a good answer shows."""
    made = call(service, url, body)
    assert (f"{made.method} {made.url}", made.proves, made.optional) == (asked, proves, False)
    assert b"message" not in made.body


def test_pushover_is_asked_about_token_user_and_device():
    """The form without the message; `ALL_DEVICES` is the library's word, and no device's name."""
    url = "https://api.pushover.net/1/messages.json"
    for device, named in (("ALL_DEVICES", {}), ("desk", {"device": ["desk"]})):
        made = call("Pushover", url, f"token=tok&user=u+1&title=t&message=m&device={device}".encode())
        assert (made.method, urlsplit(made.url).path) == ("POST", "/1/users/validate.json")
        assert parse_qs(made.body.decode()) == {"token": ["tok"], "user": ["u 1"], **named}
    assert call("Pushover", url, b"message=m") is None


def test_matrix_may_read():
    """What the library only reads goes as it is, and proves nothing but for whoami; its refusal is no fault."""
    for path, proves, optional in (
        ("/.well-known/matrix/client", Proof.SERVER, True),
        ("/_matrix/client/v3/account/whoami", Proof.LOGIN, False),
    ):
        made = call("Matrix", f"https://m.example{path}", method="GET")
        assert (made.url, made.proves, made.optional) == (f"https://m.example{path}", proves, optional)


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ("Slack", "https://hooks.slack.com/services/T/B/X"),
        ("Matrix", "https://m.example/api/v1/matrix/hook/pass"),
        ("Matrix", "https://m.example/_matrix/client/v3/join/%23room"),
        ("Gotify", "https://g.example/other"),
        ("ntfy", "https://n.example/topic"),
        ("JSON", "https://hooks.example/mail"),
    ],
)
def test_where_there_is_none(service, url):
    """Nothing is made up."""
    assert call(service, url, b"\xff no json") is None
