"""Labels: one that is right is untouched, one judgement counts for every upstream, and a second repair changes nothing."""

import math
import quopri
from base64 import encodebytes

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.charset import AUTO
from relay.mail.charset_likelihood import bits
from relay.mail.charset_names import codec_of, is_registered
from relay.mail.recode import seven_bit
from tests.corpus.reading import leaves
from tests.support.letters import RIGHT, octets, repaired, without_trace

TRUE: dict[str, tuple[str, str]] = {
    "iso-8859-1": ("latin-1", "Größe überschritten, déjà vu, año ¿qué?"),
    "windows-1252": ("cp1252", "L’onduleur n’a plus d’autonomie – “fin” €"),
    "iso-8859-15": ("iso8859-15", "Prix 5 €, œuvre, Ÿ"),
    "iso-8859-2": ("iso8859-2", "Wysoka temperatura: dysk łączności źle działa"),
    "windows-1250": ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
    "koi8-r": ("koi8-r", "Ошибка чтения на третьем диске, работа РАБОТА"),
    "KOI8-RU": ("koi8-u", "Резервну копію не створено її"),
    "windows-1251": ("cp1251", "Превышена влажность в подвале"),
    "IBM866": ("cp866", "раб работа рабочий диск"),
    "iso-8859-7": ("iso8859-7", "Αποτυχία δίσκου στον διακομιστή"),
    "ISO-8859-8-I": ("iso8859-8", "המדפסת במשרד ללא נייר"),
    "iso-8859-6-e": ("iso8859-6", "انقطاع التيار الكهربائي"),
    "windows-1256": ("cp1256", "انقطاع التيار الكهربائي"),
    "windows-874": ("cp874", "ประตูห้องเครื่องเปิดอยู่"),
    "tis-620": ("tis-620", "เกมและแอปไม่ใช้ไฟล์"),
    "gb2312": ("gb18030", "机房门被打开，请检查陈玥"),
    "x-gbk": ("gb18030", "二楼打印机缺纸，请添加"),
    "cn-big5": ("big5", "備份工作失敗，請檢查磁碟"),
    "ks_c_5601-1987": ("cp949", "경보: 지하 주차장 누수 감지, 즉시 점검하십시오"),
    "windows-949": ("cp949", "펲시콜라 똠방각하 찦차"),
    "windows-31j": ("cp932", "①番ディスク ㈱緑電気 ﾃｽﾄ"),
    "Shift_JIS": ("cp932", "バックアップ先のディスク容量が不足しています"),
    "x-euc-jp": ("euc_jp", "しとしと降る雨にことことと煮る"),
    "cp-850": ("cp850", "Lüfter im Gehäuse läuft zu langsam"),
    "x-mac-ukrainian": ("mac_cyrillic", "Резервное копирование завершено"),
    "windows-1258": ("cp1258", "ngôn ngư âm đô"),
    "utf-8": ("utf-8", "監視レポート: 停止 é ° ж"),
    "utf-16": ("utf-16", "Журнал: ошибок нет 監視"),
    "utf-16le": ("utf-16-le", "Door: open 監視"),
    "UTF-32": ("utf-32", "Door: open ж"),
    "hz-gb-2312": ("hz", "机房门被打开"),
    "iso-2022-kr": ("iso2022_kr", "경보 누수 감지"),
    "iso-2022-jp": ("iso2022_jp", "障害を検知しました"),
}
"""Label -> codec and text that is truly in it."""

UNREAD = ("euc-tw", "iso-2022-cn", "TSCII", "VISCII", "IBM930", "x-user-defined", "iso-ir-111")
ENCODINGS = ("8bit", "base64", "quoted-printable")


def encoded(text: str, codec: str) -> bytes:
    return text.encode(codec)


def letter(label: str, body: bytes, encoding: str, subject: bytes = b"ok") -> bytes:
    if encoding == "base64":
        body = encodebytes(body).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    head = RIGHT.replace(b"Subject: ok", b"Subject: " + subject) + b"MIME-Version: 1.0\r\n"
    kind = f"Content-Type: text/plain; charset={label}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head + kind.encode() + body


