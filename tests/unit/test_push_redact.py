"""No part of a notification URL gets into words that are kept."""

import pytest

from relay.upstream.push.redact import redacted

URLS = [
    "tgram://123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr/987654321",
    "ntfys://taro:hush%20now@ntfy.example:8443/alarms?priority=high&token=tk_zzz9",
    "pover://uQiRzpo4DX@azGDORePK8/phone1",
    "json://10.0.0.5:8080/hook/Ab3?+X-Key=Sesame",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("form", ["{}", "sent to '{}'.", "<{}>", '{{"url": "{}"}}', "a{}b", "({})"])
def test_a_whole_url_is_gone(url: str, form: str) -> None:
    """Wherever it stands in a sentence."""
    words = redacted(form.format(url), URLS)
    parts = ("AAbb", "987654321", "alarms", "hush", "tk_zzz9", "uQiRzpo4DX", "azGDORePK8", "hook/", "Ab3", "Sesame", "taro")
    for part in parts:
        assert part not in words
    assert "***" in words


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Failed to send to topic 'alarms': forbidden, error=40301.", "to topic '***': forbidden, error=40301."),
        ("chat 987654321 not found", "chat *** not found"),
        ("https://api.telegram.org/bot123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr/sendMessage", "***"),
        ("bot123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr", "***"),
        ("wrong password hush now for TARO", "wrong password *** for ***"),
        ("hush%20now hush+now", "*** ***"),
        ("connection to ntfy.example port 8443 timed out", "connection to *** port 8443 timed out"),
        ("key sesame is wrong", "key *** is wrong"),
        ("HTTP 429, slow down", "HTTP 429, slow down"),
    ],
)
def test_each_part_is_gone_and_the_rest_stays(said: str, kept: str) -> None:
    """Tokens, names and paths, decoded or not, in any case; numbers of errors and ports are no secrets."""
    assert kept in redacted(said, URLS)


def test_a_short_part_counts_as_a_word_only() -> None:
    """A topic `up` does not tear other words."""
    assert redacted("upstream is up", ["ntfy://host.example/up"]) == "upstream is ***"
