"""What the doctor says of certificates in files."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from relay.doctor.certificate import CertificateFacts, judge_certificates
from relay.doctor.certificate_probe import certificate_facts
from relay.doctor.subject import Subject
from relay.inbound.admission import Listener, ListenTls
from relay.upstream.peer_certificate import Certificate
from relay.upstream.settings import SmtpServer, Tls, Upstream

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ending(days: float, life: float = 90) -> Certificate:
    return Certificate("", NOW + timedelta(days), since=NOW + timedelta(days - life))


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        (CertificateFacts("l", "c.pem", ending(60)), "certificate", "2026-07-31 (60 days)"),
        (CertificateFacts("l", "c.pem", ending(13)), "certificate-soon", "(13 days)"),
        (CertificateFacts("l", "c.pem", ending(3, life=6)), "certificate", "(3 days)"),
        (CertificateFacts("l", "c.pem", ending(1, life=6)), "certificate-soon", "(1 days)"),
        (CertificateFacts("l", "c.pem", ending(-1)), "certificate-expired", "ended on 2026-05-31"),
        (CertificateFacts("l", "c.pem", ending(60), "KEY_VALUES_MISMATCH"), "certificate-unusable", "cannot be used"),
        (CertificateFacts("l", "c.pem"), "certificate-unusable", "cannot be used"),
    ],
)
def test_each_has_its_name(facts: CertificateFacts, name: str, words: str) -> None:
    """Days left where all is well; what is wrong, and when, where it is not."""
    [found] = judge_certificates([facts], NOW)
    assert found.name == name
    assert words in found.cause


def test_the_cure_of_our_own_is_another() -> None:
    """Nobody else renews it."""
    [found] = judge_certificates([CertificateFacts("l", "c.pem", ending(3), own=True)], NOW)
    assert "openssl" in found.cure


def test_what_is_in_the_files(tmp_path: Path) -> None:
    """Of listeners with TLS and of upstreams that want one of ours; one whose key is another's is seen."""
    ca = trustme.CA()
    good, other = ca.issue_cert("localhost"), ca.issue_cert("localhost")
    for name, one in (("good", good), ("other", other)):
        one.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        one.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    cert, key, foreign = str(tmp_path / "good.pem"), str(tmp_path / "good.key"), str(tmp_path / "other.key")
    listener = Listener(port=25, tls_cert=cert, tls_key=key)
    listeners = (listener, replace(listener, port=26, tls_key=foreign), Listener(port=27), Listener(port=28, tls=ListenTls.OFF))
    upstream = Upstream("isp", SmtpServer("mail.isp.example", tls=Tls(client_cert=cert, client_key=foreign)))
    found = certificate_facts(Subject("relay.test", {"isp": upstream}, listeners, state_dir=tmp_path))
    assert [(one.about, bool(one.trouble)) for one in found] == [("0.0.0.0:25", False), ("0.0.0.0:26", True), ("isp", True)]
    assert all(one.certificate and one.certificate.expires for one in found)


def test_our_own_is_known(tmp_path: Path) -> None:
    """What lies beside the spool."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=relay.test"]
    files = ["-keyout", str(tmp_path / "tls-key.pem"), "-out", str(tmp_path / "tls-cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    [found] = certificate_facts(Subject("relay.test", {}, (Listener(),), state_dir=tmp_path))
    assert (found.own, found.trouble) == (True, "")
