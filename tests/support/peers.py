"""Real mail servers for tests: each is an instance of a layer (tests/support/overlay.py), all on loopback.

test ── port ──> postfix | dovecot | exim | opensmtpd ──> maildir in /srv/peer, or a sink of the test's
"""

import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.overlay import Inside, instance
from tests.support.waiting import eventually

START_SECONDS = 40
USER, PASSWORD = "taro@isp.example", "s3cret-Pa55"


class PeerBroken(AssertionError):
    """The peer could be installed but does not answer; the text has the end of its log."""


def free_port() -> int:
    """A loopback port nobody listens on, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def wait_for_banner(
    port: int, alive: "subprocess.Popen[bytes] | None" = None, *, tls: bool = False, host: str = "127.0.0.1"
) -> None:
    """Returns once the port accepts (and greets, unless TLS comes first).  Raises PeerBroken after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if alive is not None and alive.poll() is not None:
            break
        with suppress(OSError), socket.create_connection((host, port), 2) as line:
            line.settimeout(5)
            if tls or line.recv(1):
                return
        time.sleep(0.05)
    raise PeerBroken(f"nothing answers on port {port}")


# -- certificates ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Papers:
    """A certificate for 127.0.0.1 and localhost by a CA of the test's own; `ca_file` is what a client must trust."""

    ca_file: Path
    chain: bytes
    key: bytes

    @property
    def files(self) -> dict[str, bytes]:
        return {"cert.pem": self.chain, "key.pem": self.key}


def papers(directory: Path) -> Papers:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost", "mail.isp.example")
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    return Papers(ca_file, chain, issued.private_key_pem.bytes())


# -- servers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delivered:
    """What a peer has taken: the forward-path it was for ("" if the peer did not note it), and the octets with LF ends."""

    recipient: str
    octets: bytes


@dataclass(frozen=True)
class Peer:
    """A running real server: `port` speaks STARTTLS (or plain), `tls_port` implicit TLS, `pop_port` POP3 (0: none)."""

    inside: Inside
    port: int
    tls_port: int = 0
    pop_port: int = 0

    def log(self) -> str:
        return self.inside.log()

    def delivered(self) -> list[Delivered]:
        """The messages in its maildir, oldest first."""
        found = sorted((self.inside.share / "mail").rglob("new/*"), key=lambda file: file.stat().st_mtime_ns)
        return [Delivered(_recipient(file.read_bytes()), file.read_bytes()) for file in found]

    def wait_for(self, count: int, seconds: float = 30) -> list[Delivered]:
        """The messages, once there are `count`; fails with the server's log after `seconds`."""
        arrived = lambda: f"{len(self.delivered())} of {count} messages arrived\n{self.log()[-3000:]}"  # noqa: E731
        eventually(lambda: len(self.delivered()) >= count, seconds, arrived)
        return self.delivered()


def _recipient(octets: bytes) -> str:
    for line in octets.split(b"\n\n", 1)[0].split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() in (b"x-original-to", b"envelope-to", b"delivered-to"):
            return value.strip().decode()
    return ""


@contextmanager
def _answering(
    inside: Inside, ports: Sequence[int], tls_ports: Sequence[int] = (), *, host: str = "127.0.0.1"
) -> Iterator[None]:
    try:
        for port in ports:
            wait_for_banner(port, inside.process, host=host)
        for port in tls_ports:
            wait_for_banner(port, inside.process, tls=True)
    except PeerBroken as broken:
        raise PeerBroken(f"{broken}\n{inside.log()[-3000:]}") from broken
    yield


_POSTFIX_SERVICES = """
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
tlsproxy  unix - - n - 0 tlsproxy
postlog   unix-dgram n - n - 1 postlogd
"""

_POSTFIX_MAIN = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "postfix.test",
    "mydestination": "",
    "alias_maps": "",
    "alias_database": "",
    "biff": "no",
    "smtpd_banner": "$myhostname ESMTP",
    "message_size_limit": "60000000",
    "maillog_file": "/srv/peer/maillog",
    "maillog_file_prefixes": "/srv",
}

_POSTFIX_RUN = r"""
mkdir -p /etc/postfix/sasl /srv/peer/mail
chown nobody /srv/peer/mail
cp /srv/peer/main.cf /srv/peer/master.cf /etc/postfix/
if [ -e /srv/peer/smtpd.conf ]; then
  cp /srv/peer/smtpd.conf /etc/postfix/sasl/smtpd.conf
  printf %s 'PASSWORD' | saslpasswd2 -p -c -f /etc/sasldb2 -u DOMAIN LOCAL
  chown postfix /etc/sasldb2
fi
exec postfix start-fg
"""


