"""A PostgreSQL server of the tests' own: made in a directory of its own, on a UNIX socket and a free loopback port.

    server = PostgresServer.start(directory)          skips where there is none, unless REQUIRE_PEERS is set
    url = server.database()                           an empty one for each test
    server.stop(); server.go_on()                     away, and back on the same port

One server for each process of the tests.  It does not run as root, which PostgreSQL refuses, and never touches a server
that the machine has.
"""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from relay.spool.postgres.schema import prepare
from tests.support import tools
from tests.support.peers import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
INVARIANTS = {
    "1: a message without recipients": (
        "SELECT queue_id FROM message WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message = id)"
    ),
    "2: due_at is not that of its first queued recipient": (
        "SELECT queue_id FROM message WHERE due_at IS DISTINCT FROM"
        " (SELECT min(recipient.due_at) FROM recipient WHERE message = id AND state = 'queued')"
    ),
    "3: over_at disagrees with the recipients' states": (
        "SELECT queue_id FROM message WHERE (over_at IS NULL) <>"
        " EXISTS (SELECT 1 FROM recipient WHERE message = id AND state IN ('queued', 'held'))"
    ),
    "4: content is gone that is still wanted, or kept without need": (
        "SELECT queue_id FROM message WHERE CASE WHEN kept = 1"
        " THEN NOT EXISTS (SELECT 1 FROM recipient WHERE message = id AND state <> 'relayed')"
        " ELSE EXISTS (SELECT 1 FROM recipient WHERE message = id AND state NOT IN ('relayed', 'merged')) END"
    ),
    "4: content is not whole": (
        "SELECT queue_id FROM message WHERE kept = 1 AND (size, (size + 65535) / 65536, (size + 65535) / 65536 - 1) <>"
        " (SELECT coalesce(sum(length(data)), 0), count(*), coalesce(max(seq), -1) FROM content WHERE message = message.id)"
    ),
    "4: content was to be gone": (
        "SELECT queue_id FROM message WHERE kept = 0 AND EXISTS (SELECT 1 FROM content WHERE message = message.id)"
    ),
    "5: half a lease": (
        "SELECT queue_id FROM message WHERE (owner IS NULL) <> (lease IS NULL) OR (owner IS NULL) <> (leased_until IS NULL)"
    ),
}


def binaries() -> Path | None:
    """Where initdb and postgres are; the newest of several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class PostgresServer:
    """One server process and its directory."""

    def __init__(self, directory: Path, where: Path) -> None:
        self.directory, self._where = directory, where
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @classmethod
    def start(cls) -> "PostgresServer":
        """A fresh server; skips the test where PostgreSQL is not installed."""
        where = binaries()
        if where is None:
            tools.missing("PostgreSQL (package postgresql)")
        directory = Path(tempfile.mkdtemp(prefix="relay-postgres-"))
        server = cls(directory, where)
        atexit.register(server.end)
        server._make()
        server.go_on()
        return server

    def _make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.user)
        how = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata", str(self.data)]
        subprocess.run([*self._as_user(), str(self._where / "initdb"), *how], check=True, capture_output=True, cwd="/")

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def _as_user(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["setpriv", f"--reuid={self.user}", "--regid=nogroup", "--clear-groups"]

    def go_on(self, *settings: str) -> None:
        """Starts it, with `name=value` settings, and returns when it answers."""
        said = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.directory}",
            "shared_buffers=32MB",
            "max_connections=120",
            "fsync=off",  # processes die here, not machines
            "full_page_writes=off",
            *settings,
        ]
        words = [word for one in said for word in ("-c", one)]
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), str(self._where / "postgres"), "-D", str(self.data), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("public"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError(f"PostgreSQL does not start:\n{self.said()}") from None
                time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Ends it: SIGINT throws everybody out and shuts down cleanly, SIGQUIT is as if the power failed."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(20)

    def gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def end(self) -> None:
        """Ends it and removes its directory."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def freeze(self) -> None:
        """It says nothing more, and hangs up on nobody: as behind a network that broke."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        assert self._process is not None
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    def url(self, schema: str, user: str = "postgres", *, tcp: bool = False) -> str:
        """Of the one database; a schema in it is a spool of its own."""
        place = f"127.0.0.1:{self.port}/postgres?" if tcp else f"/postgres?host={self.directory}&port={self.port}&"
        return f"postgresql://{user}@{place}options=-csearch_path%3D{schema}"

    def database(self, user: str = "postgres", *, tcp: bool = False) -> str:
        """The URL of an empty schema: much quicker to make than a database."""
        self._count += 1
        name = f"spool{self._count}"
        self.ask(self.url("public"), f"CREATE SCHEMA {name}")
        return self.url(name, user, tcp=tcp)

    def lent(self) -> str:
        """The URL of an empty spool for a role with the few rights of docs/postgres.md; another role owns the tables."""
        owner = self.database()
        schema = owner.partition("search_path%3D")[2]
        self.make_role()
        with psycopg.connect(owner, autocommit=True) as db:
            prepare(db)
            for statement in rights(schema):
                db.execute(statement)  # type: ignore[arg-type]
        return self.url(schema, "relay")

    def make_role(self) -> None:
        """The role `relay`, unless an earlier test made it."""
        if not self.ask(self.url("public"), "SELECT 1 FROM pg_roles WHERE rolname = 'relay'"):
            self.ask(self.url("public"), "CREATE ROLE relay LOGIN")

    @staticmethod
    def ask(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement by an administrator; its rows."""
        with psycopg.connect(url, autocommit=True) as db:
            done = db.execute(query, values or None)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []


def rights(schema: str) -> list[str]:
    """The statements of docs/postgres.md that give the role `relay` what it needs, for the tables in `schema`."""
    page = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    wanted = page.partition("<!-- rights -->")[2].partition("```sql\n")[2].partition("```")[0]
    statements = [one.strip() for one in wanted.replace("public", schema).split(";")]
    return [one for one in statements if one and "CREATE ROLE" not in one and "DATABASE" not in one]


def check_invariants(url: str) -> list[str]:
    """What is wrong with the spool at `url`, one line each; empty if all is well."""
    with psycopg.connect(url) as db:
        return [f"{name}: {row[0]}" for name, query in INVARIANTS.items() for row in db.execute(query)]  # type: ignore[arg-type]
