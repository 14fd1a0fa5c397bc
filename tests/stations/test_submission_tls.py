"""TLS towards upstreams: whom we trust, and what a person is told when we do not."""

import hashlib
import re
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.mail.reply import Fault, Stage
from relay.upstream.pool import Pools
from relay.upstream.settings import Tls, TlsMode
from tests.support.sending import letter, server_context, upstream_at
from tests.support.upstream import DROP, GARBAGE, HANG, ScriptedUpstream

USERS = {"taro": "secret"}
BOTH = pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT], ids=["starttls", "implicit"])


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


def double(context: ssl.SSLContext, mode: TlsMode, **more) -> ScriptedUpstream:
    return ScriptedUpstream(tls=context, implicit=mode is TlsMode.IMPLICIT, users=USERS, require_auth=True, **more)


async def told(pools, server, tls: Tls, **more):
    report = await pools.submit(upstream_at(server.port, tls=tls, user="taro", host="localhost", **more), letter())
    [answer] = report.answers.values()
    return answer, report


@BOTH
async def test_a_verified_server_gets_the_mail_under_tls(pools, ca, ca_file, mode):
    """The message and the login travel encrypted, and the trail knows the version."""
    async with double(server_context(ca, "localhost"), mode) as server:
        answer, report = await told(pools, server, Tls(mode, ca_file=ca_file))
    assert answer.reply.code == 250
    assert report.conversation.tls == "TLSv1.3"
    assert report.conversation.mechanism == "PLAIN"
    assert (server.messages[0].tls, server.messages[0].user) == ("TLSv1.3", "taro")


@BOTH
async def test_an_unknown_authority(pools, ca, mode):
    """A certificate that nobody here vouches for stops before the login; the cure is named."""
    async with double(server_context(ca, "localhost"), mode) as server:
        answer, _ = await told(pools, server, Tls(mode))
    assert (answer.stage, answer.lost, answer.reply.code, answer.reply.status) == (Stage.TLS, True, 454, "4.7.5")
    assert "authority unknown here" in answer.reply.text
    assert "ca_file" in answer.reply.text
    assert server.auths == []


@BOTH
async def test_another_name(pools, ca, ca_file, mode):
    """A certificate for another host is refused with the name that was expected."""
    async with double(server_context(ca, "www.hosting.example"), mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=ca_file))
    assert answer.stage is Stage.TLS
    assert "the certificate of localhost is for another name (www.hosting.example)" in answer.reply.text
    assert server.auths == []


@BOTH
async def test_an_expired_certificate(pools, ca, ca_file, mode):
    """An expired certificate is called that, with the day and the fingerprint to pin."""
    expired = datetime(2020, 1, 2, tzinfo=UTC)
    async with double(server_context(ca, "localhost", not_before=expired - timedelta(9), not_after=expired), mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=ca_file))
    assert answer.stage is Stage.TLS
    assert "the certificate of localhost expired on 2020-01-02" in answer.reply.text
    assert re.search("pin it with `fingerprint: [0-9a-f]{64}`", answer.reply.text)
    assert server.auths == []


