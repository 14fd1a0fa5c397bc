"""OAuth tokens in the spool's database: one relay at a time asks for a new one, all of them use it."""

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import Connection

from relay.spool.contract import SpoolBroken, SpoolSettings
from relay.spool.postgres.connections import complete, words
from relay.spool.postgres.schema import prepare


class PostgresTokenStore:
    """Named octets, each behind a row lock.  Every method blocks and raises OSError when the server cannot be reached.

    The lock is a row of its own, so that what is kept under it is committed before it goes.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self._where = complete(settings.url, settings.password.reveal(), settings.name)
        self._prepared = False

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with contextlib.closing(psycopg.connect(self._where, autocommit=True)) as db:
                if not self._prepared:
                    prepare(db)
                    self._prepared = True
                db.execute("SET synchronous_commit = on")
                yield db
        except (psycopg.Error, SpoolBroken) as error:
            raise OSError(f"PostgreSQL: {words(error)}") from error

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One at a time, over all relays and commands."""
        with self._connected() as db:
            db.execute("INSERT INTO token_lock (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
            with db.transaction():
                db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                db.execute("SELECT 1 FROM token_lock WHERE name = %s FOR UPDATE", (name,))
                yield

    def read(self, name: str) -> bytes | None:
        with self._connected() as db:
            row = db.execute("SELECT octets FROM token WHERE name = %s", (name,)).fetchone()
            return bytes(row[0]) if row else None

    def write(self, name: str, octets: bytes) -> None:
        """Durable when it returns."""
        with self._connected() as db:
            db.execute(
                "INSERT INTO token (name, octets) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET octets = excluded.octets",
                (name, octets),
            )
