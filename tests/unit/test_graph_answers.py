"""What Microsoft Graph's answers are as replies."""

import json

import pytest

from relay.mail.reply import Fault, Stage
from relay.outbound.replies import judge
from relay.upstream import graph_codes
from relay.upstream.graph_answers import addressees, identity, refusal, relayed, retry_after
from relay.upstream.graph_rights import Rights, rights_of, scope_for, token_url_for
from relay.upstream.http_session import HttpOrigin, HttpResponse
from relay.upstream.settings import Grant


def said(status, code="", message="", **headers):
    body = json.dumps({"error": {"code": code, "message": message}}).encode() if code else b"<html>a page</html>"
    return HttpResponse(status, "Reason", {key.replace("_", "-"): value for key, value in headers.items()}, body)


class TestRefusals:
    """Codes that mail has for the same thing."""

    @pytest.mark.parametrize(
        ("status", "code", "stage", "number"),
        [
            (403, "ErrorSendAsDenied", Stage.MAIL, "550 5.7.60"),
            (403, "ErrorAccessDenied", Stage.AUTH, "550 5.7.1"),
            (401, "InvalidAuthenticationToken", Stage.AUTH, "535 5.7.8"),
            (404, "MailboxNotEnabledForRESTAPI", Stage.AUTH, "550 5.7.1"),
            (413, "ErrorMessageSizeExceeded", Stage.CONTENT, "552 5.3.4"),
            (400, "ErrorInvalidRecipients", Stage.RCPT, "550 5.1.3"),
            (429, "ApplicationThrottled", Stage.MAIL, "450 4.7.0"),
            (400, "SomethingNew", Stage.CONTENT, "554 5.0.0"),
            (403, "SomethingNew", Stage.AUTH, "550 5.7.1"),
            (500, "SomethingNew", Stage.MAIL, "451 4.3.2"),
            (400, "", Stage.MAIL, "451 4.3.2"),
            (403, "", Stage.MAIL, "451 4.3.2"),
            (413, "", Stage.CONTENT, "552 5.3.4"),
        ],
    )
    def test_each(self, status, code, stage, number):
        """A page without a name of an error is not Graph's: it fails nothing but what is too large."""
        answer = refusal(said(status, code, "Words."), sending=True)
        assert (answer.stage, f"{answer.reply.code} {answer.reply.status}") == (stage, number)

    @pytest.mark.parametrize(
        "code", [code for name, codes in vars(graph_codes).items() if name.isupper() for code in codes.split()]
    )
    def test_each_name_of_an_error_is_explained(self, code):
        """By a rule of Graph's, at the stage that it has."""
        assert judge(refusal(said(400, code, "Words."), sending=True)).rule.name.startswith("graph-")

    def test_all_words_are_kept(self):
        """Code, message, status and the number that Microsoft's support asks for."""
        answer = refusal(said(403, "ErrorSendAsDenied", "No\r\nright.", request_id="11-aa"), sending=True)
        assert answer.reply.text == "ErrorSendAsDenied: No right. (HTTP 403; request-id 11-aa)"

    def test_control_characters_are_not(self):
        """They could lie on a terminal."""
        assert "\x1b" not in refusal(said(403, "E", "\x1b[2J"), sending=True).reply.text

    def test_a_gateway_timeout(self):
        """Uncertain only where it was the request that sends."""
        assert refusal(said(504, "GatewayTimeout"), sending=True).fault is Fault.UNANSWERED
        assert refusal(said(504, "GatewayTimeout"), sending=False).fault is None

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b'{"error": "x"}', b'{"error": {"code": 5, "message": []}}', b"\xff" * 9]
    )
    def test_whatever_the_body_is(self, body):
        """There is an answer."""
        assert refusal(HttpResponse(500, "R", {}, body), sending=True).reply.code == 451


class TestRetryAfter:
    """Seconds, or a date by the server's own clock."""

    @pytest.mark.parametrize(
        ("status", "headers", "seconds"),
        [
            (429, {"retry-after": "120"}, 120),
            (503, {"retry-after": "2.5"}, 2.5),
            (504, {"retry-after": "1"}, 1),
            (429, {}, None),
            (429, {"retry-after": "soon"}, None),
            (429, {"retry-after": "-5"}, None),
            (403, {"retry-after": "5"}, None),
            (429, {"retry-after": "999999999"}, 86_400),
            (429, {"retry-after": "Mon, 30 Nov 2026 08:02:00 GMT", "date": "Mon, 30 Nov 2026 08:00:00 GMT"}, 120),
            (429, {"retry-after": "Mon, 30 Nov 2026 07:00:00 GMT", "date": "Mon, 30 Nov 2026 08:00:00 GMT"}, 0),
            (429, {"retry-after": "Mon, 30 Nov 2026 08:02:00 GMT"}, None),
        ],
    )
    def test_each(self, status, headers, seconds):
        """What cannot be read is not said."""
        assert retry_after(HttpResponse(status, "", headers)) == seconds