@BOTH
async def test_a_pinned_certificate_needs_no_authority(pools, ca, mode):
    """The SHA-256 fingerprint alone decides: name, age and issuer do not matter."""
    certificate = ca.issue_cert("other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    pin = hashlib.sha256(der).hexdigest()
    async with double(context, mode) as server:
        answer, _ = await told(pools, server, Tls(mode, fingerprint=pin))
        assert answer.reply.code == 250
        await pools.close()
        wrong, _ = await told(Pools(hostname="relay.test"), server, Tls(mode, fingerprint="00" * 32))
    assert (wrong.stage, wrong.lost) == (Stage.TLS, True)
    assert pin in wrong.reply.text
    assert len(server.auths) == 1


@BOTH
async def test_verify_false_trusts_anybody(pools, ca, mode):
    """`verify: false` encrypts without asking who it is."""
    async with double(server_context(ca, "other.example"), mode) as server:
        answer, _ = await told(pools, server, Tls(mode, verify=False))
    assert answer.reply.code == 250


@BOTH
async def test_old_tls_versions_are_refused(pools, ca, ca_file, mode, recwarn):
    """A server that has nothing newer than TLS 1.1 gets no login."""
    context = server_context(ca, "localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    recwarn.clear()  # naming the old versions warns
    async with double(context, mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=ca_file))
    assert answer.stage is Stage.TLS
    assert server.auths == []


async def test_no_starttls_there(pools):
    """A server without STARTTLS gets neither login nor mail; the person is pointed to 465."""
    async with ScriptedUpstream(users=USERS) as server:
        answer, _ = await told(pools, server, Tls(TlsMode.STARTTLS))
    assert (answer.stage, answer.reply.status) == (Stage.TLS, "4.7.4")
    assert "offers no STARTTLS" in answer.reply.text
    assert server.auths == []


async def test_starttls_refused(pools, ca, ca_file):
    """The server's own words are the answer when it announces STARTTLS but will not."""
    script = {"STARTTLS": "454 4.7.0 TLS not available"}
    async with double(server_context(ca, "localhost"), TlsMode.STARTTLS, script=script) as server:
        answer, _ = await told(pools, server, Tls(TlsMode.STARTTLS, ca_file=ca_file))
    assert (answer.stage, answer.lost, str(answer.reply)) == (Stage.TLS, False, "454 4.7.0 TLS not available")


@pytest.mark.parametrize("action", [DROP, HANG, GARBAGE])
async def test_the_handshake_fails(pools, ca, ca_file, action):
    """Hanging up, silence or noise instead of a handshake is lost at TLS."""
    async with double(server_context(ca, "localhost"), TlsMode.STARTTLS, script={"HANDSHAKE": action}) as server:
        answer, _ = await told(pools, server, Tls(TlsMode.STARTTLS, ca_file=ca_file), timeout=0.5)
    assert (answer.stage, answer.lost) == (Stage.TLS, True)


async def test_tls_spoken_to_a_port_in_clear(pools, ca_file):
    """`implicit` against a port that begins in clear is recognised and the other setting named."""
    async with ScriptedUpstream() as server:
        answer, _ = await told(pools, server, Tls(TlsMode.IMPLICIT, ca_file=ca_file), timeout=2)
    assert answer.stage is Stage.TLS
    assert "answers without TLS" in answer.reply.text
    assert "tls: starttls" in answer.reply.text


async def test_clear_text_spoken_to_a_tls_port(pools, ca, ca_file):
    """`starttls` against a port that begins with TLS waits in vain; the other setting is named."""
    async with double(server_context(ca, "localhost"), TlsMode.IMPLICIT) as server:
        answer, _ = await told(pools, server, Tls(TlsMode.STARTTLS, ca_file=ca_file), timeout=0.4)
    assert (answer.stage, answer.lost) == (Stage.CONNECT, True)
    assert "tls: implicit" in answer.reply.text


async def test_a_ca_file_that_is_not_there(pools):
    """A missing ca_file is an answer at TLS, not a crash."""
    async with ScriptedUpstream() as server:
        answer, _ = await told(pools, server, Tls(TlsMode.STARTTLS, ca_file="/nowhere/ca.pem"))
    assert answer.stage is Stage.TLS
    assert "/nowhere/ca.pem" in answer.reply.text


async def test_what_was_injected_before_tls_is_void(pools, ca, ca_file):
    """Octets that came in clear behind the 220 of STARTTLS are not read as replies of the encrypted session."""
    script = {"STARTTLS": "220 go ahead\r\n250-evil.example\r\n250 AUTH XOAUTH2"}
    async with double(server_context(ca, "localhost"), TlsMode.STARTTLS, script=script) as server:
        answer, report = await told(pools, server, Tls(TlsMode.STARTTLS, ca_file=ca_file))
    assert answer.reply.code == 250
    assert report.conversation.mechanism == "PLAIN"


def _ends(monkeypatch, moment: datetime) -> None:
    """Lets the next authority's certificate end then."""
    usual = trustme._cert_builder_common
    monkeypatch.setattr(trustme, "_cert_builder_common", lambda *args: usual(*args, moment, datetime(2000, 1, 1)))


@BOTH
async def test_the_authority_between_has_expired(pools, ca, ca_file, mode, monkeypatch):
    """The certificate that is at fault is named, not the server's own, which is good still."""
    with monkeypatch.context() as patched:
        _ends(patched, datetime(2020, 1, 2))
        between = ca.create_child_ca()
    async with double(server_context(between, "localhost"), mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=ca_file))
    assert answer.fault is Fault.TLS_EXPIRED
    assert re.search(
        r"the certificate of trustme v[\d.]+, which localhost shows with its own, expired on 2020-01-02", str(answer)
    )


