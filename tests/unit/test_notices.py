"""What a push looks like to the service that shows it."""

import json

import pytest

from relay.outbound import webhook


def sent(url: str) -> tuple[str, dict[str, str], dict[str, object]]:
    full, data, headers = webhook.request_of(url, webhook.body_of("Not delivered", "x" * 9000, event="failed"))
    return full, headers, json.loads(data)


def test_every_service_finds_its_words() -> None:
    """Gotify and ntfy read title and message, Slack and Mattermost text, Discord content; all within their limits."""
    _, _, body = sent("https://chat.example/hooks/abc")
    assert body["title"] == "Not delivered" and body["event"] == "failed"
    assert str(body["text"]).startswith("Not delivered\nxxx") and len(str(body["message"])) < 4000
    assert len(str(body["content"])) <= 2000


def test_ntfy_gets_its_topic_in_the_body() -> None:
    """ntfy understands JSON only at its root: the topic moves from the path into the body."""
    url, headers, body = sent("https://ntfy.example/topic")
    assert url == "https://ntfy.example/" and body["topic"] == "topic"
    assert "X-Template" not in headers


@pytest.mark.parametrize(
    "url", ["https://push.example/message?token=abc", "https://ntfy.example/a/b", "http://127.0.0.1:8080/topic"]
)
def test_other_urls_are_used_as_they_are(url: str) -> None:
    """Elsewhere the POST goes where the person said; the headers let an ntfy of another name show it well."""
    full, headers, body = sent(url)
    assert full == url and "topic" not in body
    assert headers["X-Title"] == "{{.title}}"


def test_secrets_leave_the_url() -> None:
    """A password in the URL becomes a header: no proxy and no log sees it in the request line."""
    full, headers, _ = sent("https://me:secret@ntfy.example:8443/topic?x=1")
    assert full == "https://ntfy.example:8443/?x=1"
    assert headers["Authorization"] == "Basic bWU6c2VjcmV0"


def test_only_http_is_spoken() -> None:
    """A file or ftp URL is refused in words."""
    with pytest.raises(webhook.WebhookFailed, match="no http"):
        webhook.push("file:///etc/passwd", {})
