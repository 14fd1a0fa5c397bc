"""A file beside the spool is replaced whole, whoever else replaces it at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relay.upstream.state_file import replace_file


def test_writers_at_once(tmp_path: Path) -> None:
    """As an old and a new owner after a reload: each returns when its own is whole in place, and nothing is left over."""
    file, versions = tmp_path / "kept.json", [bytes([letter]) * 200_000 for letter in b"abcd" * 2]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda octets: replace_file(file, tmp_path, octets), versions))
    assert file.read_bytes() in versions
    assert list(tmp_path.iterdir()) == [file]
