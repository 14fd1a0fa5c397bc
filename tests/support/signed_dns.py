"""A real validating resolver on loopback: unbound, with zones that ldns-signzone has signed, all in one instance.

    with unbound({"signed.example": records, "broken.example": records}, {"plain.example": records}, spoilt=...) as address:
        ...  # "127.0.0.1:PORT" for dns.nameservers

Records are lines of a zone file.  Below `signed` zones everything is validated, below the others nothing is.  `spoilt` is
replaced in the signed zone file after it was signed, as somebody in between would.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import dns.exception
import dns.message
import dns.query

from tests.support.overlay import instance
from tests.support.peers import START_SECONDS, PeerBroken, free_port

_START = (
    "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns.{zone}. root.{zone}. 1 3600 600 86400 60\n@ NS ns.{zone}.\nns A 127.0.0.1\n{records}\n"
)

_CONF = """
server:
  interface: 127.0.0.1
  port: {port}
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: /srv/peer
  module-config: "validator iterator"
  trust-anchor-file: /srv/peer/anchors
  do-not-query-localhost: no
remote-control:
  control-enable: no
{zones}
"""

_ZONE = """
auth-zone:
  name: "{zone}."
  zonefile: /srv/peer/{file}
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
"""

_RUN = r"""
set -e
cd /srv/peer
: > anchors
for zone in SIGNED; do
  key=$(ldns-keygen -a ECDSAP256SHA256 -k "$zone")
  ldns-signzone -o "$zone" "$zone.zone" "$key"
  cat "$key.ds" >> anchors
  sed -i 's/SPOILT/g' "$zone.zone.signed"
done
exec unbound -d -c unbound.conf
"""


@contextmanager
def unbound(signed: Mapping[str, str], plain: Mapping[str, str], spoilt: tuple[str, str] = ("~", "~")) -> Iterator[str]:
    """Runs it; its address and port."""
    port = free_port()
    files = {f"{zone}.zone": _START.format(zone=zone, records=records) for zone, records in {**signed, **plain}.items()}
    places = {**{zone: f"{zone}.zone.signed" for zone in signed}, **{zone: f"{zone}.zone" for zone in plain}}
    zones = "".join(_ZONE.format(zone=zone, file=file) for zone, file in places.items())
    script = _RUN.replace("SIGNED", " ".join(signed)).replace("SPOILT", "/".join(spoilt))
    with instance("unbound", script, {**files, "unbound.conf": _CONF.format(port=port, zones=zones)}) as inside:
        deadline = time.monotonic() + START_SECONDS
        question = dns.message.make_query(f"ns.{next(iter(places))}.", "A")
        while time.monotonic() < deadline and inside.process.poll() is None:
            with suppress(OSError, dns.exception.DNSException, socket.timeout):
                dns.query.udp(question, "127.0.0.1", 1, port)
                break
            time.sleep(0.1)
        else:
            raise PeerBroken(f"unbound does not answer\n{inside.log()[-3000:]}")
        yield f"127.0.0.1:{port}"
