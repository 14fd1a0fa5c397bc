"""Text in header fields: encoded-words that any reader decodes, and lines that any server takes."""

import email.policy
import re
from email.header import decode_header, make_header

import pytest

from relay.mail.encoded_words import (
    decode_words,
    encode_text,
    encode_word,
    fold,
    hides_controls,
    is_encoded,
    kept_subject,
    mend_words,
    readable,
    subject_text,
)
from relay.mail.mailboxes import write_name
from tests.corpus.reading import strict

TEXTS = ["é", "温度警報", "障害" * 40, "a" * 41 + "é", "a" * 42, "ab温" * 30, "😀" * 25, "x" * 43, "=?utf-8?B?eA==?="]


def heard(text: str) -> str:
    """As Python's own reader hears it."""
    return str(make_header(decode_header(text)))


@pytest.mark.parametrize("text", TEXTS)
def test_encoded_words_say_the_text_and_keep_the_bounds(text: str) -> None:
    """At most 75 characters each, whole characters in each (RFC 2047 s2, s5), one blank between them, and as few as can be."""
    words = encode_word(text).split(" ")
    assert heard(" ".join(words)) == decode_words(" ".join(words)) == text
    assert all(len(word) <= 75 and heard(word) for word in words)
    assert len(words) <= len(text.encode()) // 38 + 1


@pytest.mark.parametrize(("octets", "words"), [(42, 1), (43, 2), (84, 2), (85, 3), (126, 3)])
def test_no_word_more_than_needed(octets: int, words: int) -> None:
    """And none of them is empty."""
    coded = encode_word("a" * octets).split(" ")
    assert len(coded) == words and all(heard(word) for word in coded)


def test_a_surrogate_becomes_a_question_mark() -> None:
    """No text at all can make a field that cannot be written."""
    assert decode_words(encode_word("a\udcffb")) == "a?b"
    assert decode_words(encode_word("a\udcffb" * 30)) == "a?b" * 30
    assert fold("X", "a \udcff b") == b"X: a ? b\r\n"
    assert fold("X", "a \udcff " * 40).count(b"?") == 40


@pytest.mark.parametrize(
    ("text", "coded"),
    [
        ("plain  text", "plain  text"),
        ("Größe", "=?utf-8?B?R3LDtsOfZQ==?="),
        ("die Größe ist", "die =?utf-8?B?R3LDtsOfZQ==?= ist"),
        ("Öl\tund é heiß!", "=?utf-8?B?w5Zs?=\tund =?utf-8?B?w6kgaGVpw58h?="),
        ("é é x", "=?utf-8?B?w6kgw6k=?= x"),
    ],
)
def test_only_words_that_need_it_are_encoded(text: str, coded: str) -> None:
    """A run of them together with its blanks, for between two encoded-words a reader sees none (RFC 2047 s6.2)."""
    assert encode_text(text) == coded
    assert heard(coded).split() == text.split()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("x =?utf-8?q?a_b?= y", "x a b y"),
        ("=?utf-8?q?a?=  =?utf-8?b?Yg==?=", "ab"),
        ("=?utf-8?q?a?=\r\n\t=?utf-8?b?Yg==?=", "ab"),
        ("=?utf-8?q?a?= x =?utf-8?b?Yg==?=", "a x b"),
        ("=?utf-8?q?a?=X=?utf-8?b?Yg==?=", "aXb"),
        ("=?utf-8?b?Yg?=", "b"),
        ("=?utf-8*en?q?a?=", "a"),
        ("=?ISO-8859-1?Q?caf=E9?=", "café"),
        ("=?utf-8?B?5rip5bo=?= =?UTF-8?B?pg==?=", "温度"),
        ("=?x-none?q?a?=", "=?x-none?q?a?="),
        ("a =?x-none?q?b?= =?utf-8?q?c?= d", "a =?x-none?q?b?= c d"),
        ("=?utf-8?q?a?= =?x-none?q?b?= =?utf-8?q?c?=", "a =?x-none?q?b?= c"),
        ("=?x-none?q?a?= =?utf-8?q?bX?=", "=?x-none?q?a?= bX"),
        ("=?utf-8?b?/?= x", "=?utf-8?b?/?= x"),
        ("=?utf-8?q?=E6?= x", "=?utf-8?q?=E6?= x"),
        ("=?utf-8?q??= x", " x"),
        ("no words ?= here =?", "no words ?= here =?"),
    ],
)
def test_encoded_words_are_read_as_far_as_they_can_be(said: str, meant: str) -> None:
    """Blanks between two go, a character cut in two becomes whole, and what cannot be read stays as it stands."""
    assert decode_words(said) == meant


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        ("=?utf-8?B?DQo=?=", True),
        ("x =?utf-8?q?a=0Ab?=", True),
        ("=?utf-8?q?ok?= =?utf-8?q?=7F?=", True),
        ("=?iso-2022-jp?B?GyRCPmMbKEI=?=", False),
        ("=?utf-8?q?fine=20too?=", False),
        ("=?utf-8?B?/?=", False),
        ("DQo=", False),
    ],
)
def test_a_hidden_line_end_is_found(text: str, hides: bool) -> None:
    """In whichever of the words it is; an escape sequence of Japanese text is none."""
    assert hides_controls(text) is hides


