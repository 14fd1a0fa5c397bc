"""What pages are printed on: compiled templates are kept beside their sources, and nothing depends on it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateSyntaxError

from relay.control import rendering, tcp
from relay.control.access import AccessRules
from relay.control.server import page_server
from relay.control.status import RelayStatus


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of our templates, nothing compiled; a new environment for each test."""
    folder = tmp_path / "templates"
    shutil.copytree(rendering._TEMPLATES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "greeting.html").write_text("Hello, {{ name }}!")
    monkeypatch.setattr(rendering, "_TEMPLATES", folder)
    rendering._press.cache_clear()
    yield folder
    rendering._press.cache_clear()


def restarted() -> None:
    rendering._press.cache_clear()


def kept(templates: Path) -> list[str]:
    return sorted(file.name.partition(".")[0] for file in (templates / "__pycache__").glob("*"))


def test_what_was_compiled_is_kept_and_read_by_who_may_read_the_source(templates: Path) -> None:
    """Preparing keeps every template, as a file that another user of this machine can load."""
    rendering.prepare()
    assert kept(templates) == sorted(file.stem for file in templates.glob("*.html"))
    assert {file.stat().st_mode & 0o777 for file in (templates / "__pycache__").iterdir()} == {0o644}


def test_the_kept_one_is_used_until_the_source_changes(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start after that compiles nothing; a changed source is compiled anew."""
    rendering.prepare()
    restarted()
    monkeypatch.setattr("jinja2.Environment.compile", lambda *_, **__: pytest.fail("compiled again"))
    assert rendering.printed("greeting.html", {"name": "<NAS>"}) == "Hello, &lt;NAS&gt;!"
    monkeypatch.undo()
    monkeypatch.setattr(rendering, "_TEMPLATES", templates)
    restarted()
    (templates / "greeting.html").write_text("Goodbye, {{ name }}!")
    assert rendering.printed("greeting.html", {"name": "NAS"}) == "Goodbye, NAS!"


def test_an_image_built_elsewhere_brings_its_own(templates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was kept goes with the folder: it does not hang on the path."""
    rendering.prepare()
    elsewhere = tmp_path / "elsewhere"
    templates.rename(elsewhere)
    monkeypatch.setattr(rendering, "_TEMPLATES", elsewhere)
    restarted()
    monkeypatch.setattr("jinja2.Environment.compile", lambda *_, **__: pytest.fail("compiled again"))
    assert rendering.printed("greeting.html", {"name": "NAS"}) == "Hello, NAS!"


@pytest.mark.parametrize("there", ["a file", "rubbish", "half of it"])
def test_pages_come_without_it(templates: Path, there: str) -> None:
    """Where nothing can be kept, or what is there is no bytecode, pages are printed all the same."""
    if there == "a file":
        (templates / "__pycache__").write_text("in the way")
    else:
        rendering.prepare()
        for file in (templates / "__pycache__").iterdir():
            file.write_bytes(b"rubbish" if there == "rubbish" else file.read_bytes()[:24])
        restarted()
    assert rendering.printed("greeting.html", {"name": "NAS"}) == "Hello, NAS!"


def test_a_broken_template_does_not_keep_the_page_away(templates: Path) -> None:
    """What is prepared before the first look is an aside: its trouble shows where that template is looked at."""
    (templates / "greeting.html").write_text("{% if %}")
    nobody: Any = None
    with tcp.listen("127.0.0.1:0") as sock:
        page_server(RelayStatus(nobody, nobody, nobody), str, AccessRules(), sock)
    assert "base" in kept(templates)
    with pytest.raises(TemplateSyntaxError):
        rendering.printed("greeting.html", {"name": "NAS"})
