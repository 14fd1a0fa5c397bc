"""An upstream that is a folder: where, and what becomes files there."""

import os

from relay.config.fields import Fields
from relay.config.files import from_home
from relay.config.scalars import Wrong, choice, listing, near
from relay.upstream.file_names import FIELDS, fields_in, without_fields
from relay.upstream.settings import Folder, Save


def read_folder(at: Fields) -> Folder | None:
    """The folder, if the upstream is one; a relative one is meant from where the configuration is."""
    save = at.get("save", choice(Save), Save.ATTACHMENTS)
    if not at.said("folder"):
        if at.said("save"):
            at.mistake("save", "expected folder beside it, found nothing")
        return None
    path = at.get("folder", _path, "")
    return Folder(os.path.normpath(at.reading.folder / from_home(path)), save)


def _path(value: str) -> str:
    bare = value.strip()
    if not bare or not bare.isprintable():
        raise Wrong("a folder such as /srv/scans/{device}")
    for name in fields_in(bare):
        if name not in FIELDS:
            fields = listing(f"{{{one}}}" for one in FIELDS)
            raise Wrong(f"a folder whose fields are {fields}", near(name, FIELDS) or f"there is no {{{name}}}")
    if "{" in (rest := without_fields(bare)) or "}" in rest:
        raise Wrong("a folder with braces in pairs, such as /srv/scans/{device}")
    if ".." in bare.split("/") and fields_in(bare):
        raise Wrong("a folder without .. beside its fields")
    return bare
