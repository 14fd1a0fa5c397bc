"""Repairs the text of header fields: forbidden octets, raw 8-bit text, long lines.  RFC 5322 s2.1.1, s2.2.  Pure."""

import re
from collections.abc import Callable

from relay.mail.charset import decode
from relay.mail.encoded_words import LINE_LIMIT, decode_words, encode_text, encode_word, fold, mend_words, word_octets
from relay.mail.message import Field
from relay.mail.mime import split_params
from relay.mail.repair_context import Change, Fields, RepairCase

_CONTROLS = bytes({*range(32), 127} - {*b"\t\r\n\x1b"})
_NO_CONTROLS = bytes({*range(256)} - {*_CONTROLS})
_NO_CONTROLS_OR_ESCAPE = _NO_CONTROLS.replace(b"\x1b", b"")
_PLAIN = bytes({*b"\t\r\n", *range(32, 127)})
_LONG = re.compile(rb"(?<![^\r\n])[^\r\n]{999}")
_BLANK_FOLD = re.compile(rb"\r\n[ \t]+(?=\r\n)")
_ENCODED = re.compile(rb"=\?(?:iso-8859-1|us-ascii)\?([bBqQ])\?([!->@-~]{1,2000})\?=", re.IGNORECASE)
_MULTIBYTE = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}")

# Fields of tokens, ids and dates: encoded-words are not allowed there (RFC 2047 s5), so 8-bit octets are lost.
_STRUCTURED = frozenset(
    {
        *("date", "message-id", "in-reply-to", "references", "received", "return-path", "mime-version", "content-id"),
        *("content-transfer-encoding", "dkim-signature", "domainkey-signature", "arc-seal", "arc-message-signature"),
        *("arc-authentication-results", "authentication-results", "resent-date", "resent-message-id", "auto-submitted"),
    }
)
_LISTED = 8  # names of fields in a note
_ADDRESSED = frozenset({"from", "to", "cc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-sender"})
_SIGNATURES = frozenset({"dkim-signature", "domainkey-signature", "arc-seal", "arc-message-signature"})


def _octets(fields: Fields) -> bytes:
    """All fields in one: one search over them is much faster than one for each of 20,000."""
    return b"".join([field.raw for field in fields])


def repair_controls(fields: Fields, case: RepairCase) -> Change:
    """No control octets in the header (RFC 5322 s2.2, RFC 6409 s8); escape sequences are left to the charset's reader."""
    if not _octets(fields).translate(None, _NO_CONTROLS):
        return fields, ()
    return _each(fields, _without_controls, "removed control octets from the header")


def _without_controls(field: Field) -> Field:
    raw = field.raw.translate(None, _CONTROLS)
    return Field(raw) if raw != field.raw else field


def repair_torn_words(fields: Fields, case: RepairCase) -> Change:
    """No folds, blanks or raw octets inside encoded-words (RFC 2047 s2).  Signed fields that can be sent are left."""
    if b"=?" not in _octets(fields):
        return fields, ()
    return _each(
        fields,
        lambda field: _whole_words(field) if b"=?" in field.raw and _may_be_mended(field, case) else field,
        "mended encoded-words that had folds, blanks or raw octets inside",
    )


def _may_be_mended(field: Field, case: RepairCase) -> bool:
    return field.name not in _STRUCTURED and (field.name not in case.sealed or not field.raw.isascii())


def _whole_words(field: Field) -> Field:
    raw = mend_words(field.raw)
    return field if raw == field.raw else Field.again(field.name, raw)


def repair_raw_text(fields: Fields, case: RepairCase) -> Change:
    """Raw 8-bit text and escape sequences become encoded-words (RFC 2047), as RFC 6409 s8.4 allows."""
    if not _octets(fields).translate(None, _PLAIN):
        return fields, ()
    names: dict[str, None] = {}
    mended: list[Field] = []
    for field in fields:
        raw = field.raw
        if (raw.isascii() and not raw.translate(None, _PLAIN)) or (case.about.envelope.utf8 and _is_utf8_address(field)):
            mended.append(field)
            continue
        label = field.label
        mended.append(_in_ascii(field, label, case))
        if len(names) < _LISTED:
            names[label] = None
    return (tuple(mended), (f"encoded raw 8-bit text in {', '.join(names)} (RFC 2047)",)) if names else (fields, ())


def _is_utf8_address(field: Field) -> bool:
    """An address field that needs SMTPUTF8 (RFC 6531); address fields were repaired before."""
    return field.name in _ADDRESSED and not field.raw.translate(None, _NO_CONTROLS_OR_ESCAPE)


def _in_ascii(field: Field, label: str, case: RepairCase) -> Field:
    if field.name in _STRUCTURED:
        return Field(re.sub(rb"[^\t\r\n -~]+", b"?", field.raw))
    text = decode(field.value, case.charset)
    if "=?" not in text:
        return Field.again(field.name, fold(label, encode_text(text)))
    written = fold(label, encode_text(decode_words(text)))
    return Field.again(field.name, mend_words(written))  # what stood behind a raw octet may be the beginning of a word


