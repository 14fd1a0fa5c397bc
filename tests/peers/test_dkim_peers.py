"""Signed mail at a real receiver: Postfix with rspamd judges SPF, DKIM and DMARC by the DNS of a small Internet.

device ──> relay ── mx, port 25 ──> Postfix ──> rspamd (milter) ──> maildir
              └──────── DNS ────────────┴──────────┘
"""

import email
import email.message
import html
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay.upstream.settings import DkimAlgorithm
from tests.support.dkim import key_for, published, quoted, verdicts
from tests.support.letters import recent_date
from tests.support.netns import HOME, NAMES, OUTSIDE, Internet, internet, wait_until_answering
from tests.support.overlay import instance
from tests.support.peers import _POSTFIX_MAIN, _POSTFIX_SERVICES, Peer, _cf
from tests.support.running import RelayProcess
from tests.support.waiting import eventually

RSA = key_for("own.example")
NEW = key_for("own.example", DkimAlgorithm.ED25519, "new")
KEYS = published(RSA, NEW)
ZONE: dict[str, dict[str, list[str]]] = {
    "far.example": {"MX": ["10 mx.far.example."]},
    "mx.far.example": {"A": [OUTSIDE]},
    "relay.own.example": {"A": [HOME]},
    "34.216.184.93.in-addr.arpa": {"PTR": ["relay.own.example."]},
    "own.example": {"MX": ["10 relay.own.example."], "TXT": [f'"v=spf1 ip4:{HOME} -all"']},
    "_dmarc.own.example": {"TXT": ['"v=DMARC1; p=reject; adkim=s; aspf=s"']},
    "forged.example": {"MX": ["10 relay.own.example."], "TXT": ['"v=spf1 -all"']},
    "_dmarc.forged.example": {"TXT": ['"v=DMARC1; p=none"']},
    **{name: {"TXT": [quoted(record)]} for name, record in KEYS.items()},
}

_RSPAMD = {
    "options.inc": f'dns {{ nameserver = ["{NAMES}:53:1"]; timeout = 2s; retransmits = 2; }}\nlocal_addrs = [];\n'
    'disable_hyperscan = true; url_tld = "/srv/peer/suffixes";\n',  # the whole list takes minutes to compile
    "worker-proxy.inc": 'milter = yes; bind_socket = "127.0.0.1:11332"; count = 1;\n'
    'upstream "local" { default = yes; self_scan = yes; }\n',
    "worker-normal.inc": "enabled = false;\n",
    "worker-controller.inc": "enabled = false;\n",
    "worker-fuzzy.inc": "enabled = false;\n",
    "logging.inc": 'type = "file"; filename = "/srv/peer/rspamd.log"; level = "info";\n',
    "milter_headers.conf": 'use = ["authentication-results"]; skip_local = false; skip_authenticated = false;\n',
    "dmarc.conf": "enabled = true;\n",
    "actions.conf": "reject = null; add_header = null; greylist = null;\n",
    **{
        f"{name}.conf": "enabled = false;\n"
        for name in ("rbl", "surbl", "fuzzy_check", "phishing", "greylist", "asn", "mx_check")
    },
}

_RUN = r"""
mkdir -p /etc/postfix /srv/peer/mail /etc/rspamd/local.d /run/rspamd /var/lib/rspamd
chown nobody /srv/peer/mail
cp /srv/peer/main.cf /srv/peer/master.cf /etc/postfix/
cp /srv/peer/local.d/* /etc/rspamd/local.d/
printf 'nameserver NAMES\n' > /tmp/resolv && mount --bind /tmp/resolv /etc/resolv.conf
rspamd -f --insecure &
exec postfix start-fg
"""


@dataclass(frozen=True)
class Receiver:
    net: Internet
    peer: Peer


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    main = {
        **_POSTFIX_MAIN,
        "myhostname": "mx.far.example",
        "inet_interfaces": OUTSIDE,
        "mynetworks": "",
        "virtual_mailbox_domains": "far.example",
        "virtual_mailbox_maps": "static:box/",
        "virtual_mailbox_base": "/srv/peer/mail",
        "virtual_mailbox_limit": "0",
        "virtual_minimum_uid": "100",
        "virtual_uid_maps": "static:65534",
        "virtual_gid_maps": "static:65534",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "smtpd_milters": "inet:127.0.0.1:11332",
        "milter_default_action": "tempfail",
        "milter_content_timeout": "60s",
    }
    files: dict[str, str | bytes] = {f"local.d/{name}": text for name, text in _RSPAMD.items()}
    files["suffixes"] = "example\ncom\n"
    files |= {"main.cf": _cf(main), "master.cf": f"{OUTSIDE}:25 inet n - n - - smtpd\n" + _POSTFIX_SERVICES}
    with internet(ZONE) as net:
        script = _RUN.replace("NAMES", NAMES)
        with instance("postfix-rspamd", script, files, net.outside) as inside:
            peer = Peer(inside, 25)
            wait_until_answering(net, OUTSIDE, 25)
            eventually(lambda: "starting rspamd_proxy process" in peer.log(), 90, lambda: f"no rspamd\n{peer.log()[-3000:]}")
            yield Receiver(net, peer)


