"""The configuration's file is replaced whole or not at all, and the old one stays."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.config.replacing import KEPT, Changed, hindrance, replace

NOW = datetime(2026, 11, 30, 19, 15, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def test_the_new_one_has_mode_and_owner_and_the_old_one_stays(file: Path) -> None:
    """The old one keeps its mode too; nothing half-made is left."""
    before = file.stat()
    name = replace(file, b"new", b"old", NOW)
    assert name == "config.yaml.20261130T191500Z"
    after = file.stat()
    assert (file.read_bytes(), after.st_mode, after.st_uid, after.st_gid) == (
        b"new",
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert (file.with_name(name).read_bytes(), file.with_name(name).stat().st_mode) == (b"old", before.st_mode)
    assert sorted(os.listdir(file.parent)) == ["config.yaml", name]
    assert replace(file, b"newer", b"new", NOW) == f"{name}-2"


def test_a_file_that_was_changed_meanwhile_is_left_alone(file: Path) -> None:
    """Somebody else's edit is not lost."""
    with pytest.raises(Changed):
        replace(file, b"new", b"older", NOW)
    assert file.read_bytes() == b"old"
    assert os.listdir(file.parent) == ["config.yaml"]


def test_a_link_stays_and_its_file_is_replaced(file: Path, tmp_path: Path) -> None:
    """As NixOS and configuration managers have it."""
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "config.yaml"
    link.symlink_to(file)
    assert hindrance(link) == ""
    replace(link, b"new", b"old", NOW)
    assert link.is_symlink() and file.read_bytes() == b"new"


def test_old_files_do_not_heap_up(file: Path) -> None:
    """The newest stay; what only looks alike is nobody's to remove."""
    mine = file.with_name("config.yaml.bak")
    mine.write_bytes(b"mine")
    for number in range(KEPT + 3):
        replace(file, b"%d" % (number + 1), b"%d" % number if number else b"old", NOW.replace(minute=number))
    kept = sorted(name for name in os.listdir(file.parent) if name.endswith("Z"))
    assert len(kept) == KEPT
    assert kept[-1] == f"config.yaml.20261130T19{KEPT + 2}00Z"
    assert mine.exists()


def test_a_file_system_without_second_names_gets_a_copy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT and some shares."""

    def no_link(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_link)
    name = replace(file, b"new", b"old", NOW)
    assert file.with_name(name).read_bytes() == b"old"
    assert file.with_name(name).stat().st_mode & 0o777 == 0o640


def test_why_it_cannot_be_replaced(file: Path, tmp_path: Path) -> None:
    """One word for each reason."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 0:20 / /proc rw - proc proc rw\n")
    assert hindrance(file, mounts) == ""
    odd = tmp_path / "a b.yaml"
    odd.write_bytes(b"")
    mounts.write_text(f"22 1 0:20 / {tmp_path}/a\\040b.yaml rw - ext4 /dev/sda rw\n")
    assert hindrance(odd, mounts) == "mounted"
    assert hindrance(tmp_path / "none.yaml", mounts) == "unreadable"
    assert hindrance(tmp_path, mounts) == "special"
    os.mkfifo(tmp_path / "pipe")
    assert hindrance(tmp_path / "pipe", mounts) == "special"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_may_not_be_written_is_told(file: Path) -> None:
    """The file's own protection and its folder's."""
    file.chmod(0o440)
    assert hindrance(file) == "mode"
    file.chmod(0o640)
    file.parent.chmod(0o550)
    try:
        assert hindrance(file) == "folder"
    finally:
        file.parent.chmod(0o750)
