"""Real mail servers as the MX of a domain, and a POP-before-SMTP host made of real parts; all on loopback.

mx ──> 127.0.0.11 postfix | 127.0.0.12 exim | 127.0.0.13 opensmtpd, all on one port in place of 25
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.overlay import instance
from tests.support.peers import (
    _DOVECOT,
    _EXIM_RUN,
    _OPENSMTPD_RUN,
    _POSTFIX_MAIN,
    _POSTFIX_RUN,
    _POSTFIX_SERVICES,
    EXIM_BOX,
    PASSWORD,
    Papers,
    Peer,
    _answering,
    _cf,
    free_port,
)

POSTFIX, EXIM, OPENSMTPD = "127.0.0.11", "127.0.0.12", "127.0.0.13"

_BOXES = {
    "virtual_mailbox_base": "/srv/peer/mail",
    "virtual_mailbox_limit": "0",
    "virtual_minimum_uid": "100",
    "virtual_uid_maps": "static:65534",
    "virtual_gid_maps": "static:65534",
}


@contextmanager
def postfix_mx(paper: Papers, port: int, domain: str, *others: str, **settings: str) -> Iterator[Peer]:
    """Postfix as the MX of `domain`: mail boxes `me` and `you`, STARTTLS with a certificate that nobody trusts, no relaying."""
    domains = (domain, *others)
    main = {
        **_POSTFIX_MAIN,
        **_BOXES,
        "myhostname": f"mx.{domain}",
        "mynetworks": "",
        "virtual_mailbox_domains": ", ".join(domains),
        "virtual_mailbox_maps": f"inline:{{ {', '.join(f'me@{one}=box/, you@{one}=box/' for one in domains)} }}",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": "/srv/peer/cert.pem",
        "smtpd_tls_key_file": "/srv/peer/key.pem",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        **settings,
    }
    master = f"{POSTFIX}:{port} inet n - n - - smtpd\n"
    files = {**paper.files, "main.cf": _cf(main), "master.cf": master + _POSTFIX_SERVICES}
    with instance("postfix", _POSTFIX_RUN, files) as inside, _answering(inside, [port], host=POSTFIX):
        yield Peer(inside, port)


_EXIM_MX = (
    r"""
spool_directory = /var/spool/exim-t
log_file_path = /srv/peer/exim-%%slog
primary_hostname = mx.%(domain)s
daemon_smtp_ports = %(port)d
local_interfaces = %(address)s
tls_advertise_hosts = *
tls_certificate = /etc/exim-cert.pem
tls_privatekey = /etc/exim-key.pem
acl_smtp_rcpt = rcpt
acl_smtp_data = content
notifier_socket =
message_size_limit = 60M
begin acl
rcpt:
  deny !domains = %(domain)s
       message = relay not permitted
  deny !local_parts = me : you
       message = Unknown user
  accept
"""
    + EXIM_BOX
)


@contextmanager
def exim_mx(paper: Papers, port: int, domain: str) -> Iterator[Peer]:
    """Exim as the MX of `domain`, likewise."""
    conf = _EXIM_MX % {"port": port, "domain": domain, "address": EXIM}
    with instance("exim", _EXIM_RUN, {**paper.files, "exim.conf": conf}) as inside, _answering(inside, [port], host=EXIM):
        yield Peer(inside, port)


_OPENSMTPD_MX = """
table boxes {{ me@{domain}, you@{domain} }}
listen on {address} port {port} hostname mx.{domain}
action "on" relay host smtp://127.0.0.1:{sink}
match from any for rcpt-to <boxes> action "on"
"""


@contextmanager
def opensmtpd_mx(port: int, domain: str, sink_port: int) -> Iterator[Peer]:
    """OpenSMTPD as the MX of `domain`, without TLS; what it takes goes on to a sink."""
    conf = _OPENSMTPD_MX.format(port=port, domain=domain, address=OPENSMTPD, sink=sink_port)
    with instance("opensmtpd", _OPENSMTPD_RUN, {"smtpd.conf": conf}) as inside, _answering(inside, [port], host=OPENSMTPD):
        yield Peer(inside, port)


_POP_SERVICE = """
protocols = pop3
service pop3 {
  executable = pop3 permits
}
service permits {
  executable = script-login /srv/peer/permits.sh
  unix_listener permits {
  }
}
"""

_PERMITS = b"""#!/bin/sh
echo "$IP OK" >> /srv/peer/permitted
exec "$@"
"""

_POP_RUN = r"""
mkdir -p /run/dovecot /var/mail-t
chown mail: /var/mail-t
chmod 755 /srv/peer/permits.sh
touch /srv/peer/permitted
chmod 666 /srv/peer/permitted
dovecot -c /srv/peer/dovecot.conf
"""


@contextmanager
def pop_before_smtp_host(paper: Papers) -> Iterator[Peer]:
    """Postfix that relays for an address only after a POP login from it at Dovecot, which writes the list."""
    port, pop = free_port(), free_port()
    dovecot = _DOVECOT % {
        "mechanisms": "plain",
        "oauth": "",
        "sink": 1,
        "password": PASSWORD,
        "pop": pop,
        "port": free_port(),
        "tls_port": free_port(),
        "plaintext": "no",
    }
    main = {
        **_POSTFIX_MAIN,
        **_BOXES,
        "mynetworks": "",
        "virtual_mailbox_domains": "static:all",
        "virtual_mailbox_maps": "static:box/",
        "smtpd_relay_restrictions": "check_client_access texthash:/srv/peer/permitted, reject",
    }
    # a table of this kind is read once by each process: one connection for one process
    master = f"127.0.0.1:{port} inet n - n - - smtpd -o max_use=1\n"
    files = {
        **paper.files,
        "main.cf": _cf(main),
        "master.cf": master + _POSTFIX_SERVICES,
        "dovecot.conf": dovecot + _POP_SERVICE,
        "permits.sh": _PERMITS,
    }
    with instance("postfix", _POP_RUN + _POSTFIX_RUN, files) as inside, _answering(inside, [port, pop]):
        yield Peer(inside, port, pop_port=pop)
