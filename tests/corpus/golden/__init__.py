"""What leaves for each letter that we know, each notice, each decision of some lives: every octet, every word.

`python -m tests.corpus.golden` writes the .txt files anew.  What a change of repair, rewriting, transfer encoding, notices
or attempts does shows in them as a difference to read before it is committed.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from relay.mail.address import Address
from relay.mail.dsn import Notice
from relay.mail.message import Message
from relay.mail.policy import RepairPolicy
from relay.mail.recode import seven_bit
from relay.mail.repair import Repaired
from relay.mail.rewrite import Identity, rewrite
from tests.corpus.golden import attempts, notices, rewrites, texts
from tests.corpus.golden.letters import LETTERS as GAPS
from tests.fuzz.mutations import CORPUS
from tests.support.letters import NAS, about, octets, repaired

PLACE = Path(__file__).parent
ACCOUNT = Identity(Address("taro", "isp.example"), frozenset({"isp.example"}))
OTHER = RepairPolicy(date_skew=timedelta(days=20_000), fallback_charset=("utf-8", "euc-jp"))
_LONGEST = 20_000  # octets: larger letters are the device corpus's, played whole in test_device_mail
_END = "\n"
_KEPT = 1_500  # octets of a body that are shown
ZONE = "Asia/Tokyo"  # the hour of a Received field is that of this machine

_LETTERS: dict[str, dict[str, bytes]] = {
    "devices": {
        file.stem: file.read_bytes() for file in sorted(CORPUS.glob("message/*.eml")) if file.stat().st_size < _LONGEST
    },
    "gaps": GAPS,
}


def _known() -> Iterator[tuple[str, str, Callable[[], str]]]:
    """File of tests/corpus/golden, name, and what makes the text under that name."""
    for file, letters in _LETTERS.items():
        yield from ((file, name, partial(leaves, content)) for name, content in letters.items())
    for name, compose in notices.notices():
        yield "notices", name, partial(_notice, compose)
    for name, make in texts.texts():
        yield "texts", name, make
    for name, make in rewrites.texts():
        yield "rewrites", name, make
    for seed in range(attempts.LIVES):
        yield "attempts", f"life {seed}", partial(attempts.life, seed)


def _notice(compose: Callable[[], Notice]) -> str:
    notice = compose()
    lines = [notice.subject, notice.message_id, *notice.text.split("\n"), *_shown(notice.content)]
    return (
        "\n".join(
            line.translate(_VISIBLE).encode("ascii" if "\ud800" in line else "utf-8", "backslashreplace").decode()
            for line in lines
        )
        + "\n"
    )


def leaves(content: bytes) -> str:
    """What leaves: mended, then in the account's own name, then in seven bits; of the later ones what is new."""
    mended = repaired(content)
    lines = [*_notes(mended.notes), *_shown(octets(mended.message))]
    lines.append(f"({mended.size} octets, eight bit: {mended.eight_bit}, utf8: {mended.utf8})")
    told: list[str] = []
    for title, own_name in (("for the account", False), ("for an account that is refused this sender", True)):
        rewritten = rewrite(mended.message, NAS, ACCOUNT, own_name=own_name)
        said = [f"<{rewritten.reverse_path}>", *_notes(rewritten.notes), *_new(rewritten.message, mended.message)]
        lines += ["", f"# {title}", *said] if said != told else []
        told = said
    if not octets(mended.message).isascii():
        narrow = seven_bit(mended.message)
        lines += ["", "# in seven bits", *_new(narrow, mended.message), *_shown(b"".join(narrow.body))]
    if not content.isascii():
        lines += _otherwise("where the device said SMTPUTF8", mended, repaired(content, about(utf8=True)))
    lines += _otherwise("where the id is known for another message", mended, repaired(content, about(repeated_id=True)))
    lines += _otherwise("with another `repair` section", mended, repaired(content, policy=OTHER))
    return "\n".join(lines) + "\n"


def _otherwise(title: str, mended: Repaired, other: Repaired) -> list[str]:
    notes = _notes(tuple(note for note in other.notes if note not in mended.notes))
    said = [*notes, *_new(other.message, mended.message)]
    return ["", f"# {title}", *said] if said else []


def _notes(notes: tuple[str, ...]) -> Iterator[str]:
    return (f"- {note}" for note in notes)


def _new(message: Message, before: Message) -> list[str]:
    known = [field.raw for field in before.fields]
    return _shown(b"".join(field.raw for field in message.fields if field.raw not in known))


def _shown(content: bytes) -> list[str]:
    """Lines that a person can read and git can compare; an octet that is no character becomes `\\xNN`."""
    if content and not content.endswith(b"\r\n"):
        return ["(no line end at the end)", *_shown(content + b"\r\n")]
    lines = content.replace(b"\\", b"\\\\").split(b"\r\n")[:-1]
    shown = [f"> {line.decode('utf-8', 'backslashreplace').translate(_VISIBLE)}" if line else ">" for line in lines]
    if sum(map(len, shown)) <= len(content.partition(b"\r\n\r\n")[0]) + _KEPT:
        return shown
    return [*shown[:30], f"({len(shown)} lines)", *shown[-10:]]


_VISIBLE = {number: f"\\x{number:02x}" for number in (*range(32), 127, *range(0x80, 0xA0), 0x2028, 0x2029) if number != 9}


def read(file: str) -> dict[str, str]:
    """Name -> what leaves, as it was when it was last looked at."""
    text = (PLACE / f"{file}.txt").read_text(encoding="utf-8")
    parts = text.split("\n\n==== ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].rstrip("\n") + "\n" for part in parts}


def write() -> None:
    for file, known in KNOWN.items():
        parts = [f"Made by `python -m tests.corpus.golden`: {len(known)} texts."]
        parts += [f"==== {name}\n{make().removesuffix(_END)}" for name, make in known.items()]
        (PLACE / f"{file}.txt").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


KNOWN: dict[str, dict[str, Callable[[], str]]] = {}
"""File -> name -> what makes its text now."""
for _file, _name, _make in _known():
    KNOWN.setdefault(_file, {})[_name] = _make
