"""What a message is found by, and the key of a page."""

from datetime import UTC, datetime

import pytest

from relay.spool.entry import TrailLine
from relay.spool.search import POSTGRES, SQLITE, PageKey, Search, conditions, folded, sought, sought_before, words
from tests.support.spooled import an_entry

NOW = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "same"),
    [("Backup", "bACKUP"), ("Straße", "STRASSE"), ("ＦＡＸ", "fax"), ("ﾌﾟﾘﾝﾀ", "プリンタ"), ("Σίσυφος", "ΣΊΣΥΦΟΣ")],
)
def test_spellings_that_are_the_same(text: str, same: str) -> None:
    """Case and width make no difference."""
    assert folded(text) == folded(same)


def test_what_a_message_is_found_by_is_bounded() -> None:
    """Many recipients: the first ones, and a mark that there are more; odd octets can be stored."""
    entry = an_entry("q" * 14, NOW, to=[f"{number}@x.example" for number in range(500)])
    found = sought(entry, (TrailLine(NOW, "accepted", "", {"subject": "\udcff\udcfe x", "device": "D"}),))
    assert len(found["people"]) < 250
    assert found["people"].endswith("\n")
    assert found["source"].startswith("d nas ")
    for text in found.values():
        text.encode()


def test_a_message_of_an_older_version_is_found_by_the_same() -> None:
    """What the migration makes of the stored columns is what a new message gets."""
    entry = an_entry("q" * 14, NOW, to=("a@x.example", "b@x.example"))
    line = TrailLine(NOW, "accepted", "", {"subject": "=?utf-8?B?5YGc6Zu7?=", "device": "NAS", "helo": "nas"})
    stored = '["", {"subject": "=?utf-8?B?5YGc6Zu7?=", "device": "NAS", "helo": "nas"}]'
    older = {
        name: sought_before(name, "nas@lan.local", "a@x.example b@x.example", stored, "192.168.0.9")
        for name in ("people", "about", "source")
    }
    assert sought(entry, (line,)) == older
    assert sought_before("about", None, None, None, "") == ""


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-2-3", "x-1", "1-x", "٣-1", "9" * 19 + "-1", f"{'9' * 18}-1", "1 -1"])
def test_what_is_no_place(text: str) -> None:
    """A key that somebody made up leads nowhere, and breaks nothing."""
    assert PageKey.read(text) is None


def test_words_of_strangers_are_values_only() -> None:
    """Nothing that is searched for gets into the query itself."""
    search = Search("x' OR 1=1 --", "%s", ":sought0", "%(at)s", "550 5.1.1 zzz\\", NOW, NOW, attention=True)
    for dialect in (SQLITE, POSTGRES):
        found = conditions(search, dialect)
        assert not any(said in " ".join(found.terms) for said in ("1=1", "%s ", "zzz", "%(at)s", "550"))
        assert all(dialect.mark.format(name) in " ".join(found.terms) for name in found.values)


def test_a_search_has_bounds() -> None:
    """A few words of some length are looked for."""
    assert len(words("a " * 100)) == 8
    assert len(words("a" * 1000)[0]) == 200