def test_people_read_one_line() -> None:
    """Words decoded, blanks joined, nothing that moves a cursor."""
    assert readable(" =?utf-8?q?a=0D=0Ab?=\r\n\tc\x1b[1m \u2028d\udcff ") == "a b c [1m d"


@pytest.mark.parametrize(
    "value", ["short", "x" * 200, " ".join(["word"] * 60), "a " * 30 + "b" * 90 + " c" * 30, "two  blanks " * 20]
)
@pytest.mark.parametrize("name", ["X", "Subject", "X-A-Rather-Long-Name-Of-A-Field"])
def test_a_folded_field_says_the_same_in_short_lines(name: str, value: str) -> None:
    """No line over 76 but where one word is longer, none of blanks alone; unfolded it is what it was (RFC 5322 s2.2.3)."""
    field = fold(name, value)
    lines = field.decode().removesuffix("\r\n").split("\r\n")
    assert all(len(line) <= 76 or " " not in line.removeprefix(f"{name}:").strip() for line in lines)
    assert all(line.strip() for line in lines) and all(line.startswith(" ") for line in lines[1:])
    assert "".join(lines) == f"{name}: {value.strip()}"
    assert len(lines) <= 2 + len(field) // 60


@pytest.mark.parametrize("length", range(60, 80))
def test_a_field_of_one_line_is_folded_only_if_it_must_be(length: int) -> None:
    """76 characters fit into a line, with the name; 77 do not."""
    words = "abc " * 20
    value = words[: length - len("X-Name: ")].rstrip().ljust(length - len("X-Name: "), "d")
    assert fold("X-Name", value).count(b"\r\n") == (1 if length <= 76 else 2)


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: b", "a\nBcc: b", "a\r Bcc: b", "a\x00\x0b\x7fBcc: b", " a ", "", "\t", "  ", " a", "a ", "\ta", "a\t"]
)
def test_no_value_begins_another_field(value: str) -> None:
    """Control characters become blanks, blanks around go."""
    field = fold("X", value).decode()
    assert field.endswith("\r\n") and "\r\n" not in field.strip()
    assert re.fullmatch(r"X:( \S[ -~]*)?\r\n", field)
    assert email.policy.default.header_factory("X", field[2:].strip()).defects == ()


def test_the_width_can_be_told() -> None:
    """Where a field has to be narrower it is."""
    assert fold("X", "aa bb cc dd", width=8) == b"X: aa bb\r\n cc dd\r\n"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"=?UTF-8?Q?K=C3=BChlraum zwei?=", "Kühlraum zwei"),
        (b"=?UTF-8?B?w5xiZXIg\r\n w5xiZXI=?= ok", "Über Über ok"),
        (b"=?utf-8?Q?zwei,_\r\n\tdrei?=", "zwei, drei"),
        (b"=?iso-8859-1?Q?T\xfcr_=FCber?=", "Tür über"),
        (b"=?utf-8?Q?=E3=81?= =?utf-8?Q?=82?=", "あ"),
        (b"=?utf-8?B?44GC44?=\r\n =?utf-8?B?GE?=", "あい"),
        (b"=?utf-8?B?44GC\xef\xbb\xbf 44GE?= ok", "あい ok"),
        (b"=?UTF-8?B?44GC44GE44G", "あい"),
        (b"=?utf-8?Q?T=C3=BCr_=C", "Tür"),
        (b"=?utf-8?B?5rip5bqm?", "温度"),
        (b"=?utf-8?Q?T=C3=BCr_offen?\r\n", "Tür offen"),
        (b"=?utf-8?B?5rip5bqm?= =?utf-8?B?5rip5bqm?", "温度温度"),
        (b"=?utf-8?Q?T=C3=BCr ... noch =\r\n l=C3=A4nger?=", "Tür ... noch länger"),
        (b"=?utf-8?Q?T=C3=BCr_noch_=\r\n\t=C3=A4nger?=", "Tür noch änger"),
        (b"=?utf-8?Q?T=\r\n C3=BCr?=", "Tür"),
        (b"=?utf-8?Q?T=C3=\r\n =BCr?=", "Tür"),
        (b"=?utf-8?q?T=C3=BCr offen =\r\n ?=", "Tür offen"),
        (b"=?utf-8?B?5rip5bqm5rip5bqmMQ=\r\n =?=", "温度温度1"),
        (b"=?ISO-2022-JP?B?GyRCMUFFWQ==?= =?ISO-2022-JP?B?MDs+bxsoQg==?=", "荏度飴常"),
        (b"=?iso-2022-jp?B?GyRCMQ==?=\r\n =?iso-2022-jp?B?QUVZ?=\r\n =?iso-2022-jp?B?MDs+bxsoQg==?= ok", "荏度飴常 ok"),
    ],
)
def test_torn_words_become_whole(raw: bytes, said: str) -> None:
    """Folds, blanks, raw octets and cuts inside: a reader that takes RFC 2047 at its word reads the text."""
    mended = mend_words(b"Subject: " + raw + b"\r\n")
    assert strict(re.sub(rb"\r\n(?=[ \t])", b"", mended.partition(b":")[2])) == said
    assert mend_words(mended) == mended


