"""What a person looks for among the messages, the words that each is found by, and the conditions in SQL.  Pure."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from relay.spool.entry import BEGINNING, Action, Entry, Order, State, TrailLine
from relay.spool.orders import applies, spared
from relay.spool.rows import first_line, micros, moment, plain
from relay.spool.storms import no_parts

MOST_WORDS = 8
"""Words of one search; control/searching.py refuses more."""
LONGEST_WORD = 200
_PEOPLE = 200  # characters of addresses that a message is found by without looking at its recipients
_CODE = re.compile(r"[2-5](?:\d\d|\.\d{1,3}\.\d{1,3})\Z", re.ASCII)
_CUT = "\n"
"""Ends what was cut."""


@dataclass(frozen=True, slots=True)
class Search:
    """Each word of a text must be there, in any case and order.  An empty one asks for nothing.

    `anything` is in an address, in the subject, in the device's name or address, or begins the queue id; `address` in the
    sender or a recipient; `said` in the last answer about a recipient.  Accepted from `since`, and before `until`.
    `attention`: only failures that nobody could be told of and nobody has acknowledged.  `fits`: only what this order is for.
    """

    anything: str = ""
    address: str = ""
    subject: str = ""
    device: str = ""
    said: str = ""
    since: datetime | None = None
    until: datetime | None = None
    attention: bool = False
    fits: Order | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


EVERYTHING = Search()
EVERY_STATE = frozenset(State)


class PageKey(NamedTuple):
    """Where a message stands among all others: the key of a page.  As text: `1764499200000000-7`."""

    accepted_at: datetime
    message: int

    def __str__(self) -> str:
        return f"{micros(self.accepted_at)}-{self.message}"

    @classmethod
    def read(cls, text: str) -> "PageKey | None":
        at, mark, message = text.partition("-")
        if not (mark and _is_number(at) and _is_number(message)):
            return None
        try:
            return cls(moment(int(at)), int(message))
        except OverflowError:
            return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def folded(text: str) -> str:
    """The text as it is compared: without the difference of case, and of wide and narrow letters."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def sought(entry: Entry, trail: Sequence[TrailLine]) -> dict[str, str]:
    """The columns of `message` that it is found by; the trail's first line has subject and device."""
    details = trail[0].details if trail else {}
    return _sought(
        str(entry.envelope.reverse_path or ""),
        [str(each) for each in entry.envelope.forward_paths],
        (str(details.get("subject", "")), str(details.get("device", "")), str(details.get("helo", "")) or entry.origin.helo),
        entry.origin.client,
    )


def _sought(sender: str, recipients: Collection[str], told: tuple[str, str, str], client: str) -> dict[str, str]:
    people = " ".join((sender, *recipients))
    if len(people) > _PEOPLE:
        people = people[:_PEOPLE] + _CUT
    subject, device, helo = told
    found = {"people": people, "about": _read(subject), "source": f"{device} {helo[:100]} {client}"}
    if "".join(found.values()).isascii():
        return {name: text.lower() for name, text in found.items()}
    return {name: plain(folded(text)) for name, text in found.items()}


def _read(subject: str) -> str:
    if subject.isascii() and "=?" not in subject:
        return subject
    from relay.mail.encoded_words import kept_subject  # here: the command line stores nothing and need not wait for it

    return kept_subject(subject)


