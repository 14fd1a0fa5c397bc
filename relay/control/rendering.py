"""What pages are made of: templates/ by Jinja2, everything escaped, and the files of static/.

Compiled templates are kept beside their sources, as Python keeps its own: compiling takes a third of a second and 2.4 MB
that never come back, loading a few milliseconds.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment

KINDS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_HERE = Path(__file__).parent
_TEMPLATES = _HERE / "templates"


def printed(template: str, values: Mapping[str, Any]) -> str:
    """The page.  Raises KeyError for a text that has no words, jinja2.UndefinedError for a value that is not given."""
    return _press().get_template(template).render(values, style=_stamp("page.css"), script=_stamp("page.js"))


def prepare() -> None:
    """Loads every template, and keeps what it had to compile: before the first page, and for who builds an image."""
    press = _press()
    for name in press.list_templates(extensions=["html"]):
        press.get_template(name)


@cache
def file(name: str) -> bytes:
    """One of KINDS."""
    return (_HERE / "static" / name).read_bytes()


@cache
def _stamp(name: str) -> str:
    return f"/static/{name}?{hashlib.sha256(file(name)).hexdigest()[:12]}"


@cache
def _press() -> "Environment":
    """Made for the page: who sets no `web.address` does not pay for the template engine."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_kept(),
    )


def _kept() -> "BytecodeCache":
    """Where it may not write it compiles anew; what does not fit source, Python or Jinja2 any more, Jinja2 passes over."""
    from jinja2 import BytecodeCache
    from jinja2.bccache import Bucket

    folder = _TEMPLATES / "__pycache__"

    def file_of(bucket: Bucket) -> Path:
        return folder / f"{bucket.key}.{sys.implementation.cache_tag}.jinja"

    class Kept(BytecodeCache):
        def get_cache_key(self, name: str, filename: str | None = None) -> str:
            return name  # not the path: an image is built elsewhere

        def load_bytecode(self, bucket: Bucket) -> None:
            try:
                bucket.bytecode_from_string(file_of(bucket).read_bytes())
            except Exception:  # not there, or cut off by a loss of power: pickle raises what it likes
                bucket.reset()

        def dump_bytecode(self, bucket: Bucket) -> None:
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                half = file_of(bucket).with_suffix(f".{os.getpid()}")
                half.write_bytes(bucket.bytecode_to_string())
                half.chmod(0o644)  # whoever runs the relay, of those who may read it
                half.replace(file_of(bucket))

    return Kept()


if __name__ == "__main__":
    prepare()