@pytest.mark.parametrize(
    "raw",
    [
        *(b"=?utf-8?Q?ok?= a b", b"=?klingon?Q?a b?=", b"=?utf-8?B?44GC?= =?utf-8?B?44GE?=", b"what =? is?="),
        *(b"what is =?", b"=?utf-8?B??", b"=?klingon?B?44GC?", b"=?utf-8?Q?ok?= ok?"),
        b"=?ISO-2022-JP?B?GyRCMUFFWRsoQg==?= =?ISO-2022-JP?B?GyRCMDs+bxsoQg==?=",
        b"=?ISO-2022-JP?B?GyRCMUFFWQ==?= =?ISO-2022-JP?B?GyRCMDs+bxsoQg==?=",
        b"=?ISO-2022-JP?B?GyRCMUFFWQ==?= =?ISO-2022-JP?B?U2VydmVy?=",
    ],
)
def test_what_is_no_torn_word_stays(raw: bytes) -> None:
    """Whole words, and what looks a little like one; the name of a field is none, whatever it looks like."""
    assert mend_words(b"Subject: " + raw) == b"Subject: " + raw
    assert mend_words(b"=?utf-8?q?a: " + raw) == b"=?utf-8?q?a: " + raw
    assert mend_words(b"=?utf-8?q?!!!:\r\n") == b"=?utf-8?q?!!!:\r\n"


def test_words_that_end_among_kanji_are_read_together() -> None:
    """As mail of Japan was cut in two; one that only lacks its end is read alone."""
    cut = "=?ISO-2022-JP?B?GyRCMUFFWQ==?="
    assert decode_words(f"{cut} =?ISO-2022-JP?B?MDs+bxsoQg==?= =?utf-8?Q?ok?=") == "荏度飴常ok"
    assert decode_words(f"{cut} =?ISO-2022-JP?B?U2VydmVy?=") == "荏度Server"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("=?gb2312?B?wbqGtA==?=", "梁喆"),
        ("=?shift_jis?B?h4qXzpNki0M=?=", "㈱緑電気"),
        ("=?x-gbk?B?s7W/4sPF?=", "车库门"),
        ("=?windows-874?Q?=A1=A2?=", "กข"),
        ("=?big5?B?+db51w==?=", "碁銹"),
    ],
)
def test_words_are_read_by_the_superset(word: str, said: str) -> None:
    """What firmware, Windows and phones added to a charset is readable, and a word is never encoded a second time."""
    assert decode_words(word) == said
    assert is_encoded(word)
    assert write_name("=?euc-tw?B?xKPG4A==?=") == "=?euc-tw?B?xKPG4A==?="


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"Motion 1", "Motion 1"),
        (b"=?utf-8?B?5YuV5L2T?= 7", "動体 7"),
        ("動体検知".encode("cp932"), "動体検知"),
        (b"\x1b$BF0BN8!CN\x1b(B", "動体検知"),
        (b"", ""),
    ],
)
def test_a_subject_is_read_as_people_do(octets: bytes, text: str) -> None:
    assert subject_text(octets) == text


def test_a_kept_subject_is_read_without_its_cut_character() -> None:
    """At acceptance 400 octets are kept, whatever character that ends in."""
    octets = ("y" + "\u3042" * 200).encode()[:400]
    assert kept_subject(octets.decode("ascii", "surrogateescape")) == "y" + "\u3042" * 133
