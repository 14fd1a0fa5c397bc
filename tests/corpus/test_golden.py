"""Each letter, notice and attempt that we know is as it was when somebody last looked: every octet, every word."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.corpus import golden

READ = {file: golden.read(file) for file in golden.KNOWN}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Japan."""
    monkeypatch.setenv("TZ", golden.ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        pytest.param(file, name, id=re.sub(r"\W+", "-", f"{file} {name}"))
        for file, texts in golden.KNOWN.items()
        for name in texts
    ],
)
def test_it_is_as_it_was(file: str, name: str) -> None:
    """If the difference is meant: `python -m tests.corpus.golden`, read `git diff`, commit."""
    assert golden.KNOWN[file][name]() == READ[file].get(name, "")


def test_nothing_is_kept_that_nobody_makes() -> None:
    """The files name the texts that there are, and no others."""
    assert {file: list(kept) for file, kept in READ.items()} == {file: list(known) for file, known in golden.KNOWN.items()}
