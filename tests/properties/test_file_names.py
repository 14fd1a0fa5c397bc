"""Names of files and folders: whatever was said, they stay one name in one folder."""

import os.path
import re

from hypothesis import example, given
from hypothesis import strategies as st

from relay.upstream.file_names import LONGEST, file_name, filled, numbered, parts_of, safe_name, titled

ANY = st.one_of(
    st.text(max_size=400),
    st.text(alphabet='./\\ \x00:*?"<>|~$-_\u202e\u2066\u200b\ufeff\u00ad資e\u0301😀conpaux1', max_size=300),
    st.lists(st.sampled_from(["..", ".", "/", "\\", "con", "nul", " ", "資" * 100, ".pdf", "a" * 250, "\udcff"])).map("".join),
)
EXTENSIONS = st.sampled_from([".pdf", ".txt", ".eml", ""])
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\s*(\.|$)")


def is_safe(name: str) -> bool:
    octets = name.encode()  # raises for halves of surrogates
    assert 0 < len(octets) <= LONGEST
    assert name == os.path.basename(name)
    assert not re.search(r'[\x00-\x1f\x7f<>:"|?*/\\]', name)
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", name)
    assert name[0] not in ". " and name[-1] not in ". "
    return not RESERVED.match(name)


@given(st.lists(ANY, max_size=3), EXTENSIONS)
@example(["con.pdf"], "")
@example(["a" * 251 + " .pdf"], "")
def test_a_file_name_is_one_safe_name(said, extension):
    """Never a path, never empty, never too long, nothing that hides or that Windows cannot have."""
    assert is_safe(file_name(said, extension))
    if title := titled("".join(said), extension):
        assert is_safe(title)


@given(ANY)
@example("A\b\u0300")
def test_what_is_safe_stays(said):
    """Made safe twice is made safe once: a repeated try finds its own file."""
    once = safe_name(said)
    assert safe_name(once) == once


@given(st.lists(ANY, min_size=1, max_size=1), st.integers(2, 10**6))
def test_a_numbered_name_is_another_safe_one(said, number):
    """It keeps its extension, and is never the same for two numbers."""
    name = file_name(said, ".pdf")
    assert is_safe(numbered(name, number))
    assert numbered(name, number) not in (name, numbered(name, number + 1))
    extension = re.search(r"(?<=.)\.[A-Za-z0-9]{1,12}\Z", name)
    assert numbered(name, number).endswith(f" ({number}){extension[0] if extension else ''}")


@given(ANY, ANY)
def test_a_folder_never_leaves_its_place(device, sender):
    """Filled components stay components: the depth is that of the path as configured."""
    values = {"device": device, "from": sender, "client": "", "date": "2026-11-30"}
    fixed, below = parts_of("/srv/scans/{device}/x-{from}/{client}/{date}")
    names = [filled(one, values) for one in below]
    assert all(is_safe(name) for name in names)
    whole = "/".join([fixed, *names])
    assert os.path.normpath(whole) == whole
    assert whole.startswith("/srv/scans/")
    assert len(names) == 4