def repair_false_label(fields: Fields, case: RepairCase) -> Change:
    """Encoded-words labelled ISO-8859-1 (PHPMailer's default) or ASCII that hold UTF-8 get its label (RFC 6409 s6.5)."""
    octets = _octets(fields)
    if b"=?" not in octets or not _ENCODED.search(octets):
        return fields, ()
    return _each(
        fields,
        lambda field: _relabelled(field) if field.name not in case.sealed and b"=?" in field.raw else field,
        "relabelled encoded-words that hold UTF-8 under the name of another charset",
    )


def _relabelled(field: Field) -> Field:
    octets = b""
    name, colon, value = field.raw.partition(b":")
    for match in _ENCODED.finditer(value):
        octets += word_octets(match[1].decode("ascii"), match[2].decode("ascii")) or b""
    if len(_MULTIBYTE.findall(octets)) < 2 and b"=?us-ascii?" not in value.lower():
        return field
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return field
    return field if octets.isascii() else Field.again(field.name, name + colon + _ENCODED.sub(rb"=?utf-8?\1?\2?=", value))


def repair_long_lines(fields: Fields, case: RepairCase) -> Change:
    """No header line over 998 octets: folded at blanks, else as encoded-words, else at a fixed width (signatures).

    RFC 5322 s2.1.1, s2.2.3.  Servers may refuse or cut longer lines (RFC 5321 s4.5.3.1.6); RFC 6409 s8 allows the repair.
    """
    if max([len(field.raw) for field in fields], default=0) <= LINE_LIMIT:
        return fields, ()
    return _each(fields, folded, "folded header lines of more than 998 octets")


def folded(field: Field) -> Field:
    """The field with no line over 998 octets; itself if it has none."""
    if not _has_long_line(field.raw):
        return field
    if not _has_long_line(lines := _at_blanks(field)):
        return Field(lines)
    label, text = field.label, _on_one_line(field)
    if field.name in _SIGNATURES:
        return Field(_hard_fold(label, text))
    if field.name in _STRUCTURED:
        return Field(fold(label, " ".join(word for word in text.split() if len(word) < 900)))
    if field.name.startswith("content-"):
        pieces = split_params(text)
        kept = [piece.strip() for piece in pieces if len(piece) < 900]
        if len(pieces[0]) >= 900 and field.name == "content-type":
            data = "/" in pieces[0][:250] and not text.lower().startswith("text/")
            kept.insert(0, "application/octet-stream" if data else "text/plain")
        return Field(fold(label, "; ".join(kept) or "text/plain"))
    return Field(fold(label, encode_word(text)))


def can_be_sent(field: Field) -> bool:
    """Whether it has no control octets or escape sequences, and blanks allow lines of at most 998 octets.  Else the field
    cannot be sent without a change of its words.
    """
    if field.raw.translate(None, _NO_CONTROLS_OR_ESCAPE):
        return False
    return not (_has_long_line(field.raw) and _has_long_line(_at_blanks(field)))


def _has_long_line(raw: bytes) -> bool:
    return len(raw) > LINE_LIMIT and _LONG.search(raw) is not None


def _at_blanks(field: Field) -> bytes:
    return fold(field.label, _loosened(field.name, _on_one_line(field)))


def _on_one_line(field: Field) -> str:
    return re.sub(rb"[\r\n]+", b"", field.value).decode("utf-8", "replace")


def _loosened(name: str, text: str) -> str:
    """The text with blanks added where the grammar allows them, so that it can be folded there."""
    if name == "references":
        return text.replace("><", "> <")
    if name in _ADDRESSED or name == "disposition-notification-to":
        return re.sub(r",(?=[^ \t\"])", ", ", text)
    if name.startswith("content-"):
        return re.sub(r";(?=[^ \t])", "; ", text)
    return text


def _hard_fold(label: str, text: str) -> bytes:
    lines = [text[place : place + 70] for place in range(0, len(text), 70)]
    return (
        f"{label}: ".encode()
        + "\r\n ".join(line.strip() for line in lines if line.strip()).encode("ascii", "replace")
        + b"\r\n"
    )


def repair_blank_folds(fields: Fields, case: RepairCase) -> Change:
    """No continuation lines of blanks only (RFC 5322 s3.2.2, s4.2; RFC 6409 s8): some parsers end the header there."""
    octets = _octets(fields)
    if not (b" \r\n" in octets or b"\t\r\n" in octets) or not _BLANK_FOLD.search(octets):
        return fields, ()
    return _each(fields, _without_blank_folds, "removed a line of blanks inside a header field")


def _without_blank_folds(field: Field) -> Field:
    raw = _BLANK_FOLD.sub(b"", field.raw)
    return Field(raw) if raw != field.raw else field


def _each(fields: Fields, mend: Callable[[Field], Field], note: str) -> Change:
    mended = tuple(mend(field) for field in fields)
    changed = any(new is not old for new, old in zip(mended, fields, strict=True))
    return (mended, (note,)) if changed else (fields, ())
