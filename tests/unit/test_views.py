"""What people and programs see of the spool."""

import json
from datetime import UTC, datetime

from relay.control.views import message_view, story_view, tally_view
from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool.entry import Entry, Recipient, State, StoredEntry, Tally, TrailLine

WHEN = datetime(2026, 11, 22, 10, 20, 30, 999_999, tzinfo=UTC)


NAS = Address("nas", "home.example")


def stored(reverse_path: Address | None = NAS) -> StoredEntry:
    to = Address("me", "example.jp")
    entry = Entry("00f0q8m3zk1x2v", WHEN, Origin("192.168.1.9", "nas"), Envelope(reverse_path, (to,)), 321, ())
    row = Recipient(to, State.QUEUED, 2, WHEN, "isp", "mail", 552, "5.7.1", "not yours", "")
    return StoredEntry(entry, (row,), (TrailLine(WHEN, "accepted", "from a NAS", {"client": "192.168.1.9"}),))


def test_a_message_has_the_stable_keys_of_the_contract():
    """`queue list --json` shows id, sender, size, accepted_at and, per recipient, the last answer."""
    view = message_view(stored())
    assert {"id", "sender", "size", "accepted_at", "recipients"} <= set(view)
    assert (view["id"], view["sender"], view["size"]) == ("00f0q8m3zk1x2v", "nas@home.example", 321)
    assert view["accepted_at"] == "2026-11-22T10:20:30Z"
    (row,) = view["recipients"]
    assert {"address", "state", "attempts", "due_at", "upstream", "code", "status", "said"} <= set(row)
    assert (row["state"], row["code"], row["status"], row["said"]) == ("queued", 552, "5.7.1", "not yours")


def test_the_null_reverse_path_is_shown_as_the_envelope_says_it():
    """A DSN's sender is `<>`, not an empty string that looks like a missing value."""
    assert message_view(stored(None))["sender"] == "<>"


def test_the_trail_keeps_its_order_and_its_particulars():
    """`queue show --json` adds the trail; each line has time, event, text and its details."""
    view = story_view(stored())
    assert view["trail"] == [{"at": "2026-11-22T10:20:30Z", "event": "accepted", "text": "from a NAS", "client": "192.168.1.9"}]
    assert view["origin"]["helo"] == "nas"
    assert json.loads(json.dumps(view)) == view


def test_an_empty_spool_has_no_oldest():
    """The tally of an empty spool can be printed too."""
    view = tally_view(Tally({State.QUEUED: 0}, 0, None, 10, 4096))
    assert view == {"recipients": {"queued": 0}, "unfinished": 0, "oldest": None, "room": 10, "size": 4096}