@BOTH
async def test_the_authority_in_our_own_list_has_expired(pools, tmp_path, mode, monkeypatch):
    """What is out of date is here, so the server is not blamed."""
    with monkeypatch.context() as patched:
        _ends(patched, datetime(2020, 1, 2))
        old = trustme.CA()
    old.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with double(server_context(old, "localhost"), mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=str(tmp_path / "ca.pem")))
    assert answer.fault is Fault.TLS_EXPIRED
    assert "the certificate of localhost is good, but that of its authority (trustme v" in answer.reply.text


@BOTH
async def test_a_certificate_of_the_future(pools, ca, ca_file, mode):
    """Not valid yet is no word about its end."""
    soon = datetime.now(UTC) + timedelta(days=2)
    async with double(server_context(ca, "localhost", not_before=soon, not_after=soon + timedelta(9)), mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=ca_file))
    assert answer.fault is Fault.TLS_EARLY
    assert f"is not valid yet, but from {soon:%Y-%m-%d} on; check the clock here" in answer.reply.text


@BOTH
async def test_a_key_that_is_too_small(pools, ca, ca_file, mode, monkeypatch):
    """A small key is cured by `legacy_tls`, not by naming an authority; and that cure works."""
    with monkeypatch.context() as patched:
        patched.setattr(trustme.KeyType, "_generate_key", lambda _: rsa.generate_private_key(65537, 1024))  # noqa: S505
        leaf = ca.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    leaf.configure_cert(context)
    async with double(context, mode) as server:
        answer, _ = await told(pools, server, Tls(mode, ca_file=ca_file))
        assert answer.fault is Fault.TLS_OLD
        assert "its key is too small; `legacy_tls: true`" in answer.reply.text
        await pools.close()
        cured, _ = await told(pools, server, Tls(mode, ca_file=ca_file, legacy=True))
        assert cured.reply.code == 250


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ({"CONNECT": DROP}, Fault.HUNG_UP),
        ({"CONNECT": HANG}, Fault.TIMED_OUT),
        ({"CONNECT": GARBAGE}, Fault.GARBAGE),
        ({"EHLO": DROP}, Fault.HUNG_UP),
        ({"EHLO": GARBAGE}, Fault.GARBAGE),
        ({"AUTH": DROP}, Fault.HUNG_UP),
        ({"AUTH": HANG}, Fault.TIMED_OUT),
        ({"MAIL": DROP}, Fault.HUNG_UP),
        ({"RCPT": HANG}, Fault.TIMED_OUT),
        ({"DATA": GARBAGE}, Fault.GARBAGE),
        ({"DOT": DROP}, Fault.HUNG_UP),
        ({"DOT": GARBAGE}, Fault.GARBAGE),
        ({"CONNECT": "554 5.7.1 go away"}, None),
        ({"AUTH": "535 5.7.8 no"}, None),
        ({"DOT": "554 5.7.1 spam"}, None),
    ],
    ids=str,
)
async def test_what_we_found_ourselves_has_a_fault(pools, script, fault):
    """Whether a server spoke or we did is a field, at every stage."""
    async with ScriptedUpstream(users=USERS, script=script) as server:
        answer, _ = await told(pools, server, Tls(TlsMode.NONE), timeout=0.3)
    assert answer.fault is fault
