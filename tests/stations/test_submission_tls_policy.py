"""What an upstream may ask of TLS beyond trust: a lowest version, a certificate of ours, old ciphers in need."""

import errno
import hashlib
import re
import socket
import ssl
import subprocess
import threading
import warnings
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
import trustme

from relay.mail.reply import Stage
from relay.outbound.replies import judge
from relay.upstream import tls
from relay.upstream.client_certificates import ClientCertificates
from relay.upstream.pool import Pools
from relay.upstream.settings import Tls, TlsFloor, TlsMode
from relay.upstream.tls import context_for
from tests.support.sending import letter, server_context, upstream_at
from tests.support.upstream import ScriptedUpstream

DH_1024 = """-----BEGIN DH PARAMETERS-----
MIGHAoGBAMF2cb1fdgNgjf+PIhbBOqpI+PuTwN6Wu/ENFYOvlxf8yYrq3IzXga2d
dYvWYKE3xm1mgtrr9LDWJWfDbCZovDGsVnkHs1ncJLyiGxQfVqBnBFvQdDqauD9G
sz2u9S8Andhrr39tXuM4QivMhL8Uas1cLwwSznTg/H5MyKBZXXUPAgEC
-----END DH PARAMETERS-----
"""

BOTH = pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT], ids=["starttls", "implicit"])


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca, tmp_path_factory):
    """ca.pem; client.pem with its key; client-cert.pem and client-key.pem apart."""
    folder = tmp_path_factory.mktemp("tls")
    issued = ca.issue_cert("nas@company.example")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "client-cert.pem")
    issued.private_key_pem.write_to_path(folder / "client-key.pem")
    return folder


async def answer(server, tls):
    pools = Pools(hostname="relay.test")
    report = await pools.submit(upstream_at(server.port, tls=tls, host="localhost", timeout=5), letter())
    await pools.close()
    [found] = report.answers.values()
    return found, report.conversation.tls


def double(context, mode):
    return ScriptedUpstream(tls=context, implicit=mode is TlsMode.IMPLICIT)


@contextmanager
def blocking(context, mode):
    """The port of a server that only shakes hands, by the blocking OpenSSL calls that real servers make: with alerts."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                with line, suppress(OSError):
                    line.settimeout(5)
                    if mode is TlsMode.STARTTLS:
                        line.sendall(b"220 old.example\r\n")
                        line.recv(1000)
                        line.sendall(b"250-old.example\r\n250 STARTTLS\r\n")
                        line.recv(1000)
                        line.sendall(b"220 go ahead\r\n")
                    with context.wrap_socket(line, server_side=True) as safe:
                        safe.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield SimpleNamespace(port=listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@BOTH
async def test_a_floor_of_1_3_refuses_1_2(ca, files, mode):
    """`tls_min: 1.3` keeps its word, and the refusal names the floor."""
    context = server_context(ca, "localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with blocking(context, mode) as server:
        refused, _ = await answer(server, Tls(mode, str(files / "ca.pem"), floor=TlsFloor.TLS_1_3))
    async with double(context, mode) as server:
        taken, version = await answer(server, Tls(mode, str(files / "ca.pem")))
    assert (refused.stage, refused.reply.status) == (Stage.TLS, "4.7.5")
    assert "we need TLS 1.3 or later" in refused.reply.text
    assert judge(refused).advice.name == "tls-old"
    assert (taken.reply.code, version) == (250, "TLSv1.2")


def wanting(ca):
    """A server that takes nobody without a certificate of this CA."""
    context = server_context(ca, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    return context


@BOTH
@pytest.mark.parametrize("apart", [False, True], ids=["one file", "key apart"])
async def test_a_certificate_of_ours_opens_the_door(ca, files, mode, apart):
    """`client_cert` is shown to a server that wants one."""
    names = {"client_cert": "client-cert.pem", "client_key": "client-key.pem"} if apart else {"client_cert": "client.pem"}
    shown = {key: str(files / name) for key, name in names.items()}
    async with double(wanting(ca), mode) as server:
        taken, _ = await answer(server, Tls(mode, str(files / "ca.pem"), **shown))
    assert taken.reply.code == 250


@BOTH
async def test_without_one_the_door_stays_shut(ca, files, mode):
    """The mail waits; nothing is delivered."""
    async with double(wanting(ca), mode) as server:
        refused, _ = await answer(server, Tls(mode, str(files / "ca.pem")))
        assert server.messages == []
    assert refused.lost
    assert refused.stage in (Stage.CONNECT, Stage.TLS, Stage.HELLO)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"client_cert": "ca.pem"}, "client_cert .*ca.pem cannot be used"),
        ({"client_cert": "missing.pem"}, "client_cert .*missing.pem cannot be used: No such file"),
        ({"client_cert": "client-cert.pem", "client_key": "missing.pem"}, "client_key .*missing.pem cannot be used"),
        ({"client_cert": "locked.pem"}, "has a passphrase"),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_named(ca, files, shown, said):
    """The file and the reason, before the server hears anything."""
    if "locked.pem" in shown.values():
        command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:x", "-in", str(files / "client-key.pem")]
        made = subprocess.run(command, capture_output=True, check=True)
        (files / "locked.pem").write_bytes(made.stdout + (files / "client-cert.pem").read_bytes())
    paths = {key: str(files / name) for key, name in shown.items()}
    async with double(server_context(ca, "localhost"), TlsMode.STARTTLS) as server:
        refused, _ = await answer(server, Tls(TlsMode.STARTTLS, str(files / "ca.pem"), **paths))
    assert refused.stage is Stage.TLS
    assert re.search(said, refused.reply.text)


def ancient(ca):
    """A server of before 2015: TLS 1.0 at most, with the ciphers of its day."""
    context = server_context(ca, "localhost")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@BOTH
async def test_tls_1_0_needs_an_explicit_word(ca, files, mode):
    """Refused with the setting's name; with `legacy_tls` the mail goes, still verified."""
    with blocking(ancient(ca), mode) as server:
        refused, _ = await answer(server, Tls(mode, str(files / "ca.pem")))
    async with double(ancient(ca), mode) as server:
        taken, version = await answer(server, Tls(mode, str(files / "ca.pem"), legacy=True))
    assert refused.stage is Stage.TLS
    assert "legacy_tls: true" in refused.reply.text
    assert (taken.reply.code, version) == (250, "TLSv1")


