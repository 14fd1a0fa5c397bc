"""What others wrote costs in proportion to its length: every expression, and every parser, whatever it is fed.

A relay is one process: an expression that takes cubic time lets one letter of 14 kB stop everybody's mail.  Nothing here
looks at the clock alone; costs at one length are compared with costs at another.
"""

import ast
import contextlib
import os
import random
import re
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from re import _constants as op
from re import _parser as parser
from typing import Any

import pytest

from relay.inbound.dialect import mail_argument, rcpt_argument, read_command
from relay.inbound.end_of_data import ContentDecoder, LineEnd
from relay.mail import charset, dates, encoded_words, header_reader, line_ends, mailboxes, mime
from relay.mail.address import BadAddress, parse_address, parse_path
from relay.mail.dkim import signable
from relay.mail.dkim_record import read as read_dkim_record
from relay.mail.message import Message
from relay.mail.policy import RepairPolicy
from relay.mail.recode import seven_bit
from relay.mail.repair import repair
from relay.mail.reply import Reply
from tests.support.expressions import cost, expressions, growth, out_of_proportion, pumps
from tests.support.letters import about

ROOT = Path(__file__).parents[2]
INPUTS = 8_000 if os.environ.get("RELAY_CHAOS") == "full" else 600
"""Fuzzed inputs for each parser: 8,000 in `make chaos`, fewer in `make test`."""

SHORT = 500
DEAREST = 4

# --- expressions ---

MADE_WHEN_RUN = {
    *("relay.doctor.spf_parse", "relay.inbound.admission", "relay.inbound.dialect", "relay.mail.body_plan", "relay.mail.reply"),
    *("relay.importers.docker_postfix", "relay.config.upstreams", "relay.mail.glob", "relay.outbound.replies.verdict"),
    *("relay.recording.case", "relay.recording.masking", "relay.cli.advise", "relay.upstream.push.redact"),
}
"""Modules with an expression around a value that is escaped or is one of ours; each was read by a person."""


@pytest.mark.timeout(900)  # it counts time of its own only; a busy machine may let it wait
def test_no_expression_costs_more_than_in_proportion():
    """Each is pumped with its own pieces: the dearest pump of all to a million characters, the next to 64,000."""
    every, unknown = expressions()
    assert len(every) > 200
    assert {place.partition(":")[0] for place in unknown} <= MADE_WHEN_RUN
    found = [f"{one.name}: {said}" for one in every if (said := out_of_proportion(one.run, pumps(one.pattern)))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "bad",
    [
        r"\bMon\b.*\b\d\d:\d\d\b.*\d{4}\s*\Z",
        r"(a+)+b",
        r"(?:a|a)*b",
        r"x*y",
        r'("(?:[^"\\]|\\.)*"|[^\s"@]+)@([^\s"@]+)',
        r"(helo|ehlo)\b.*(invalid|rejected)",
        r"\s+#.*\Z",
    ],
)
def test_an_expression_out_of_proportion_is_found(bad):
    """Cubic, exponential and quadratic ones, of the kinds that were found in the relay."""
    pattern = re.compile(bad)
    assert out_of_proportion(lambda text: [*pattern.finditer(text)], pumps(pattern))


def test_no_expression_is_matched_wrongly_by_an_older_python():
    """Before 3.11.5 a possessive repeat of more than one character, and an atomic group, may match wrongly (gh-106052)."""

    def wrong(tree: Any) -> bool:
        for code, value in tree:
            if code is op.ATOMIC_GROUP or (code is op.POSSESSIVE_REPEAT and not _is_one_character(value[2])):
                return True
            parts = value if isinstance(value, (list, tuple)) else ()
            flat = [*parts, *(each for part in parts if isinstance(part, list) for each in part)]
            if any(wrong(each) for each in flat if isinstance(each, parser.SubPattern)):
                return True
        return False

    assert wrong(parser.parse("x(?:(?:ab?)*+|(?>c|d))"))
    assert wrong(parser.parse("(?:(?=((?:ab)?+)))*"))
    assert not wrong(parser.parse("[ab]*+c{1,3}+(?:x++y)*"))
    assert not [one.name for one in expressions()[0] if wrong(parser.parse(one.pattern.pattern, one.pattern.flags))]


def _is_one_character(tree: Any) -> bool:
    return len(tree) == 1 and tree[0][0] in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)