def _cf(settings: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


@contextmanager
def postfix_submission(
    paper: Papers, *, mechanisms: str = "PLAIN LOGIN CRAM-MD5", settings: Mapping[str, str] | None = None
) -> Iterator[Peer]:
    """Postfix as an ISP's submission server: STARTTLS on `port`, implicit TLS on `tls_port`, AUTH by Cyrus SASL.

    Whoever has logged in (USER, PASSWORD) may send to any domain; everything ends in one maildir.
    """
    port, tls_port = free_port(), free_port()
    main = {
        **_POSTFIX_MAIN,
        "mynetworks": "",
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_security_options": "noanonymous",
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_cert_file": "/srv/peer/cert.pem",
        "smtpd_tls_key_file": "/srv/peer/key.pem",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        "virtual_mailbox_domains": "static:all",
        "virtual_mailbox_maps": "static:box/",
        "virtual_mailbox_base": "/srv/peer/mail",
        "virtual_mailbox_limit": "0",
        "virtual_minimum_uid": "100",
        "virtual_uid_maps": "static:65534",
        "virtual_gid_maps": "static:65534",
        **(settings or {}),
    }
    master = (
        f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n"
        f"127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
    )
    sasl = f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: {mechanisms}\n"
    local, _, domain = USER.partition("@")
    script = _POSTFIX_RUN.replace("PASSWORD", PASSWORD).replace("DOMAIN", domain).replace("LOCAL", local)
    files = {**paper.files, "main.cf": _cf(main), "master.cf": master + _POSTFIX_SERVICES, "smtpd.conf": sasl}
    with instance("postfix", script, files) as inside, _answering(inside, [port], [tls_port]):
        yield Peer(inside, port, tls_port)


@contextmanager
def postfix_client(relay_port: int, *, settings: Mapping[str, str] | None = None) -> Iterator[Peer]:
    """Postfix as a machine on the LAN: takes mail on `port` without questions and hands it to our relay."""
    port = free_port()
    main = {
        **_POSTFIX_MAIN,
        "myhostname": "lan-host.test",
        "mynetworks": "127.0.0.0/8",
        "relayhost": f"[127.0.0.1]:{relay_port}",
        "smtp_tls_security_level": "may",
        "minimal_backoff_time": "5s",
        "queue_run_delay": "5s",
        **(settings or {}),
    }
    master = f"127.0.0.1:{port} inet n - n - - smtpd\n"
    files = {"main.cf": _cf(main), "master.cf": master + _POSTFIX_SERVICES}
    with instance("postfix", _POSTFIX_RUN, files) as inside, _answering(inside, [port]):
        yield Peer(inside, port)


_DOVECOT = """
log_path = /dev/stderr
base_dir = /run/dovecot
protocols = pop3 submission
ssl = yes
ssl_cert = </srv/peer/cert.pem
ssl_key = </srv/peer/key.pem
disable_plaintext_auth = %(plaintext)s
auth_mechanisms = %(mechanisms)s
auth_verbose = yes
hostname = dovecot.test
submission_relay_host = 127.0.0.1
submission_relay_port = %(sink)d
submission_relay_trusted = no
first_valid_uid = 1
%(oauth)s
passdb {
  driver = static
  args = password=%(password)s
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/mail-t/%%u mail=maildir:/var/mail-t/%%u
}
# Every test comes from one address: what one tried wrongly would slow the logins of the next, up to 15 s each.
auth_failure_delay = 1 secs
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    address = 127.0.0.1
    port = %(pop)d
  }
  inet_listener pop3s {
    port = 0
  }
}
service submission-login {
  inet_listener submission {
    address = 127.0.0.1
    port = %(port)d
  }
  inet_listener submissions {
    address = 127.0.0.1
    port = %(tls_port)d
    ssl = yes
  }
}
"""

_DOVECOT_OAUTH = """
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = /srv/peer/oauth2.conf
}
"""

_DOVECOT_INTROSPECTION = """
introspection_mode = auth
introspection_url = %s
username_attribute = username
active_attribute = active
active_value = true
"""

_DOVECOT_RUN = r"""
mkdir -p /run/dovecot /var/mail-t
chown mail: /var/mail-t
exec dovecot -F -c /srv/peer/dovecot.conf
"""


@contextmanager
def dovecot(
    paper: Papers,
    sink_port: int,
    *,
    mechanisms: str = "plain login cram-md5 xoauth2",
    plaintext: bool = False,
    introspection: str = "",
) -> Iterator[Peer]:
    """Dovecot: submission with STARTTLS on `port` and implicit TLS on `tls_port`, POP3 on `pop_port`; relays to a sink.

    PASSWORD is the password of every user, and the bearer token for XOAUTH2 unless `introspection` names who knows the tokens
    (RFC 7662).  `plaintext`: logins without TLS too.
    """
    port, tls_port, pop = free_port(), free_port(), free_port()
    conf = _DOVECOT % {
        "mechanisms": mechanisms,
        "sink": sink_port,
        "password": PASSWORD,
        "pop": pop,
        "port": port,
        "tls_port": tls_port,
        "plaintext": "no" if plaintext else "yes",
        "oauth": _DOVECOT_OAUTH if introspection else "",
    }
    files = {**paper.files, "dovecot.conf": conf, "oauth2.conf": _DOVECOT_INTROSPECTION % introspection}
    with instance("postfix", _DOVECOT_RUN, files) as inside, _answering(inside, [port, pop], [tls_port]):
        yield Peer(inside, port, tls_port, pop)


EXIM_BOX = """content:
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  maildir_format
  directory = /srv/peer/mail/box
  create_directory
  envelope_to_add
  return_path_add
  user = Debian-exim
"""
"""The end of every Exim of ours: what passed the ACL `rcpt` lies in one Maildir."""

_EXIM = (
    r"""
spool_directory = /var/spool/exim-t
log_file_path = /srv/peer/exim-%%slog
primary_hostname = exim.test
daemon_smtp_ports = %(port)d : %(tls_port)d
tls_on_connect_ports = %(tls_port)d
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = /etc/exim-cert.pem
tls_privatekey = /etc/exim-key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
acl_smtp_data = content
notifier_socket =
message_size_limit = 60M
begin acl
rcpt:
  accept authenticated = *
  deny message = 5.7.1 log in first
"""
    + EXIM_BOX
    + r"""begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth2}{%(user)s}}{eq{$auth3}{%(password)s}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{%(user)s}}{eq{$auth2}{%(password)s}}}}
  server_set_id = $auth1
"""
)

_EXIM_RUN = r"""
mkdir -p /var/spool/exim-t /srv/peer/mail
chown Debian-exim: /var/spool/exim-t /srv/peer/mail /srv/peer
cp /srv/peer/exim.conf /etc/exim-t.conf
for part in cert key; do cp /srv/peer/$part.pem /etc/exim-$part.pem; chown Debian-exim /etc/exim-$part.pem; done
exec exim4 -bdf -C /etc/exim-t.conf -oP /run/exim.pid
"""


@contextmanager
def exim(paper: Papers) -> Iterator[Peer]:
    """Exim as an upstream: STARTTLS on `port`, implicit TLS on `tls_port`, PLAIN and LOGIN; one maildir."""
    port, tls_port = free_port(), free_port()
    conf = _EXIM % {"port": port, "tls_port": tls_port, "user": USER, "password": PASSWORD}
    files = {**paper.files, "exim.conf": conf}
    with instance("exim", _EXIM_RUN, files) as inside, _answering(inside, [port], [tls_port]):
        yield Peer(inside, port, tls_port)


_OPENSMTPD = """
listen on 127.0.0.1 port {port} hostname opensmtpd.test
action "on" relay host smtp://127.0.0.1:{sink}
match from local for any action "on"
"""

_OPENSMTPD_RUN = r"""
cp /srv/peer/smtpd.conf /etc/smtpd-t.conf
chmod 600 /etc/smtpd-t.conf
mkdir -p /var/spool/smtpd
chmod 711 /var/spool/smtpd
exec smtpd -d -f /etc/smtpd-t.conf
"""


@contextmanager
def opensmtpd(sink_port: int) -> Iterator[Peer]:
    """OpenSMTPD as an upstream that knows its clients by their address: no TLS, no login; relays to a sink.

    Debian 12's 6.8.0p2 cannot serve TLS with OpenSSL 3 (OpenSMTPD issue 1171), and takes no login without it.
    """
    port = free_port()
    conf = _OPENSMTPD.format(port=port, sink=sink_port)
    with instance("opensmtpd", _OPENSMTPD_RUN, {"smtpd.conf": conf}) as inside, _answering(inside, [port]):
        yield Peer(inside, port)
