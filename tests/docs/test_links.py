"""Every link of the pages leads somewhere, and every page that the program names is there."""

import re
from pathlib import Path

import pytest

from tests.docs.reading import PAGES, ROOT, anchors, links, name_of

SITE = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    """Files are there, headings too; what the site shows does not lead out of it."""
    for target in links(page):
        if re.match(r"https?://|mailto:", target):
            assert target.startswith("https://") or "localhost" in target, target
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if SITE in page.parents:
            assert SITE in file.parents, f"{target} leads out of the site"
        if anchor:
            assert anchor in anchors(file), target


def test_pages_named_in_code_and_settings_are_there() -> None:
    """`docs/findings.md#nat` in a sentence of the program, in compose.yaml, in a comment."""
    other = (".png", ".jpg", ".pyc")
    packaging = [file for file in (ROOT / "packaging").rglob("*") if file.is_file() and file.suffix not in other]
    sources = [*(ROOT / "relay").rglob("*.py"), *ROOT.glob("*.yaml"), ROOT / "Makefile", *packaging]
    for source in sources:
        for path, _, anchor in re.findall(
            r"\b(docs/[\w/.-]+\.(?:md|yaml|png))(#([a-z0-9-]+))?", source.read_text(encoding="utf-8")
        ):
            assert (ROOT / path).exists(), f"{source}: {path}"
            assert not anchor or anchor in anchors(ROOT / path), f"{source}: {path}#{anchor}"


def test_every_page_is_reached() -> None:
    """From the front page of the site by links, or by the menu."""
    menu = set(re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    reached, waiting = set(), {SITE / name for name in menu}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / target.partition("#")[0]).resolve() for target in links(page) if ".md" in target}
        waiting |= {target for target in targets if target.suffix == ".md" and target.exists()} - reached
    lost = {name_of(page) for page in SITE.rglob("*.md")} - {name_of(page) for page in reached if SITE in page.parents}
    assert not lost, f"add to `nav` in mkdocs.yml, or link from another page: {sorted(lost)}"