def at_home(receiver: Receiver, folder: Path, **more: Any) -> RelayProcess:
    """A relay in the small Internet; only its control socket is reached from outside."""
    keys = [{"domain": key.domain, "selector": key.selector, "key_file": key.key_file} for key in (RSA, NEW)]
    config = {
        "hostname": "relay.own.example",
        "upstreams": {},
        "routes": [{"via": ["mx"]}],
        "dns": {"nameservers": [f"{NAMES}:53"]},
        "dkim": keys,
        **more,
    }
    relay = RelayProcess(folder, config)
    relay.wrapper = list(receiver.net.home)
    return relay.start()


@pytest.fixture
def relay(receiver: Receiver, tmp_path: Path) -> Iterator[RelayProcess]:
    running = at_home(receiver, tmp_path)
    yield running
    running.stop()


SEND = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30) as device:
    device.sendmail(sys.argv[2], ["me@far.example"], sys.stdin.buffer.read())
"""


def judged(receiver: Receiver, relay: RelayProcess, octets: bytes, sender: str) -> tuple[dict[str, str], bytes]:
    """What the receiver wrote into Authentication-Results, by method, and the message as it is in the mailbox."""
    before = len(receiver.peer.delivered())
    command = [*receiver.net.home, sys.executable, "-c", SEND, str(relay.port), sender]
    subprocess.run(command, input=octets, check=True, capture_output=True)
    delivered = receiver.peer.wait_for(before + 1, 60)[-1].octets
    said: email.message.Message = email.message_from_bytes(delivered)
    results = " ".join(said.get("Authentication-Results", "").split())
    found: dict[str, str] = {}
    for method, result in re.findall(r"\b(dkim|spf|dmarc)=(\w+)", results):
        found[method] = result if found.get(method, result) == result else f"{found[method]} {result}"
    return found, delivered


def letter(sender: str, body: bytes, mime: str = "") -> bytes:
    head = f"From: NAS <{sender}>\nTo: me@far.example\nSubject: ok\nDate: {recent_date()}\n{mime}\n"
    return head.replace("\n", "\r\n").encode() + body


EIGHT = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"


@pytest.mark.parametrize(
    ("body", "mime"),
    [
        (b"All disks are fine.\r\n", ""),
        (b".\r\n..\r\n. \r\n\ttabs \t and  blanks  \r\n\r\n\r\n", ""),
        ("ディスクは正常です。\r\n".encode(), EIGHT),
        (b"bare\nline\rends\n" * 50, ""),
        (b"x" * 3000 + b"\r\n", ""),
        ((b"y" * 75 + b"\r\n") * 30_000, ""),
    ],
    ids=["plain", "dots and blanks", "8-bit", "bare line ends", "a long line", "2 MB"],
)
def test_a_real_receiver_says_pass_three_times(receiver: Receiver, relay: RelayProcess, body: bytes, mime: str) -> None:
    """SPF by the relay's address, both signatures, and DMARC with strict alignment; repaired or not."""
    found, delivered = judged(receiver, relay, letter("nas@own.example", body, mime), "nas@own.example")
    assert found == {"dkim": "pass", "spf": "pass", "dmarc": "pass"}, delivered[:3000]
    stored = delivered[delivered.index(b"DKIM-Signature:") :].replace(b"\n", b"\r\n")
    assert verdicts(stored, KEYS) == {("own.example", "relay"): True, ("own.example", "new"): True}


def test_who_is_no_domain_of_ours_is_not_signed(receiver: Receiver, relay: RelayProcess) -> None:
    """The same receiver tells the difference, so the passes above mean something."""
    found, _ = judged(receiver, relay, letter("x@forged.example", b"x\r\n"), "x@forged.example")
    assert found["spf"] == "fail"
    assert found.get("dkim", "none") == "none"
    assert found["dmarc"] != "pass"


def test_the_doctor_agrees(receiver: Receiver, relay: RelayProcess) -> None:
    """What it finds of SPF, DKIM and DMARC is what the receiver found."""
    done = subprocess.run(
        [*receiver.net.home, sys.executable, "-m", "relay", "doctor", "--json", "--config", str(relay.config_file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    findings = json.loads(done.stdout)["findings"]
    fine = {one["about"] for one in findings if one["name"] == "dkim" and one["grade"] == "ok"}
    assert fine == set(KEYS)
    assert not [one for one in findings if one["name"].startswith(("dkim-", "spf-", "dmarc-"))]


def test_the_page_shows_the_record_to_publish(receiver: Receiver, tmp_path: Path) -> None:
    """The daily look finds that a new key is not published; the page has the record, ready to be copied."""
    late = {"domain": "own.example", "selector": "late"}
    relay = at_home(receiver, tmp_path, dkim=[late], web={"address": "127.0.0.1:0"})
    script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
    command = [*receiver.net.home, sys.executable, "-c", script, f"http://{relay.events('started')[0]['web']}/"]

    def page() -> str:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return shown if "late._domainkey.own.example" in shown else ""

    try:
        shown = eventually(page, 60, "the page does not tell of the record")
        record = json.loads(relay.command("dkim", "--json").stdout)["keys"][0]
    finally:
        relay.stop()
    assert html.escape(record["zone"]) in shown.replace("&#34;", "&quot;")
