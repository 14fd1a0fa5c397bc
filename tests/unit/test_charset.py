"""Guessing the charset of raw text."""

import pytest

from relay.mail.charset import decode, vote

FALLBACK = ("utf-8", "cp932", "euc-jp", "latin-1")
JAPANESE = [
    *("障害", "警告", "通知", "停電", "故障発生", "温度警報", "監視カメラ", "自動バックアップ完了", "起動しました", "テスト"),
    *(
        "お知らせ",
        "動体検知",
        "来客通知",
        "玄関のドアが開きました",
        "録画開始",
        "録画停止",
        "ﾃｽﾄ",
        "ﾊﾞｯｸｱｯﾌﾟ完了",
        "[警告] 温度異常",
    ),
    *("NAS-01: 異常", "Re: 障害", "ハードディスク交換のお願い", "株式会社", "再起動", "火災報知", "スズキ", "侵入", "印刷完了"),
]
EUROPEAN = [
    *("Überwachung: Gerät nicht erreichbar", "Störung", "Température élevée", "Arrêt", "Año", "Größe überschritten", "Öl", "ß"),
    *("Alerte: caméra", "français", "Ångström", "Tür offen", "déjà vu", "señal", "Café"),
]


@pytest.mark.parametrize("charset", ["cp932", "euc_jp", "utf-8"])
@pytest.mark.parametrize("text", JAPANESE)
def test_short_japanese_subjects_come_out_right(text, charset):
    """Subjects of 2 to 20 characters are read in the charset they were written in."""
    octets = text.encode(charset)
    assert decode(octets, vote([octets], FALLBACK)) == text


@pytest.mark.parametrize("text", EUROPEAN)
def test_short_european_subjects_come_out_right(text):
    """Latin-1 is not taken for half-width kana or rare kanji."""
    octets = text.encode("latin-1")
    assert decode(octets, vote([octets], FALLBACK)) == text


@pytest.mark.parametrize("text", ["障害", "自動バックアップ", "障害①"])
def test_escape_sequences_speak_for_themselves(text):
    """ISO-2022-JP needs no vote, not even with the signs that only firmware uses."""
    plain = text.rstrip("①").encode("iso-2022-jp")
    octets = plain.replace(b"\x1b(B", b"-!\x1b(B") if text.endswith("①") else plain
    assert decode(octets, "cp932") == text


@pytest.mark.parametrize(
    "text", ["Größe – “gut”", "Préparation d’un café", "Prix: 5 € – déjà", "Störung … bald", "„Tür“ offen", "Œuvre"]
)
def test_the_signs_of_windows_come_out_right(text: str) -> None:
    """Who says Latin-1 has dashes, quotation marks and the euro sign, which Latin-1 itself has not."""
    octets = text.encode("cp1252")
    assert decode(octets, vote([octets], FALLBACK)) == text
    assert vote([octets], ("latin-1",)) == "cp1252"
    assert vote(["Größe".encode("latin-1")], ("latin-1",)) == "iso8859-1"


def test_header_and_text_vote_together():
    """A subject that could be either is read as the body is, if that is clear."""
    subject = "美人".encode("euc_jp")
    body = "バックアップ先のディスク容量が不足しています。".encode("euc_jp")
    assert vote([subject, body], FALLBACK) == "euc_jp"


def test_other_charsets_are_asked_of_the_normalizer():
    """With Cyrillic charsets among the fallbacks, Russian text is not read as Latin-1."""
    octets = "Предупреждение: температура слишком высокая, проверьте оборудование".encode("koi8-r")
    assert decode(octets, vote([octets], ("utf-8", "koi8-r", "latin-1"))).startswith("Предупреждение")


def test_decoded_text_has_no_control_characters():
    """No guess can put a line end into a header field."""
    assert "\n" not in decode(b"a\x85\xff\x0b\x0cb\x1cc", "latin-1")
    assert "\r" not in decode(b"a\r\nBcc: x", "utf-8")