@BOTH
async def test_a_server_that_just_hangs_up_gets_the_same_hint(ca, files, mode):
    """Not every old server says why it ends the handshake."""
    async with double(ancient(ca), mode) as server:
        refused, _ = await answer(server, Tls(mode, str(files / "ca.pem")))
    assert refused.stage is Stage.TLS
    assert "legacy_tls: true" in refused.reply.text


async def test_legacy_still_knows_whom_it_trusts(ca, files):
    """Old ciphers are no reason to take any certificate."""
    async with double(ancient(trustme.CA()), TlsMode.STARTTLS) as server:
        refused, _ = await answer(server, Tls(TlsMode.STARTTLS, str(files / "ca.pem"), legacy=True))
    assert "authority unknown" in refused.reply.text
    assert judge(refused).advice.name == "tls-trust"


async def test_small_dh_keys_need_it_too(ca, files, tmp_path):
    """A server with a 1024-bit DH group is refused, and taken with `legacy_tls`."""
    group = tmp_path / "dh.pem"
    group.write_text(DH_1024)
    context = server_context(ca, "localhost", key_type=trustme.KeyType.RSA)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE:@SECLEVEL=0")
    context.load_dh_params(str(group))
    with blocking(context, TlsMode.STARTTLS) as server:
        refused, _ = await answer(server, Tls(TlsMode.STARTTLS, str(files / "ca.pem")))
    async with double(context, TlsMode.STARTTLS) as server:
        taken, _ = await answer(server, Tls(TlsMode.STARTTLS, str(files / "ca.pem"), legacy=True))
    assert "dh key too small" in refused.reply.text
    assert "legacy_tls: true" in refused.reply.text
    assert taken.reply.code == 250


@pytest.mark.parametrize("change", ["renewed", "broken", "missing", "unreadable"])
async def test_a_client_certificate_that_changes(ca, tmp_path, change):
    """A renewed one is shown from the next session on; while the new one cannot be used, the old one is, and that is known."""
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"

    def issue():
        issued = ca.issue_cert("nas@company.example")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        return ssl.PEM_cert_to_DER_cert(cert.read_text())

    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    policy = Tls(TlsMode.STARTTLS, str(tmp_path / "ca.pem"), client_cert=str(cert), client_key=str(key))
    certificates = ClientCertificates()
    first = issue()

    async def shown(server):
        before = len(server.messages)
        taken, _ = await answer(server, policy)
        assert (taken.reply.code, len(server.messages)) == (250, before + 1)

    async with double(wanting(ca), TlsMode.STARTTLS) as server:
        upstream = upstream_at(server.port, tls=policy, host="localhost")
        await shown(server)
        assert await certificates.look([upstream]) == []
        assert certificates.seen[upstream.name].trouble == ""
        seen = certificates.seen[upstream.name].certificate
        assert seen.fingerprint == hashlib.sha256(first).hexdigest()
        context = context_for(policy)
        match change:
            case "renewed":
                second = issue()
                assert context_for(policy) is not context
                await certificates.look([upstream])
                seen = certificates.seen[upstream.name].certificate
                assert seen.fingerprint == hashlib.sha256(second).hexdigest()
            case "broken":
                key.write_text("half of a k")
            case "missing":
                cert.unlink()
            case "unreadable":
                key.unlink()
                key.mkdir()
        if change == "renewed":
            await shown(server)
            return
        assert context_for(policy) is context
        await shown(server)
        told = [await certificates.look([upstream]) for _ in range(4)]
        assert told == [[], [upstream.name], [], []]
        assert "client" in certificates.seen[upstream.name].trouble
        if key.is_dir():
            key.rmdir()
        issue()
        assert await certificates.look([upstream]) == []
        assert certificates.seen[upstream.name].trouble == ""
        assert context_for(policy) is not context
        await shown(server)


async def test_a_client_certificate_on_a_disk_that_did_not_answer(ca, tmp_path, monkeypatch):
    """The next look reads it, though nobody has touched the files since; messages do not try it each time."""
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"

    def issue():
        issued = ca.issue_cert("nas@company.example")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)

    issue()
    policy = Tls(TlsMode.STARTTLS, client_cert=str(cert), client_key=str(key))
    upstream, certificates, old = upstream_at(1, tls=policy, host="localhost"), ClientCertificates(), context_for(policy)
    issue()

    def fails(*_):
        raise OSError(errno.EIO, "Input/output error", str(cert))

    with monkeypatch.context() as trouble:
        trouble.setattr(tls, "load_pair", fails)
        assert context_for(policy) is old
        await certificates.look([upstream])
        assert "Input/output error" in certificates.seen[upstream.name].trouble
    assert context_for(policy) is old
    assert await certificates.look([upstream]) == []
    assert certificates.seen[upstream.name].trouble == ""
    assert context_for(policy) is not old
