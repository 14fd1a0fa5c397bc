"""`relay oauth login` from the first line to the kept token: device code, browser on this machine, pasted address.

relay oauth login ── POST, browser ──> tests/support/oauth.py
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trustme

from relay.secret import Secret
from relay.upstream.oauth.authorities import authority_for
from relay.upstream.oauth.consent import (
    CodeFlow,
    NoConsent,
    await_device_flow,
    finish_code_flow,
    start_code_flow,
    start_device_flow,
)
from relay.upstream.oauth.tokens import identity_form
from relay.upstream.settings import Grant, OAuth
from tests.support.oauth import provider

ROOT = Path(__file__).parents[2]
BLOCKED = {
    "error": "invalid_grant",
    "error_description": "AADSTS53003: Access has been blocked by Conditional Access policies. The access policy does not "
    "allow token issuance.",
}


@pytest.fixture
def stub():
    with provider() as running:
        yield running


@pytest.fixture
def config(tmp_path, stub):
    return configured(tmp_path, stub)


def configured(tmp_path, stub, **more):
    oauth = {"provider": "microsoft", "client_id": "app", **stub.urls, **more}
    settings = {
        "upstreams": {"m365": {"host": "smtp.office365.example", "username": "taro@isp.example", "oauth": oauth}},
        "spool": {"url": f"sqlite:{tmp_path}/state/spool.db"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(settings))
    return path


def kept(tmp_path):
    return json.loads((tmp_path / "state" / "oauth" / "m365.json").read_text())


class Login:
    """A running `relay oauth login`."""

    def __init__(self, config, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "oauth", "login", *words, "--config", str(config)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "no_proxy": "*"},
        )
        self.guard = threading.Timer(60, self.process.kill)
        self.guard.start()

    def address(self):
        """What the person is to open."""
        for line in self.process.stdout:
            if line.startswith("http"):
                return line.strip()
        raise AssertionError(self.process.stderr.read())

    def end(self, typed=""):
        out, err = self.process.communicate(typed, timeout=60)
        self.guard.cancel()
        return self.process.returncode, out, err


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def where_the_browser_ends(address):
    """The address in the browser's bar after the person has consented, on a machine where nobody listens."""
    with pytest.raises(urllib.error.HTTPError) as moved:
        urllib.request.build_opener(_Stay).open(address, timeout=10)
    moved.value.close()
    return moved.value.headers["Location"]


def test_device_code(stub, config, tmp_path):
    """The person is told address and code; pending, then granted: the token is kept for its owner's eyes only."""
    stub.pending = ["authorization_pending"]
    status, out, err = Login(config, "m365").end()
    assert (status, err) == (0, "")
    assert "Open https://login.microsoft.com/device" in out
    assert "GTHDDWXPL" in out
    assert "taro@isp.example" in out
    assert {kept(tmp_path)["refresh_token"]} == stub.refresh_tokens
    assert (tmp_path / "state" / "oauth" / "m365.json").stat().st_mode & 0o777 == 0o600
    assert not stub.refresh_tokens & set(out.split())


def test_pasted_address(stub, config, tmp_path):
    """The browser is elsewhere: the address that it ends at is pasted, and the code is worth nothing without our PKCE."""
    login = Login(config, "m365", "--flow", "code")
    ended_at = where_the_browser_ends(login.address())
    status, _, err = login.end(f"{ended_at}\n")
    assert (status, err) == (0, "")
    assert {kept(tmp_path)["refresh_token"]} == stub.refresh_tokens


def test_browser_on_this_machine(stub, config, tmp_path):
    """The browser comes back to loopback, and nothing needs to be pasted."""
    login = Login(config, "m365", "--flow", "code")
    with urllib.request.urlopen(login.address(), timeout=10) as page:  # noqa: S310 - loopback
        assert b"has its answer" in page.read()
    status, _, err = login.end()
    assert (status, err) == (0, "")
    assert {kept(tmp_path)["refresh_token"]} == stub.refresh_tokens


def test_a_blocked_device_flow_names_the_other_way(stub, config, tmp_path):
    """Microsoft's own text, what it means, and the flow that may work; nothing is kept."""
    stub.trouble = [(400, BLOCKED)]
    status, _, err = Login(config, "m365").end()
    assert status == 1
    assert "AADSTS53003: Access has been blocked by Conditional Access policies" in err
    assert "ask the administrator" in err
    assert "relay oauth login m365 --flow code" in err
    assert not (tmp_path / "state" / "oauth" / "m365.json").exists()


