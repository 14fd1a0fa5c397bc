"""Where tokens are kept: one file for each upstream beside the spool, mode 0600, replaced whole and synced.

{"refresh_token", "access_token", "access_until", "granted_at", "refreshed_at", "ends_at", "client_id", "username", "seed"}

`refresh_token_file` of the settings, if named, has the bare refresh token as a person or another program put it there.  It
is taken over from there when it changes, and follows each rotation if it can be written (a mounted secret cannot).  `seed`
is the digest of what the file held when we last looked, so a crash between the two writes loses nothing.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from relay.secret import Secret

_LARGEST = 262_144


class StoreBroken(OSError):
    """The tokens cannot be read or kept; the text says why."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What is known of one account.  `granted_at`: when a person consented; `ends_at`: when that ends, if it was told."""

    refresh_token: Secret
    client_id: str
    username: str
    granted_at: datetime
    refreshed_at: datetime
    ends_at: datetime | None = None
    access_token: Secret | None = None
    access_until: datetime | None = None


class SharedTokens(Protocol):
    """Where several relays keep their tokens together instead of in files.  Every method blocks and may raise OSError."""

    def locked(self, name: str) -> AbstractContextManager[None]: ...
    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, octets: bytes) -> None: ...


class TokenStore:
    """The tokens of one upstream, in a file or in a `safe`.  Every method blocks."""

    def __init__(self, folder: Path, upstream: str, seed_file: str = "", safe: SharedTokens | None = None) -> None:
        self.path = folder / "oauth" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', upstream)}.json"
        self._seed_file = Path(seed_file) if seed_file else None
        self._safe, self._name = safe, upstream

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time, over all processes: the daemon, `relay oauth login`, the doctor.  Raises StoreBroken."""
        if self._safe is not None:
            with _translated(), self._safe.locked(self._name):
                yield
            return
        try:
            self._make_room()
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _belongs_like(self.path.parent.parent, lock)
        except OSError as error:
            raise StoreBroken(f"{self.path.parent} cannot be written: {error.strerror or error}") from error
        try:
            with suppress(OSError):  # some network file systems know no locks; then one process must do
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def load(self, client_id: str, username: str, now: datetime) -> StoredToken | None:
        """What is kept for this account; None if nothing is.  Raises StoreBroken."""
        kept, seed = self._read()
        given = self._given()
        if kept and (not given or given == kept.refresh_token.reveal() or _digest(given) == seed):
            return kept if (kept.client_id, kept.username) == (client_id, username) else None
        return StoredToken(Secret(given), client_id, username, now, now) if given else None

    def save(self, kept: StoredToken) -> None:
        """Keeps it; durable when it returns.  Raises StoreBroken, and then the old one is still there."""
        given = self._given()
        if self._safe is not None:
            with _translated():
                self._safe.write(self._name, json.dumps(_as_json(kept, _digest(given))).encode())
            return
        try:
            self._make_room()
            _replace(self.path, self.path.parent.parent, json.dumps(_as_json(kept, _digest(given)), indent=1).encode())
        except OSError as error:
            raise StoreBroken(f"{self.path} cannot be written: {error.strerror or error}") from error
        token = kept.refresh_token.reveal()
        if self._seed_file and token and given != token:
            with suppress(OSError):  # a mounted secret is read-only; `seed` says that it is the old one
                like = self._seed_file if os.path.exists(self._seed_file) else self._seed_file.parent
                _replace(self._seed_file, like, f"{token}\n".encode())

    def _make_room(self) -> None:
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _belongs_like(folder.parent, handle)
        finally:
            os.close(handle)

    def _read(self) -> tuple[StoredToken | None, str]:
        if self._safe is not None:
            with _translated():
                octets = self._safe.read(self._name) or b""
            return self._understood(octets) if octets else (None, "")
        try:
            octets = self.path.read_bytes()[:_LARGEST]
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            raise StoreBroken(f"{self.path} cannot be read: {error.strerror or error}") from error
        return self._understood(octets)

    def _understood(self, octets: bytes) -> tuple[StoredToken | None, str]:
        try:
            found = json.loads(octets)
            return _from_json(found), str(found.get("seed", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StoreBroken(f"{self.path} is damaged; log in again with `relay oauth login`") from None

    def _given(self) -> str:
        if self._seed_file is None:
            return ""
        try:
            lines = self._seed_file.read_bytes()[:_LARGEST].decode("utf-8-sig").split("\n")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StoreBroken(f"{self._seed_file} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError:
            raise StoreBroken(f"{self._seed_file} is not text") from None
        return lines[0].strip()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except StoreBroken:
        raise
    except OSError as error:
        raise StoreBroken(str(error)) from error


def _replace(path: Path, like: Path, octets: bytes) -> None:
    """Either the old or the new file is there, whatever happens; on disk when it returns.

    The new one is written beside it under a name that is always the same, so that no crash leaves a heap of tokens.
    """
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            _belongs_like(like, handle)
            opened.write(octets)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _belongs_like(other: Path, handle: int) -> None:
    """What root makes on a person's behalf (`sudo relay oauth login`) must be readable for the daemon's user."""
    if os.geteuid() == 0:
        owner = other.stat()
        with suppress(OSError):  # CIFS and the like give every file to one user anyway
            os.fchown(handle, owner.st_uid, owner.st_gid)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


_TIMES = ("granted_at", "refreshed_at", "ends_at", "access_until")


def _as_json(kept: StoredToken, seed: str) -> dict[str, str | None]:
    return {
        "refresh_token": kept.refresh_token.reveal(),
        "access_token": kept.access_token.reveal() if kept.access_token else None,
        "client_id": kept.client_id,
        "username": kept.username,
        "seed": seed,
        **{name: _written(getattr(kept, name)) for name in _TIMES},
    }


def _from_json(found: dict[str, str | None]) -> StoredToken:
    times = {name: _read_time(found.get(name)) for name in _TIMES}
    start = datetime.fromtimestamp(0, UTC)
    access = found.get("access_token")
    return StoredToken(
        refresh_token=Secret(str(found["refresh_token"] or "")),
        client_id=str(found["client_id"]),
        username=str(found["username"]),
        granted_at=times["granted_at"] or start,
        refreshed_at=times["refreshed_at"] or start,
        ends_at=times["ends_at"],
        access_token=Secret(access) if access else None,
        access_until=times["access_until"],
    )


def _written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