def test_no_source_has_an_expression_that_an_older_python_matches_wrongly():
    """Also where an expression is made of pieces when it is needed, and in what the tests themselves rely on."""
    doubtful = re.compile(r"\(\?>(?!\|)|(?<!\\)\)(?:[*+?]|\{\d*,?\d*\})\+")
    assert doubtful.search(r"(?:ab)*+")
    assert not doubtful.search(r"[ab]*+\)*+")
    found = []
    for folder in ("relay", "bench", "tools", "tests"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file == Path(__file__):
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                said = node.value if isinstance(node, ast.Constant) else ""
                text = said.decode("latin-1") if isinstance(said, bytes) else said if isinstance(said, str) else ""
                if doubtful.search(text):
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {text[:60]!r}")
    assert not found


# --- parsers ---

PIECES = (
    *(
        "a",
        "bc",
        "é",
        "日本",
        "@",
        ".",
        "..",
        "x.y",
        " ",
        "  ",
        "\t",
        "\r\n",
        "\r\n ",
        "\n",
        "\r",
        "\0",
        "\x1b$B",
        "\x1b(B",
        "\xff",
    ),
    *('"', "\\", '\\"', "'", "<", ">", "(", ")", "[", "]", ",", ";", ":", "=", "=?", "?=", "=?utf-8?B?5rip?=", "=?x?Q?a_=20?="),
    *(
        "Subject: ",
        "From: ",
        "To: ",
        "Date: ",
        "Content-Type: ",
        "X: y\r\n",
        "From a Mon Jan 1 00:00:00 2024",
        "Mon ",
        "00:00",
        "2024",
    ),
    *(
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: message/rfc822\r\n\r\n",
        "--b\r\n",
        "--b",
        "--b--",
        "--",
        "b=c;",
    ),
    *(
        "charset=",
        "boundary=",
        "text/plain",
        "Content-Transfer-Encoding: base64\r\n",
        "AAAA",
        "=20",
        "=\r\n",
        "+09:00",
        "GMT",
        "1",
    ),
    *(
        "日",
        "月",
        "年",
        "5.7.1 ",
        "SIZE=",
        "FROM:",
        "TO:",
        "mailto:",
        "group: ",
        "&#8217;",
        "%20",
        ".\r\n",
        "\r\n.\r\n",
        "\r\r\n",
    ),
)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _blocks(octets: bytes) -> list[bytes]:
    return [octets[place : place + 65_536] for place in range(0, len(octets), 65_536)]


def _letter(text: str) -> None:
    """The whole way of a letter: repair, and seven bits."""
    whole = repair(_blocks(_octets(text)), about(), RepairPolicy())
    for _ in seven_bit([b"".join(whole.message)]):
        pass


def _signable(before: str, text: str) -> None:
    found = signable(_blocks(_octets(before + text)))
    assert found.authors is not None
    assert found.signers is not None


def _tolerant(function: Callable[[str], object]) -> Callable[[str], None]:
    def run(text: str) -> None:
        with contextlib.suppress(BadAddress):
            function(text)

    return run


def _content(line_end: LineEnd) -> Callable[[str], None]:
    def run(text: str) -> None:
        decoder = ContentDecoder(line_end)
        for block in _blocks(_octets(text)):
            if not decoder.ended:
                decoder.feed(block)

    return run


PARSERS: dict[str, Callable[[str], object]] = {
    "parse_address": _tolerant(parse_address),
    "parse_path": _tolerant(parse_path),
    "read_command": lambda text: read_command(_octets(text)),
    "mail_argument": _tolerant(lambda text: mail_argument("FROM:" + text)),
    "rcpt_argument": _tolerant(lambda text: rcpt_argument("TO:" + text)),
    "read_mailboxes": mailboxes.read_mailboxes,
    "is_regular": lambda text: mailboxes.is_regular(_octets(text)),
    "is_regular in UTF-8": lambda text: mailboxes.is_regular(_octets(text), utf8=True),
    "count_with_utf8": lambda text: mailboxes.count_with_utf8(_octets(text)),
    "has_group": lambda text: mailboxes.has_group(_octets(text)),
    "with_commas": mailboxes.with_commas,
    "decode_words": encoded_words.decode_words,
    "hides_controls": encoded_words.hides_controls,
    "encode_text": encoded_words.encode_text,
    "readable": encoded_words.readable,
    "fold": lambda text: encoded_words.fold("X", text),
    "read_lenient": lambda text: dates.read_lenient(text, UTC),
    "read_exact": dates.read_exact,
    "read_content_type": lambda text: mime.read_content_type(_octets(text)),
    "is_misread": lambda text: mime.is_misread(_octets(text)),
    "with_param": lambda text: mime.with_param(_octets(text), "boundary", "b"),
    "decode": lambda text: charset.decode(_octets(text), "cp932"),
    "vote": lambda text: charset.vote([_octets(text)], ("cp932", "euc_jp", "cp1252")),
    "Reply.of": lambda text: Reply.of(550, text),
    "read_head": lambda text: header_reader.read_header(_blocks(_octets(text))),
    "Message.parse": lambda text: [*Message.parse(_blocks(_octets(text)))],
    "blocks": lambda text: [line_ends.crlf(block) for block in line_ends.blocks(_blocks(_octets(text)))],
    "split": lambda text: line_ends.split(_octets(text)),
    "content after CRLF": _content(LineEnd.CRLF),
    "content after LF": _content(LineEnd.LF),
    "content after CR": _content(LineEnd.CR),
    "a letter": _letter,
    "a letter's body": lambda text: _letter("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + text),
    "whose mail is signed": lambda text: _signable("From: x\r\n", text),
    "who has signed": lambda text: _signable("DKIM-Signature: d=x; ", text),
    "a body to sign": lambda text: _signable("From: x\r\n\r\n", text),
    "a DKIM record": read_dkim_record,
    "a part": lambda text: _letter("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + text),
}


def _makers(seed: str) -> list[Callable[[int], str]]:
    """So many texts, each some pieces in a row again and again, behind some that come once."""
    chance = random.Random(seed)

    def one() -> Callable[[int], str]:
        start = "".join(chance.choices(PIECES, k=chance.randint(0, 3)))
        first = "".join(chance.choices(PIECES, k=chance.randint(1, 4)))
        second = "".join(chance.choices(PIECES, k=chance.randint(1, 3)))
        if chance.random() < 0.5:
            return lambda n: start + first * (n // len(first))
        return lambda n: start + first * (n // 2 // len(first)) + second * (n // 2 // len(second))

    return [one() for _ in range(INPUTS)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_costs_more_than_in_proportion(name):
    """Fuzzed inputs of some hundred characters; those that cost the most are made longer and longer."""
    run = PARSERS[name]
    priced = sorted(
        ((cost(run, make(SHORT), 1), place, make) for place, make in enumerate(_makers(name))), key=lambda each: -each[0]
    )
    for rank, (_, _, make) in enumerate(priced[:DEAREST]):
        assert not (said := growth(run, make, 16_000 if rank else 256_000)), f"{said}: {make(200)!r}"