class TestValues:
    """What is read out of answers that are good."""

    def test_relayed(self):
        """With the status and the number for support."""
        assert (
            str(relayed(HttpResponse(202, "Accepted", {"request-id": "ab-1"})).reply)
            == "250 2.0.0 202 Accepted, request-id ab-1"
        )

    def test_an_id_in_an_answer_that_was_cut_off(self):
        """A draft's answer repeats its text, which is not kept."""
        assert identity(HttpResponse(201, body=b'{"id": "AAMk=", "body": "')) == "AAMk="
        assert identity(HttpResponse(201, body=b'{"id": "AAMk="}')) == "AAMk="
        assert identity(HttpResponse(201, body=b"nothing")) == ""

    def test_whom_messages_are_to(self):
        """All three fields; rows without an id do not count, nor does what has another form."""
        row = {
            "id": "a",
            "toRecipients": [{"emailAddress": {"address": "A@x.example"}}],
            "bccRecipients": [{"emailAddress": {"address": "b@x.example"}}, 5],
            "ccRecipients": None,
        }
        body = json.dumps({"value": [row, {}, 5]}).encode()
        assert addressees(HttpResponse(200, body=body)) == {"a": {"a@x.example", "b@x.example"}}
        assert addressees(HttpResponse(200, body=b'{"value": 5}')) == {}


class TestRights:
    """Scopes, token servers, and what a token tells."""

    def test_scopes(self):
        """A person consents to two permissions, an application has what it was granted."""
        url = "https://graph.microsoft.com"
        assert scope_for(url, Grant.CLIENT_CREDENTIALS) == f"{url}/.default"
        assert scope_for(url, Grant.REFRESH_TOKEN) == f"{url}/Mail.Send {url}/Mail.ReadWrite offline_access"

    def test_token_servers(self):
        """Of the public cloud it is known already."""
        assert token_url_for("https://graph.microsoft.com", "t") == ""
        china = token_url_for("https://microsoftgraph.chinacloudapi.cn", "")
        assert china == "https://login.partner.microsoftonline.cn/organizations/oauth2/v2.0/token"

    @pytest.mark.parametrize(
        ("claims", "rights"),
        [
            ('{"scp": "Mail.Send Mail.ReadWrite"}', Rights(frozenset({"Mail.Send", "Mail.ReadWrite"}), all=True)),
            ('{"scp": ""}', Rights(all=True)),
            ('{"roles": ["Mail.Send", 5]}', Rights(frozenset({"Mail.Send"}))),
            ('{"roles": []}', Rights()),
            ('{"roles": "Mail.Send"}', Rights()),
            ('{"sub": "x"}', Rights()),
            ("[]", Rights()),
            ("{", Rights()),
        ],
    )
    def test_tokens(self, claims, rights):
        """A person's consent is the whole; an application may have more by Exchange than its token names."""
        import base64

        token = "h." + base64.urlsafe_b64encode(claims.encode()).rstrip(b"=").decode() + ".s"
        assert rights_of(token) == rights

    @pytest.mark.parametrize("token", ["", "opaque", "a.b", "a.é.c", "a.!!!!.c"])
    def test_opaque_tokens(self, token):
        """Microsoft promises no form."""
        assert rights_of(token) == Rights()


class TestOrigins:
    """Where a URL leads."""

    @pytest.mark.parametrize(
        ("url", "host", "port", "authority"),
        [
            ("https://graph.microsoft.com/x", "graph.microsoft.com", 443, "graph.microsoft.com"),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
            ("https://[::1]:8443/", "::1", 8443, "[::1]:8443"),
        ],
    )
    def test_each(self, url, host, port, authority):
        """Default ports are not said."""
        found = HttpOrigin.of(url)
        assert (found.host, found.port, found.authority) == (host, port, authority)

    @pytest.mark.parametrize("url", ["ftp://x", "x", "https://", "https://x:port"])
    def test_no_url(self, url):
        """It is not guessed."""
        with pytest.raises(ValueError, match=r"."):
            HttpOrigin.of(url)
