"""Guessing the charset of raw text."""

import pytest

from relay.mail.charset import ballots, decode, elect, vote
from tests.support.letters import RIGHT, repaired, text_of

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


@pytest.mark.parametrize(
    "text", ["47°C", "© 2024 Example", "±2 mm", "120 m²", "½ full", "£ 5", "¿Puerta?", "¡Alarma!", "§ 5", "20 €", "·"]
)
@pytest.mark.parametrize(
    "fallback", [FALLBACK, ("utf-8", "cp932"), ("utf-8", "tis-620", "cp932"), ("utf-8", "gb18030"), ("auto",)]
)
def test_a_sign_in_ascii_is_no_kana(text: str, fallback: tuple[str, ...]) -> None:
    """A Latin sign among ASCII is what it looks like, whatever the people at the devices else write."""
    octets = text.encode("cp1252")
    assert decode(octets, vote([octets], fallback)) == text


@pytest.mark.parametrize(
    ("fallback", "charset", "text"),
    [
        (("windows-1250", "latin-1"), "cp1250", "Drzwi piwnicy otwarte, za gorąco"),
        (("windows-1254", "latin-1"), "cp1254", "Yedekleme başarısız oldu"),
        (("tis-620", "cp932"), "tis-620", "ประตูเปิด"),
        (("windows-1251", "koi8-r"), "koi8-r", "ВНИМАНИЕ: диск"),
        (("koi8-r", "windows-1251"), "cp1251", "ВНИМАНИЕ: диск"),
        (("gb18030", "latin-1"), "gb18030", "机房门被打开"),
        (("big5", "latin-1"), "big5", "備份失敗"),
        (("cp949", "latin-1"), "cp949", "누수 감지"),
        (("windows-1253", "latin-1"), "cp1253", "Διακοπή ρεύματος"),
        (("windows-1255", "latin-1"), "cp1255", "הגיבוי נכשל"),
        (("windows-1256", "latin-1"), "cp1256", "فشل النسخ"),
        (("windows-1250", "latin-1"), "latin-1", "Gerät gestört"),
        (("auto",), "koi8-r", "Резервная копия не создана"),
        (("auto",), "cp1250", "Příliš vysoká teplota ve sklepě"),
        (("auto",), "gb18030", "机房门被打开，请检查"),
    ],
)
def test_the_charsets_of_the_country_are_asked(fallback: tuple[str, ...], charset: str, text: str) -> None:
    """What is written in `fallback_charset` reads the text of the people there."""
    octets = text.encode(charset)
    assert decode(octets, vote([octets], ("utf-8", *fallback))) == text


def test_of_equals_the_first_one_counts() -> None:
    """The same octets in two charsets that explain them as well: the order decides."""
    octets = "Kópia kész".encode("cp1250")
    assert vote([octets], ("utf-8", "windows-1250", "latin-1")) == "cp1250"
    assert vote([octets], ("utf-8", "latin-1", "windows-1250")) == "iso8859-1"


@pytest.mark.parametrize("text", ["水位センサーの電池", "Насос второй", "ประตูห้อง", "Температура 🔥"])
@pytest.mark.parametrize("wound", ["cut", "lost", "fold", "stray"])
def test_damaged_utf8_is_utf8(text: str, wound: str) -> None:
    """One character is lost, no more; what is left of it shows as one sign or two."""
    octets = text.encode()
    middle = octets.index(text[3].encode()) + 1
    damaged = {
        "cut": octets[:-1],
        "lost": octets[:middle] + octets[middle + 1 :],
        "fold": octets[:middle] + b" " + octets[middle:],
        "stray": octets + b"\xb0",
    }[wound]
    read = decode(damaged, vote([damaged], FALLBACK))
    assert read == text if wound == "fold" else text[:3] == read[:3] and read.count("\ufffd") in (1, 2)


def test_a_label_lends_proof_to_short_utf8_that_is_damaged() -> None:
    """Too short to be told from half-width kana by itself; a fold inside a character is no damage that remains."""
    cut = "Grüße".encode()[:-2]
    assert decode(cut, elect(ballots([cut], said=True), FALLBACK)) == "Grü\ufffd"
    assert decode(cut, elect(ballots([cut]), FALLBACK)) == "Grﾃｼﾃ"
    latin = "Café".encode("latin-1")
    assert decode(latin, elect(ballots([latin], said=True), FALLBACK)) == "Café"
    octets = "カメラ".encode()
    assert decode(octets[:4] + b" " + octets[4:], "utf-8") == "カメラ"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b"St\xc3\xb6rung K\xc3\xbcche ge\xc3", "Störung Küche ge\ufffd"),
        (b"T\xc3\xbcre im Flur gepr\xc3\xbcft \xb0", "Türe im Flur geprüft \ufffd"),
        (b"D\xc3\xa9tection acc\xc3\xa8s arri\xc3", "Détection accès arri\ufffd"),
        (b"Detecci\xc3\xb3n en la c\xc3\xa1mara del sal\xc3", "Detección en la cámara del sal\ufffd"),
        (b"R\xc3\xb6relse uppt\xc3\xa4ckt vid d\xc3", "Rörelse upptäckt vid d\ufffd"),
        ("Próba połączenia się nie powiodła".encode()[:-2], "Próba połączenia się nie powiod\ufffd"),
        ("Příliš žluťoučký kůň".encode()[:-1], "Příliš žluťoučký ků\ufffd"),
        (b"K\xc3\xbcche w\xc3\xa4rmer, T\xc3 \xbcr", "Küche wärmer, Tür"),
        ("Тревога ".encode() + b"\xb0", "Тревога \ufffd"),
        ("Движение сейчас ".encode() + b"\xb0", "Движение сейчас \ufffd"),
    ],
)
def test_damaged_utf8_of_europe_is_utf8(text: bytes, read: str) -> None:
    """More whole letters than wounds tell; a blank between whole characters and a stray octet stays."""
    assert decode(text, vote([text], FALLBACK)) == read
    assert text_of(repaired(RIGHT + b"\r\n" + text + b"\r\n").message).rstrip("\n") == text.decode("utf-8", "replace").rstrip()


@pytest.mark.parametrize(
    "text", ["GRÜßE, Ã¶l", "Â° und Ä° und ü und ö", "ÇAĞRI: KAPI AÇIK", "GÅ «VÄ»", "RĂŞINĂ, ŢARĂ", "Château — été"]
)
@pytest.mark.parametrize("charset", ["latin-1", "cp1252", "cp1254", "cp1250"])
def test_capitals_and_signs_of_europe_are_not_utf8(text: str, charset: str) -> None:
    octets = text.encode(charset, "ignore")
    assert decode(octets, charset) == octets.decode(charset)
