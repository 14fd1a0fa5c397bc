"""DKIM keys in files: made once, never replaced, and what cannot be used is told with its reason."""

import errno
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.cli.dkim import _make_home
from relay.outbound import dkim_keys
from relay.outbound.dkim_keys import KeyUnusable, is_there, public_half, ready, sign, troubles
from relay.upstream.settings import DkimAlgorithm, DkimKey


def key(path: Path, algorithm: DkimAlgorithm = DkimAlgorithm.ED25519) -> DkimKey:
    return DkimKey("own.example", "relay", str(path), algorithm=algorithm)


def test_it_is_made_once_and_stays(tmp_path: Path) -> None:
    """The same key at every call, in a file for us alone, and nothing beside it."""
    first, again = ready(key(tmp_path / "k")), ready(key(tmp_path / "k", DkimAlgorithm.RSA))
    assert first == again and first.kind == "ed25519"
    assert os.listdir(tmp_path) == ["k"]
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


def test_several_that_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    """The daemon and `relay dkim` may both find that there is none."""
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: ready(key(tmp_path / "k")), range(6)))
    assert len({one.octets for one in made}) == 1
    assert os.listdir(tmp_path) == ["k"]


def test_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """exFAT and some shares: the key is copied to its place, and never over another."""

    def no_links(source: object, target: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(dkim_keys.os, "link", no_links)
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    made = ready(key(tmp_path / "k"))
    assert (tmp_path / "k").stat().st_uid == tmp_path.stat().st_uid  # `sudo relay dkim`: it is for the relay's user
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert public_half(tmp_path / "k") == made


def test_a_key_that_was_exchanged_is_seen(tmp_path: Path) -> None:
    """What is in the file now signs, whatever was there before."""
    first = ready(key(tmp_path / "k"))
    ready(key(tmp_path / "new", DkimAlgorithm.RSA))
    (tmp_path / "new").replace(tmp_path / "k")
    assert ready(key(tmp_path / "k")).kind == "rsa" != first.kind
    assert len(sign(tmp_path / "k", b"x" * 32)) == 256


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def broken(kind: str, path: Path) -> None:
    match kind:
        case "passphrase":
            openssl("genpkey", "-algorithm", "ED25519", "-aes256", "-pass", "pass:x", "-out", str(path))
        case "elliptic":
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))
        case "tiny":
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:768", "-out", str(path))
        case "public":
            openssl("genpkey", "-algorithm", "ED25519", "-out", f"{path}.private")
            openssl("pkey", "-in", f"{path}.private", "-pubout", "-out", str(path))
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("passphrase", "passphrase"),
        ("elliptic", "neither an RSA key nor an Ed25519 key"),
        ("tiny", "RFC 8301"),
        ("public", "no key"),
        ("directory", "directory"),
        ("link", "No such file"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, kind: str, words: str) -> None:
    """By its file and the reason; nothing that is there is ever written over."""
    path = tmp_path / "k"
    broken(kind, path)
    with pytest.raises(KeyUnusable, match=words):
        ready(key(path))
    (said,) = troubles([key(path)]).values()
    assert said.startswith("mail from own.example cannot be signed") and str(path) in said
    assert not path.is_file() or path.read_bytes()


def test_relay_dkim_makes_the_spool_s_folder_but_not_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be called before the first start; a folder of root's own would be closed to the relay's user."""
    for user, folder in ((1000, tmp_path / "a" / "spool"), (0, tmp_path / "b" / "spool")):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        _make_home(folder)
        assert folder.exists() == bool(user)
    assert stat.S_IMODE((tmp_path / "a" / "spool").stat().st_mode) == 0o700


def test_a_key_in_a_folder_that_is_closed_may_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user than the relay's must not be told that there is no key yet."""

    def closed(_: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    assert not is_there(tmp_path / "k")
    monkeypatch.setattr(Path, "lstat", closed)
    monkeypatch.setattr(Path, "stat", closed)
    assert is_there(tmp_path / "k")
    with pytest.raises(KeyUnusable, match=rf"cannot be read: Permission denied \(as user {os.geteuid()}\)"):
        ready(key(tmp_path / "k"))
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_no_folder_and_no_openssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key cannot be made in a folder that is not there, nor without the program."""
    with pytest.raises(KeyUnusable, match=f"cannot be made: there is no folder {tmp_path / 'none'}; start the relay"):
        ready(key(tmp_path / "none" / "k"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KeyUnusable, match="program `openssl` is needed"):
        ready(key(tmp_path / "k"))
    assert os.listdir(tmp_path) == []
