"""What is searched for, as an address of the page, a form or a program says it.  Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from relay.spool.entry import State
from relay.spool.search import EVERYTHING, MOST_WORDS, PageKey, Search

TEXTS = {"q": "anything", "address": "address", "subject": "subject", "device": "device", "said": "said"}
"""Names of what is asked for, and the fields of Search that they are."""
MOMENTS = ("since", "until")
ATTENTION = "attention"
"""Said as a state: failures that nobody could be told of."""
_LONGEST = 200  # characters of one text
_STATES = tuple(state.value for state in State)


class BadSearch(ValueError):
    """A value cannot be understood; `name` is whose."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name} is {expected}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Asked:
    """`states` None: any.  `said` has each value as it was said, to say it again."""

    states: frozenset[State] | None = None
    search: Search = EVERYTHING
    said: tuple[tuple[str, str], ...] = ()

    @property
    def query(self) -> str:
        """The same again in an address, without the question mark; "" for everything."""
        return urlencode(self.said)

    def text(self, name: str) -> str:
        """What was said of this; "" if nothing."""
        return next((value for key, value in self.said if key == name), "")

    @property
    def states_said(self) -> tuple[str, ...]:
        return tuple(value for key, value in self.said if key == "state")

    @property
    def narrowed(self) -> bool:
        """Whether something else than a state is asked for."""
        return any(key != "state" for key, _ in self.said)

    def in_state(self, state: str) -> str:
        """The query for the same in one state ("": in any)."""
        kept = [(key, value) for key, value in self.said if key != "state"]
        return urlencode([*kept, *([("state", state)] if state else [])])


def understood(pairs: Iterable[tuple[str, str]], zone: tzinfo | None = None) -> Asked:
    """Days and times without an offset are those of `zone`, None: of this machine.  What has other names is passed over.

    Raises BadSearch for a state or an hour that there is none, and for more than can be searched for: a word left out would
    match more than was asked for.
    """
    states: set[State] = set()
    texts: dict[str, str] = {}
    moments: dict[str, datetime] = {}
    said: list[tuple[str, str]] = []
    attention = False
    for name, raw in pairs:
        value = " ".join(raw.split())
        if not value or (name, value) in said or name not in (*TEXTS, *MOMENTS, "state"):
            continue
        if name in texts or name in moments:
            raise BadSearch(name, "said once")
        if len(value) > _LONGEST or value.count(" ") >= MOST_WORDS:
            raise BadSearch(name, f"a text of at most {MOST_WORDS} words and {_LONGEST} characters")
        if name == "state":
            if value == ATTENTION:
                attention = True
            elif value in _STATES:
                states.add(State(value))
            else:
                raise BadSearch("state", f"one of {', '.join(_STATES)}, {ATTENTION}")
        elif name in TEXTS:
            texts[name] = value
        else:
            moments[name] = _moment(name, value, zone)
        said.append((name, value))
    search = Search(**{TEXTS[name]: value for name, value in texts.items()}, **moments, attention=attention)  # type: ignore[arg-type]
    return Asked(frozenset(states) or None, search, tuple(said))


def _moment(name: str, value: str, zone: tzinfo | None) -> datetime:
    """`2026-11-22` is that whole day, of 23 hours or 25 where the clocks change."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise BadSearch(name, "a day such as 2026-11-22, or a time such as 2026-11-22T18:30+01:00") from None
    try:
        if name == "until" and _is_day(value):
            moment += timedelta(days=1)
        return (moment.replace(tzinfo=zone) if zone and moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # in the year 1 or 9999: before all messages, or after them
        return moment.replace(tzinfo=UTC)


def _is_day(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


def said_by(asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The pairs of a JSON object: each value a text, `state` also a list of them.  Raises BadSearch, for empty ones too."""
    pairs: list[tuple[str, str]] = []
    if not asked:
        raise BadSearch("search", "an object that says what for; for all messages leave it out")
    for name, value in asked.items():
        values: Sequence[Any] = value if isinstance(value, list) and name == "state" else [value]
        if name not in (*TEXTS, *MOMENTS, "state") or not all(isinstance(one, str) for one in values):
            raise BadSearch("search", f"an object of texts: {', '.join((*TEXTS, *MOMENTS))} and state")
        if not values or not all(one.strip() for one in values):
            raise BadSearch(name, "not empty: leave it out where nothing is asked for")
        pairs += [(name, one) for one in values]
    return pairs


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Messages, the newest first, and where to go on: older ones are behind `older`, newer ones before `newer` (None: none)."""

    messages: list[dict[str, Any]]
    newer: PageKey | None = None
    older: PageKey | None = None


def page_of(lines: Sequence[Any], limit: int, beyond: PageKey | None, *, back: bool, view: Callable[[Any], Any]) -> FoundPage:
    """The page of the lines of up to `limit` + 1 messages, read from `beyond` on; `back`: the oldest of them came first."""
    numbers = list(dict.fromkeys(line.message for line in lines))
    more = len(numbers) > limit
    shown = [line for line in lines if line.message != numbers[-1]] if more else list(lines)
    messages = view(shown)
    first, last = (shown[0], shown[-1]) if shown else (None, None)
    if back:
        messages.reverse()
        first, last = last, first
    newer = PageKey(first.accepted_at, first.message) if first and (more if back else beyond is not None) else None
    older = PageKey(last.accepted_at, last.message) if last and (more or back) else None
    return FoundPage(messages, newer, older)
