"""Names of files and folders made of what others wrote: safe on Linux, and on shares that Windows reads.  Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from relay.mail.outgoing import Outgoing

LONGEST = 255
"""Octets of UTF-8 that one name may have (NAME_MAX)."""

FIELDS = ("device", "from", "client", "date")
"""What may stand in braces in a folder's path."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_FOLDER_LONGEST = 120  # octets of a filled value; a path of several must stay under PATH_MAX
_LONGEST_SAID = 1000  # characters; putting combining ones in order takes quadratic time
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,12}\Z")
_FORBIDDEN = re.compile(r'[<>:"|?*/\\]')
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Cn", "Co"})  # controls, bidi and other invisible signs, what is no character
_BLANKS = frozenset({"Zs", "Zl", "Zp"})
_DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])[ ]*(?:\.|\Z)", re.IGNORECASE)
"""Names that are devices in Windows, with any extension."""

_EXTENSIONS: Mapping[str, str] = {
    "application/json": ".json",
    "application/msword": ".doc",
    "application/pdf": ".pdf",
    "application/rtf": ".rtf",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/x-pdf": ".pdf",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/pjpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "message/delivery-status": ".txt",
    "message/rfc822": ".eml",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "text/xml": ".xml",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/x-msvideo": ".avi",
}
_KNOWN = frozenset(_EXTENSIONS.values())
_MAGIC = (
    (b"%PDF-", ".pdf"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n", ".png"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"GIF8", ".gif"),
    (b"PK\x03\x04", ".zip"),
)
"""How files begin, for those that a device calls application/octet-stream."""


def extension_for(kind: str, begins: bytes) -> str:
    """The extension for a file without one, by its content type or by its first octets."""
    by_magic = next((extension for magic, extension in _MAGIC if begins.startswith(magic)), "")
    return _EXTENSIONS.get(kind) or by_magic or (".txt" if kind.startswith("text/") or not kind else ".bin")


def file_name(said: Iterable[str], extension: str) -> str:
    """The first of the names said that can be one, made safe; with `extension` if it has none of its own.

    Never empty, never a path, at most LONGEST octets.
    """
    name = next((safe for each in said if (safe := safe_name(each))), "file")
    match = _EXTENSION.search(name)
    # `Scan 30.11.2026` ends in no extension, `backup.001` does
    return name if match and not (match[0][1:].isdigit() and extension in _KNOWN) else _fitted(name, extension)


def titled(title: str, extension: str) -> str:
    """A name made of a text such as a subject: a dot or slash in it begins no extension and no path."""
    name = _cleaned(title.replace("/", "-").replace("\\", "-"))
    return _fitted(name, extension) if name else ""


def safe_name(said: str, longest: int = LONGEST) -> str:
    """The last component of what was said, safe as one name; "" if nothing is left of it."""
    last = re.split(r"[/\\]", said.rstrip("/\\ "))[-1]
    name = _cleaned(last)
    match = _EXTENSION.search(name)
    extension = match[0] if match and match.start() else ""
    return _fitted(name.removesuffix(extension), extension, longest)


def numbered(name: str, number: int | str) -> str:
    """The name for the next file of the same name: `scan (2).pdf`."""
    match = _EXTENSION.search(name)
    extension = match[0] if match and match.start() else ""
    return _fitted(name.removesuffix(extension), f" ({number}){extension}")


def filled(name: str, values: Mapping[str, str]) -> str:
    """The name of one folder with its fields filled in."""
    whole = _FIELD.sub(lambda field: safe_name(re.sub(r"[/\\]", "-", values[field[1]]), _FOLDER_LONGEST) or "unknown", name)
    return _fitted(whole, "")


def fields_in(path: str) -> tuple[str, ...]:
    """What stands in braces."""
    return tuple(_FIELD.findall(path))


def without_fields(path: str) -> str:
    """What stands outside of braces."""
    return _FIELD.sub("", path)


def parts_of(path: str) -> tuple[str, tuple[str, ...]]:
    """The part of an absolute path that must be there, and the names of the folders below that are made."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    place = next((at for at, name in enumerate(names) if "{" in name), len(names))
    return "/" + "/".join(names[:place]), tuple(names[place:])


def folder_for(path: str, outgoing: Outgoing) -> tuple[str, tuple[str, ...]]:
    """The part of a path that must be there, and the names of the folders below it for this message."""
    values = {
        "device": outgoing.device,
        "from": str(outgoing.reverse_path or ""),
        "client": outgoing.origin.client,
        "date": f"{outgoing.accepted_at.astimezone():%Y-%m-%d}",
    }
    fixed, below = parts_of(path)
    return fixed, tuple(filled(name, values) for name in below)


def joined(fixed: str, below: Iterable[str]) -> str:
    """The whole path of a folder."""
    return "/".join([fixed.rstrip("/"), *below])


def _cleaned(text: str) -> str:
    """One line of characters that may stand in a name, without dots and blanks at its ends; not yet cut."""
    if len(text) > _LONGEST_SAID:
        text = text[: _LONGEST_SAID - 100] + text[-100:]
    shown = unicodedata.normalize("NFC", "".join(map(_sign, text)))  # last: what stood between letter and accent is gone
    name = " ".join(_FORBIDDEN.sub("_", shown).split()).lstrip(". ").rstrip(". ")
    return f"_{name}" if _DEVICES.match(name) else name


def _sign(char: str) -> str:
    if char.isascii():
        return char if " " <= char <= "~" else " " if char in "\t\r\n" else ""
    category = unicodedata.category(char)
    return "" if category in _DROPPED else " " if category in _BLANKS else char


def _fitted(stem: str, extension: str, longest: int = LONGEST) -> str:
    """Both together, the stem cut at a character so that they fit."""
    room = longest - len(extension.encode())
    octets = stem.encode()
    if len(octets) > room:
        stem = octets[:room].decode("utf-8", "ignore").rstrip(". ")
    return stem + extension