def shown(content: bytes) -> tuple[str, bytes]:
    """The charset and the octets that a reader gets."""
    [leaf] = leaves(content)
    payload = leaf.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return str(leaf.get_param("charset")), payload


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(TRUE)), st.sampled_from(ENCODINGS), st.integers(1, 40), st.integers(1, 4))
def test_a_label_that_was_right_is_untouched(label: str, encoding: str, length: int, times: int) -> None:
    """Whatever the charset, however long the text: label and octets arrive, at an upstream of seven bits too."""
    codec, text = TRUE[label]
    wide = codec.startswith(("utf-16", "utf-32"))
    octets_in = encoded("\r\n".join([text[:length]] * times) + "\r\n", codec)
    mended = repaired(letter(label, octets_in, "8bit" if wide and encoding == "quoted-printable" else encoding)).message
    for sent in (octets(mended), octets(seven_bit(mended))):
        charset, octets_out = shown(sent)
        if wide and not octets_in.isascii() and encoded(text[:length], codec).count(0) == 0:
            continue  # not one NUL: nothing tells it from what it is not
        assert charset.lower() == label.lower()
        assert octets_out.rstrip(b"\r\n\0") == octets_in.rstrip(b"\r\n\0")


@given(st.sampled_from(UNREAD), st.binary(min_size=1, max_size=60), st.sampled_from(ENCODINGS[1:]))
def test_a_registered_name_that_we_cannot_read_stays(label: str, body: bytes, encoding: str) -> None:
    """IANA knows more charsets than Python does: no octets but those of UTF-8 prove such a label wrong."""
    assert is_registered(label)
    assert not codec_of(label)
    charset, octets_out = shown(octets(repaired(letter(label, body, "base64")).message))
    assert charset == label or octets_out.decode("utf-8")


RAW = st.sampled_from([text.encode(codec) for codec, text in TRUE.values() if not codec.startswith(("utf-16", "utf-32", "hz"))])
PIECE = st.one_of(
    RAW, st.binary(max_size=12), st.sampled_from([b"47\xb0C", b"\xe6\xb0", b"plain", b"=?utf-8?Q?a b?=", b"\x1b$B8N"])
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["", "us-ascii", "utf-8", "klingon", *sorted(TRUE)]),
    st.lists(PIECE, max_size=4).map(b" ".join),
    st.lists(PIECE, max_size=4).map(b"\r\n".join),
    st.sampled_from([*ENCODINGS, "7bit", "binary", "uuencode", "x-uue"]),
)
def test_one_judgement_is_made_and_only_once(label: str, subject: bytes, body: bytes, encoding: str) -> None:
    """Both upstreams get the same label, subject and octets, and a second repair changes nothing."""
    first = repaired(letter(label, body, encoding, subject.replace(b"\r", b"").replace(b"\n", b""))).message
    wide, narrow = octets(first), octets(seven_bit(first))
    assert narrow.isascii()
    assert [leaf.get("Subject") for leaf in leaves(wide)] == [leaf.get("Subject") for leaf in leaves(narrow)]
    before, after = (leaves(sent)[0] for sent in (wide, narrow))
    assert before.get("Content-Type") == after.get("Content-Type")
    # what lies behind the last line end of text is no octet of it
    assert shown(wide)[1].rstrip(b"\r\n") == shown(narrow)[1].rstrip(b"\r\n")
    again = repaired(wide)
    assert without_trace(again.message) == wide
    assert again.notes == ()


TWO_OCTETS = ("cp932", "euc_jp", "gb18030", "big5", "cp949")
ODD_TEXTS = st.lists(st.sampled_from([*"aZ é°±²’ßÄŽ‹ƒжЖשกđ温ｱ\x81\ufffd[|"]) | st.characters(codec="utf-8"), max_size=24).map(
    "".join
)


@given(ODD_TEXTS, st.sampled_from(AUTO), st.floats(0, 400))
def test_who_counts_only_so_far_counts_the_same(text, codec, most):
    """The bits of a text are the same as without a limit, or they are more than it."""
    exact = bits(text, codec)
    assert bits(text, codec, most) == (exact if exact[0] <= most or codec in TWO_OCTETS else (math.inf, exact[1]))