def sought_before(column: str, sender: str | None, recipients: str | None, line: str | None, client: str) -> str:
    """One of them, of a message that an older version stored: sender, recipients with blanks, the trail's first line."""
    return _sought(sender or "", (recipients or "").split(" "), first_line(line or ""), client)[column]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database says it: the function that finds a text in another, a value that is given beside the query, LIKE that is
    blind to case, and the id where it is compared row by row: going through the ids instead would need sorting afterwards."""

    find: str
    mark: str
    like: str
    id: str = "id"


SQLITE, POSTGRES = Dialect("instr", ":{}", "LIKE", "+id"), Dialect("strpos", "%({})s", "ILIKE")


@dataclass(slots=True)
class Conditions:
    """Conditions on `message`, and the values that they name."""

    dialect: Dialect
    terms: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)

    def value(self, value: object) -> str:
        """Its mark in the query."""
        name = f"sought{len(self.values)}"
        self.values[name] = value
        return self.dialect.mark.format(name)

    def holds(self, column: str, mark: str) -> str:
        return f"{self.dialect.find}({column}, {mark}) > 0"


def conditions(search: Search, dialect: Dialect) -> Conditions:
    """Those that a message must meet; the cheap ones first, by columns of the index message_age."""
    found = Conditions(dialect)
    for since, sign in ((search.since, ">="), (search.until, "<")):
        if since is not None:
            found.terms.append(f"accepted_at {sign} {found.value(micros(since.astimezone(UTC)))}")
    for column, text in (("about", search.subject), ("source", search.device)):
        found.terms += [found.holds(column, found.value(word)) for word in words(text)]
    found.terms += [_of_people(found, found.value(word)) for word in words(search.address)]
    for word in _split(search.anything):
        mark = found.value(plain(folded(word)))
        anywhere = [_of_people(found, mark), found.holds("about", mark), found.holds("source", mark)]
        if BEGINNING.match(word):
            first, behind = found.value(word), found.value(word + "\x7f")
            anywhere.append(f"id IN (SELECT id FROM message WHERE queue_id >= {first} AND queue_id < {behind})")  # noqa: S608
        found.terms.append(f"({' OR '.join(anywhere)})")
    if search.attention:
        found.terms.append(f"{dialect.id} IN (SELECT id FROM message WHERE attention = 1)")  # noqa: S608
    if search.fits:
        found.terms += fitting(search.fits)
    if heard := " AND ".join(_heard(found, word) for word in _split(search.said)):
        found.terms.append(f"{dialect.id} IN (SELECT message FROM recipient WHERE {heard})")  # noqa: S608 - our own words
    return found


def _heard(found: Conditions, word: str) -> str:
    """In the text of the last answer, or one of its codes.  Case does not matter to the database either."""
    escaped = plain(word).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = found.value(f"%{escaped}%")
    said = f"said {found.dialect.like} {pattern} ESCAPE '\\'"
    if not _CODE.match(word):
        return said
    code = f"status = {found.value(word)}" if "." in word else f"code = {found.value(int(word))}"
    return f"({said} OR {code})"


def _of_people(found: Conditions, mark: str) -> str:
    theirs = f"recipient.message = message.id AND {found.holds('lower(key)', mark)}"
    more = f"EXISTS (SELECT 1 FROM recipient WHERE {theirs})"  # noqa: S608 - our own words
    return f"({found.holds('people', mark)} OR ({found.holds('people', found.value(_CUT))} AND {more}))"


def words(text: str) -> list[str]:
    """The words that are looked for, as they are compared."""
    return [plain(folded(word)) for word in _split(text)]


def _split(text: str) -> list[str]:
    return [word[:LONGEST_WORD].replace("\0", "\\x00") for word in text.split()[:MOST_WORDS]]


@lru_cache(maxsize=64)
def among(states: frozenset[State]) -> str:
    """The condition for messages with a recipient in one of these states."""
    some = ", ".join(repr(state.value) for state in State if state in states)
    return f"EXISTS (SELECT 1 FROM recipient WHERE recipient.message = message.id AND state IN ({some}))"  # noqa: S608


def fitting(order: Order) -> list[str]:
    """The conditions for messages that an order for what was found is for."""
    terms = [f"NOT {among(waits)}"] if (waits := spared(order)) else []
    if order.action is Action.ACKNOWLEDGE:
        return ["attention = 1"]
    if order.action is Action.RELEASE:
        terms.append("kept = 1")
    if order.action is not Action.REMOVE:
        terms.append(among(frozenset(applies(order)))[:-1] + f"{no_parts(order)})")
    return terms