def test_google_goes_by_browser(stub, tmp_path):
    """Google's device flow gives no mail scope: the browser is the way, offline access and consent are asked for."""
    path = tmp_path / "config.yaml"
    settings = json.loads(configured(tmp_path, stub, provider="google").read_text())
    del settings["upstreams"]["m365"]["oauth"]["device_url"]
    path.write_text(json.dumps(settings))
    login = Login(path, "m365")
    address = login.address()
    for wanted in (
        "access_type=offline",
        "prompt=consent",
        "scope=https%3A%2F%2Fmail.google.com%2F",
        "code_challenge_method=S256",
    ):
        assert wanted in address
    assert login.end(f"{where_the_browser_ends(address)}\n")[0] == 0


def test_an_application_needs_nobody(stub, tmp_path):
    """Client credentials: the login only asks once whether it works."""
    path = configured(tmp_path, stub, grant="client-credentials", client_secret="s3cret", tenant="company.example")
    status, out, _ = Login(path, "m365").end()
    assert (status, "needs no login by a person" in out) == (0, True)
    stub.trouble = [
        (401, {"error": "invalid_client", "error_description": "AADSTS7000222: The provided client secret keys are expired."})
    ]
    (tmp_path / "state" / "oauth" / "m365.json").unlink()
    status, _, err = Login(path, "m365").end()
    assert (status, "AADSTS7000222" in err, "make a new one" in err) == (1, True, True)


@pytest.mark.parametrize("name", ["nobody", "plain"])
def test_an_upstream_without_oauth_is_named(config, name):
    """Exit 2, and which upstreams there are."""
    status, _, err = Login(config, name).end()
    assert (status, "there are: m365" in err) == (2, True)


def test_status_tells_age_and_end(stub, config, tmp_path):
    """`relay oauth status` is a problem before the login and fine after it; JSON has no token."""
    command = [sys.executable, "-m", "relay", "oauth", "status", "--json", "--config", str(config)]
    before = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (before.returncode, "relay oauth login m365" in before.stdout) == (1, True)
    Login(config, "m365").end()
    after = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    [told] = json.loads(after.stdout)["oauth"]
    assert (after.returncode, told["upstream"], told["warnings"]) == (0, "m365", [])
    assert kept(tmp_path)["refresh_token"] not in after.stdout


class TestDeviceFlow:
    """RFC 8628 s3.5, with the answers that Microsoft documents."""

    def waited(self, stub, pending, **more):
        stub.pending, stub.interval = pending, 5
        oauth = OAuth("microsoft", "app", **stub.urls, **more)
        pauses = []
        granted = await_device_flow(oauth, start_device_flow(oauth), sleep=pauses.append, monotonic=lambda: sum(pauses))
        return granted, pauses

    def test_pending_waits_slow_down_waits_longer(self, stub):
        """Each `slow_down` adds five seconds for good."""
        granted, pauses = self.waited(stub, ["authorization_pending", "slow_down", "authorization_pending", "slow_down"])
        assert granted.refresh_token
        assert pauses == [5, 5, 10, 10, 15]

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            ("expired_token", "not typed in time"),
            ("authorization_declined", "declined"),
            ("bad_verification_code", "log in again"),
        ],
    )
    def test_an_end_is_an_end(self, stub, error, said):
        """What will not change is told in the provider's word, with what to do."""
        with pytest.raises(NoConsent, match=said) as told:
            self.waited(stub, ["authorization_pending", error])
        assert error in str(told.value)

    def test_nobody_comes(self, stub):
        """The code's life ends the waiting, whatever the server says."""
        with pytest.raises(NoConsent, match="within 15 minutes"):
            self.waited(stub, ["authorization_pending"] * 1000)

    def test_a_token_server_that_is_busy_is_asked_again(self, stub):
        """A 503 in between costs a few seconds, not the login."""
        oauth = OAuth("microsoft", "app", **stub.urls)
        device, pauses = start_device_flow(oauth), []
        stub.trouble = [(503, "busy")]
        assert await_device_flow(oauth, device, sleep=pauses.append, monotonic=lambda: sum(pauses)).refresh_token

    def test_a_consent_without_a_refresh_token_is_none(self, stub):
        """It would end within the hour, so it is refused with the reason."""
        stub.trouble, oauth = [], OAuth("microsoft", "app", **stub.urls)
        device = start_device_flow(oauth)
        stub.trouble = [(200, {"access_token": "a", "expires_in": 3600})]
        with pytest.raises(NoConsent, match="offline_access"):
            await_device_flow(oauth, device, sleep=lambda _: None)


