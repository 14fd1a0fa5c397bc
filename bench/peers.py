"""The relays that are measured, each with the configuration a person would give it: one smarthost, with TLS and a login.

A peer runs in the foreground on a loopback port, with all its files below one directory, and is ended by its process id.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Place:
    """Where a peer lives, listens and sends to.  `ca`: the sink's certificate; None: the sink speaks neither TLS nor AUTH."""

    directory: Path
    port: int
    sink_port: int
    ca: Path | None
    user: str
    password: str


class Peer:
    name = ""
    promise = ""
    """What its 250 means."""
    home: Path = Path("/")
    settles_s = 0.0
    """Seconds after the start when what it does once, for itself, is over."""

    def missing(self) -> str:
        """Why it cannot run here, and what to do about it; "" if it can."""
        return ""

    def version(self) -> str:
        raise NotImplementedError

    def prepare(self, place: Place, environment: Mapping[str, str]) -> None:
        raise NotImplementedError

    def command(self, place: Place) -> list[str]:
        raise NotImplementedError

    def list_queue(self, place: Place) -> list[str]:
        raise NotImplementedError

    def retry_all(self, place: Place) -> list[str]:
        raise NotImplementedError

    def waiting(self, place: Place) -> int:
        """Messages in the queue."""
        raise NotImplementedError


class Relay(Peer):
    name = "relay"
    promise = "committed to SQLite and synced"
    home = ROOT
    settles_s = 13.0  # ten seconds after the start it looks around once, as `relay doctor` does, in a process of its own
    python = os.environ.get("BENCH_PYTHON", sys.executable)

    def _words(self, *words: str) -> list[str]:
        return [self.python, "-m", "relay", *words]

    def version(self) -> str:
        script = "import platform; print(platform.python_version(), platform.python_compiler())"
        python = subprocess.run([self.python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        said = subprocess.run(self._words("version"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return f"{said.splitlines()[0]}, Python {python}"

    def prepare(self, place: Place, environment: Mapping[str, str]) -> None:
        # What is installed has its bytecode; a checkout that may not write any would compile at each start.
        subprocess.run([self.python, "-m", "compileall", "-q", ROOT / "relay"], check=True)
        (place.directory / "spool").mkdir(mode=0o700)
        upstream: dict[str, object] = {"host": "127.0.0.1", "port": place.sink_port, "sender": "nas@bench.test"}
        if place.ca:
            secret = place.directory / "password"
            secret.write_text(place.password)
            secret.chmod(0o600)
            upstream |= {"tls": "starttls", "ca_file": str(place.ca), "username": place.user, "password_file": str(secret)}
        else:
            upstream |= {"tls": "none", "auth": "none"}
        config = {
            "hostname": "relay.bench.test",
            "listen": [{"address": f"127.0.0.1:{place.port}"}],
            # All load comes from one address here: what is 20 for one device at home is for all of them together.
            "limits": {"connections": 1200, "per_client": 1200, "messages_per_minute": 1_000_000},
            "spool": {"url": f"sqlite:{place.directory}/spool/spool.db", "max_message": "60MB"},
            "upstreams": {"sink": upstream},
            "web": {"address": "127.0.0.1:0"},
            "log": {"format": "json"},
        }
        (place.directory / "config.yaml").write_text(json.dumps(config))

    def command(self, place: Place) -> list[str]:
        return self._words("run", "--config", f"{place.directory}/config.yaml")

    def list_queue(self, place: Place) -> list[str]:
        return self._words("queue", "list", "--config", f"{place.directory}/config.yaml")

    def retry_all(self, place: Place) -> list[str]:
        return self._words("queue", "retry", "--all", "--config", f"{place.directory}/config.yaml")

    def waiting(self, place: Place) -> int:
        with closing(sqlite3.connect(f"file:{place.directory}/spool/spool.db?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM message WHERE over_at IS NULL").fetchone()[0])


class Postfix(Peer):
    """As Debian's installer sets up a smarthost ("satellite system"), in a directory of its own."""

    name = "postfix"
    promise = "queue file synced"
    more: Mapping[str, str] = {}

    def missing(self) -> str:
        if not Path("/usr/lib/postfix/sbin/master").exists():
            return "not installed: apt install postfix libsasl2-modules"
        return "" if os.geteuid() == 0 else "needs root (its processes change their user)"

    def version(self) -> str:
        words = ["/usr/sbin/postconf", "-d", "-h", "mail_version"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def prepare(self, place: Place, environment: Mapping[str, str]) -> None:
        etc, data = place.directory / "etc", place.directory / "data"
        for folder in (etc, data, place.directory / "queue"):
            folder.mkdir()
        shutil.chown(data, "postfix")
        relayhost = f"[127.0.0.1]:{place.sink_port}"
        settings = {
            "compatibility_level": "3.6",
            "smtpd_banner": "$myhostname ESMTP $mail_name (Debian/GNU)",
            "biff": "no",
            "append_dot_mydomain": "no",
            "myhostname": "relay.bench.test",
            "mydestination": "$myhostname, localhost",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "alias_database": "",
            "mailbox_size_limit": "0",
            "recipient_delimiter": "+",
            "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4",
            "relayhost": relayhost,
            "queue_directory": f"{place.directory}/queue",
            "data_directory": str(data),
            "maillog_file": f"{place.directory}/mail.log",
            "maillog_file_prefixes": "/",
            "message_size_limit": "62914560",
            "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
        }
        if place.ca:
            (etc / "passwords").write_text(f"{relayhost} {place.user}:{place.password}\n")
            settings |= {
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_password_maps": f"texthash:{etc}/passwords",
                "smtp_sasl_security_options": "noanonymous",
                "smtp_tls_security_level": "secure",
                "smtp_tls_secure_cert_match": "sink.bench.test",
                "smtp_tls_CAfile": str(place.ca),
            }
        if environment:
            default = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME"
            settings["import_environment"] = " ".join([default, *environment])
        settings |= self.more
        (etc / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        (etc / "master.cf").write_text(self._services(place))

    def _services(self, place: Place) -> str:
        text = Path("/usr/share/postfix/master.cf.dist").read_text()
        text = re.sub(r"^smtp +inet .*$", f"127.0.0.1:{place.port} inet n - n - - smtpd", text, flags=re.M)
        text = re.sub(r"^#(tlsproxy +unix|postlog +unix-dgram)", r"\1", text, flags=re.M)
        return re.sub(r"^(\S+ +(?:unix|unix-dgram|fifo|inet) +\S+ +\S+ +)y", r"\1n", text, flags=re.M)  # no chroot

    def command(self, place: Place) -> list[str]:
        return ["/usr/sbin/postfix", "-c", f"{place.directory}/etc", "start-fg"]

    def list_queue(self, place: Place) -> list[str]:
        return ["/usr/sbin/postqueue", "-c", f"{place.directory}/etc", "-p"]

    def retry_all(self, place: Place) -> list[str]:
        return ["/usr/sbin/postqueue", "-c", f"{place.directory}/etc", "-f"]

    def waiting(self, place: Place) -> int:
        folders = [place.directory / "queue" / name for name in ("maildrop", "incoming", "active", "deferred")]
        return sum(file.is_file() for folder in folders for file in folder.rglob("*"))


class TunedPostfix(Postfix):
    """With what its documentation advises for one busy smarthost: TLS connections used again, no throttle at reception."""

    name = "postfix-tuned"
    more: Mapping[str, str] = {"smtp_tls_connection_reuse": "yes", "in_flow_delay": "0"}


PEERS: dict[str, Peer] = {peer.name: peer for peer in (Postfix(), TunedPostfix(), Relay())}
