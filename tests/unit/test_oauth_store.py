"""The token store: private, replaced whole, and right about which of two tokens is the newer."""

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.secret import Secret
from relay.upstream.oauth.token_store import StoreBroken, StoredToken, TokenStore

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
KEPT = StoredToken(Secret("r1"), "app", "taro", NOW, NOW, NOW + timedelta(days=7), Secret("a1"), NOW + timedelta(hours=1))


def load(store, client_id="app", username="taro"):
    return store.load(client_id, username, NOW)


def test_what_is_kept_comes_back(tmp_path):
    """Tokens and times survive; the file is for its owner only, in a folder for its owner only."""
    store = TokenStore(tmp_path, "m365")
    store.save(KEPT)
    assert load(store) == KEPT
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in store.path.parent.iterdir()] == ["m365.json"]


def test_tokens_of_another_account_are_not_ours(tmp_path):
    """With another user name or application in the settings, the consent does not count."""
    store = TokenStore(tmp_path, "m365")
    assert load(store) is None
    store.save(KEPT)
    assert load(store, username="hanako") is None
    assert load(store, client_id="other") is None


def test_nothing_shows_a_secret(tmp_path):
    """Neither the value nor an error about a damaged file tells a token."""
    store = TokenStore(tmp_path, "m365")
    store.save(KEPT)
    assert "r1" not in repr(KEPT)
    store.path.write_text('{"refresh_token": "r1"')
    with pytest.raises(StoreBroken, match="is damaged; log in again") as broken:
        load(store)
    assert "r1" not in str(broken.value)


def test_a_write_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    """A medium that takes no sync is told, and the token from before is still there."""
    store = TokenStore(tmp_path, "m365")
    store.save(KEPT)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreBroken, match="No space left"):
            store.save(replace(KEPT, refresh_token=Secret("r2")))
    assert load(store) == KEPT
    assert len(list(store.path.parent.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_writes_for_the_daemon(tmp_path):
    """Who logs in with sudo leaves files that the user of the spool's folder can read."""
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 1234, 4321)
    store = TokenStore(state, "m365")
    with store.locked():
        store.save(KEPT)
    made = [store.path.parent, *store.path.parent.iterdir()]
    assert {(one.stat().st_uid, one.stat().st_gid) for one in made} == {(1234, 4321)}
    assert sorted(one.name for one in made) == ["m365.json", "m365.lock", "oauth"]


def test_what_a_crash_left_is_overwritten(tmp_path):
    """A half-written file from before is no trouble, and does not stay."""
    store = TokenStore(tmp_path, "m365")
    store.path.parent.mkdir()
    (store.path.parent / ".m365.json.new").write_text('{"refresh')
    store.save(KEPT)
    assert load(store) == KEPT
    assert [one.name for one in store.path.parent.iterdir()] == ["m365.json"]


def test_the_folder_is_synced_after_the_rename(tmp_path, monkeypatch):
    """File first, then rename, then folder: else a power cut brings the old token back."""
    real, order = os.fsync, []

    def spy(handle):
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        order.append(store.path.exists())
        real(handle)

    store = TokenStore(tmp_path, "m365")
    monkeypatch.setattr(os, "fsync", spy)
    store.save(KEPT)
    assert order == ["file", False, "folder", True]


class TestNamedFile:
    """`refresh_token_file`: a bare token that a person put there."""

    @pytest.fixture
    def named(self, tmp_path):
        file = tmp_path / "m365.token"
        file.write_text("given\n")
        return file

    @pytest.fixture
    def store(self, tmp_path, named):
        return TokenStore(tmp_path / "state", "m365", str(named))

    def test_is_taken_over(self, store):
        """Without anything kept, the file's token is the one, consented to now."""
        assert load(store) == StoredToken(Secret("given"), "app", "taro", NOW, NOW)

    def test_follows_each_rotation(self, store, named):
        """It holds the newest token, bare, for its owner only."""
        store.save(KEPT)
        assert named.read_text() == "r1\n"
        assert stat.S_IMODE(named.stat().st_mode) == 0o600
        assert load(store) == KEPT

    def test_a_crash_between_the_two_files_loses_nothing(self, store, named):
        """The kept one knows that the file's is its forerunner."""
        store.save(KEPT)
        named.write_text("given\n")
        kept = json.loads(store.path.read_text())
        assert load(store).refresh_token == Secret("r1")
        assert kept["refresh_token"] == "r1"

    def test_a_mounted_secret_stays_as_it_is(self, store, named, monkeypatch):
        """A file that cannot be replaced is no trouble: the kept token goes on after it."""
        real = os.open

        def read_only(path, flags, *more, **named_more):
            if flags & os.O_CREAT and Path(path).parent == named.parent:
                raise OSError(30, "Read-only file system")
            return real(path, flags, *more, **named_more)

        monkeypatch.setattr(os, "open", read_only)
        store.save(KEPT)
        store.save(replace(KEPT, refresh_token=Secret("r2")))
        assert named.read_text() == "given\n"
        assert load(store).refresh_token == Secret("r2")

    def test_a_new_token_in_it_wins(self, store, named):
        """Who puts another token into the file means it."""
        store.save(KEPT)
        named.write_text("newer\n")
        assert load(store) == StoredToken(Secret("newer"), "app", "taro", NOW, NOW)
