"""DKIM keys in files: made, read and used by the `openssl` program, so that no library is needed and no key is in memory.

What is signed is a digest, so whatever the size of the message, `openssl` gets 32 octets.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from relay.detached import environment
from relay.mail.dkim_record import NoKey, PublicKey, public_key
from relay.upstream.settings import DkimAlgorithm, DkimKey
from relay.upstream.state_file import belongs_like, sync

_PATIENCE = 20.0
_MAKING = 60.0
"""Seconds; a Raspberry Pi takes up to ten to make an RSA key with 2048 bits."""

_MAKE = {
    DkimAlgorithm.RSA: ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    DkimAlgorithm.ED25519: ("-algorithm", "ED25519"),
}
_SIGN = {"rsa": ("-pkeyopt", "digest:sha256"), "ed25519": ("-rawin",)}


class KeyUnusable(Exception):
    """A key cannot be made, read or used; the text says why and names the file."""


def ready(key: DkimKey) -> PublicKey:
    """The public half of a key; makes the key where its file is not there.  Blocks.  Raises KeyUnusable."""
    path = Path(key.key_file)
    if not is_there(path):
        _make(path, key.algorithm)
    return public_half(path)


def existing(key: DkimKey) -> PublicKey | None:
    """The same, but it makes none: None if there is no key yet."""
    path = Path(key.key_file)
    return public_half(path) if is_there(path) else None


def is_there(path: Path) -> bool:
    """Whether there is such a file, or may be one: in a folder that is closed to us nobody can tell."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _why(error: OSError) -> str:
    who = f" (as user {os.geteuid()})" if isinstance(error, PermissionError) else ""
    return f"{error.strerror or error}{who}"


def public_half(path: Path) -> PublicKey:
    """The public half of a key that is there.  Blocks.  Raises KeyUnusable."""
    try:
        seen = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {_why(error)}") from None
    return _public_half(path, (seen.st_ino, seen.st_size, seen.st_mtime_ns))


@lru_cache(maxsize=64)
def _public_half(path: Path, _state: tuple[int, int, int]) -> PublicKey:
    der = _openssl(path, "pkey", "-in", str(path), "-passin", "pass:", "-pubout", "-outform", "DER")
    try:
        found = public_key(der)
    except NoKey as error:
        raise KeyUnusable(f"{path} cannot be used for DKIM: {error}") from None
    if found.kind == "rsa" and found.bits < 1024:
        raise KeyUnusable(f"{path} cannot be used for DKIM: an RSA key of {found.bits} bits, and RFC 8301 wants at least 1024")
    return found


def sign(path: Path, digest: bytes) -> bytes:
    """The signature over a SHA-256 digest.  Blocks.  Raises KeyUnusable."""
    how = _SIGN[public_half(path).kind]
    held = os.memfd_create("digest")  # Ed25519 is not signed from a pipe, and there may be nowhere to write
    try:
        os.write(held, digest)
        command = ("pkeyutl", "-sign", "-inkey", str(path), "-passin", "pass:", *how, "-in", f"/proc/self/fd/{held}")
        return _openssl(path, *command, hand_on=(held,))
    finally:
        os.close(held)


def troubles(keys: Iterable[DkimKey]) -> dict[str, str]:
    """Which keys cannot be used, and why, by their files; makes those that are not there."""
    found = {}
    for key in keys:
        try:
            ready(key)
        except KeyUnusable as error:
            found[key.key_file] = f"mail from {key.domain} cannot be signed: {error}"
    return found


def _make(path: Path, algorithm: DkimAlgorithm) -> None:
    """The file appears whole, for our eyes only, and never in the place of another: several may make it at once."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".dkim-") as folder:  # mode 0700
            new = Path(folder, "key.pem")
            _openssl(path, "genpkey", *_MAKE[algorithm], "-out", str(new), seconds=_MAKING)
            new.chmod(0o600)
            with new.open("rb") as opened:
                belongs_like(path.parent, opened.fileno())
            sync(new)  # a key that was published and is gone after a power cut would make every signature wrong
            _placed(new, path)
            sync(path.parent)
    except FileNotFoundError:
        cure = "start the relay, which makes that of its spool, or make it for the relay's user"
        raise KeyUnusable(f"{path} cannot be made: there is no folder {path.parent}; {cure}") from None
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be made: {_why(error)}") from None


def _placed(new: Path, path: Path) -> None:
    """Another process may have been quicker: then its key is the one."""
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:  # exFAT and some shares have no links
        with suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as opened:
                belongs_like(path.parent, handle)
                opened.write(new.read_bytes())
            sync(path)


def _openssl(path: Path, *words: str, hand_on: tuple[int, ...] = (), seconds: float = _PATIENCE) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - our own words and a file that the settings name
            ["openssl", *words],  # noqa: S607
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env=environment(LC_ALL="C"),
            pass_fds=hand_on,
            start_new_session=True,  # Ctrl-C in a terminal is for the relay
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeyUnusable(f"the program `openssl` is needed for DKIM and cannot be run: {error}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise KeyUnusable(f"{path} holds no key without a passphrase that `openssl` can use: {said[0]}")
    return done.stdout