class TestPasting:
    """What people paste."""

    @pytest.fixture
    def flow(self, stub) -> CodeFlow:
        return start_code_flow(
            OAuth("google", "app", client_secret=Secret("geheim"), **stub.urls), "http://localhost:1234", "a@b.c"
        )

    def test_the_bare_code(self, flow):
        """Some copy only the code, with Google's slash in it."""
        code = re.search(r"code=([^&]+)", where_the_browser_ends(flow.address))[1].replace("%2F", "/")
        assert finish_code_flow(flow, f" {code}\n").refresh_token

    def test_the_secret_goes_along(self, stub, flow):
        """Google's desktop applications have one, and need it."""
        finish_code_flow(flow, where_the_browser_ends(flow.address))
        [form] = stub.asked("authorization_code")
        assert (form["client_secret"], form["redirect_uri"]) == ("geheim", "http://localhost:1234")

    @pytest.mark.parametrize(
        ("pasted", "said"),
        [
            ("", "nothing was pasted"),
            ("http://[", "this is no address"),
            ("http://[?code=4/x&state=STATE", "this is no address"),
            ("http://localhost:1234/?code=4/abc&state=other", "another login"),
            ("http://localhost:1234/?state=STATE", "no code"),
            (
                "http://localhost:1234/?error=access_denied&error_description=AADSTS65004%3a+User+declined+to+consent",
                "AADSTS65004",
            ),
            ("https://login.example/other", "another login"),
        ],
    )
    def test_what_is_no_code(self, stub, flow, pasted, said):
        """Each mistake has its own words, and costs no question to the provider."""
        with pytest.raises(NoConsent, match=said):
            finish_code_flow(flow, pasted.replace("STATE", flow.state))
        assert stub.forms == []

    def test_a_code_is_good_once(self, flow):
        """The second use gets the provider's words."""
        ended_at = where_the_browser_ends(flow.address)
        finish_code_flow(flow, ended_at)
        with pytest.raises(NoConsent, match=r"Malformed auth code(.|\n)*log in again"):
            finish_code_flow(flow, ended_at)


@pytest.mark.skipif(not shutil.which("openssl"), reason="the program openssl is not installed")
class TestCertificate:
    """An application that proves itself by a certificate instead of a secret."""

    @pytest.fixture
    def issued(self):
        return trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("app.example", key_type=trustme.KeyType.RSA)

    @pytest.fixture
    def file(self, tmp_path, issued):
        path = tmp_path / "app.pem"
        path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return path

    def test_the_assertion_is_signed_as_microsoft_wants_it(self, stub, issued, file, clock):
        """PS256 with the certificate's SHA-256, for this token address, for ten minutes; the signature holds."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        oauth = OAuth("microsoft", "app", grant=Grant.CLIENT_CREDENTIALS, certificate_file=str(file), **stub.urls)
        form = identity_form(oauth, authority_for(oauth), clock())
        assert form["client_assertion_type"].endswith("client-assertion-type:jwt-bearer")
        assert "client_secret" not in form
        header, claims, signature = (base64.urlsafe_b64decode(p + "==") for p in form["client_assertion"].split("."))
        certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        thumb = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        assert json.loads(header) == {"alg": "PS256", "typ": "JWT", "x5t#S256": thumb}
        told = json.loads(claims)
        assert (told["aud"], told["iss"], told["sub"]) == (stub.token_url, "app", "app")
        assert told["exp"] - told["nbf"] == 660
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        signed = form["client_assertion"].rpartition(".")[0].encode()
        certificate.public_key().verify(signature, signed, pss, hashes.SHA256())

    def test_a_file_that_is_no_good_is_told(self, stub, tmp_path, clock):
        """Nothing is asked of the provider without a proof."""
        (tmp_path / "bad.pem").write_text("nothing")
        oauth = OAuth(
            "microsoft", "app", grant=Grant.CLIENT_CREDENTIALS, certificate_file=str(tmp_path / "bad.pem"), **stub.urls
        )
        with pytest.raises(Exception, match="has no certificate in it"):
            identity_form(oauth, authority_for(oauth), clock())
