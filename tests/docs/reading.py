"""What stands in the pages: blocks of code with what is said about them, headings, links.

A comment before a block tells what it is:  <!-- part -->  a part of a configuration,  <!-- compose -->,  <!-- kubernetes -->,
<!-- other: whose -->  for YAML of other programs,  <!-- run -->  for shell that is run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "packaging" / "README.md"],
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """`language` after the fence, `mark` in the comment before it; `line` counts from 1."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks, those inside lists too."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start, fence, mark, language, indent = 0, "", "", "", ""
    for number, line in enumerate(lines, 1):
        opening = re.fullmatch(r"( *)(`{3,})([\w-]*).*", line)
        if not fence and opening:
            indent, fence, language, start = opening[1], opening[2], opening[3], number
            before = lines[number - 2].strip() if number > 1 else ""
            comment = re.fullmatch(r"<!-- (.+?) -->", before)
            mark = comment[1] if comment else ""
        elif fence and line.strip() == fence:
            text = "\n".join(one.removeprefix(indent) for one in lines[start : number - 1])
            yield Block(page, start, language, mark, text + "\n")
            fence = ""
    assert not fence, f"{name_of(page)}:{start}: a block without an end"


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"(?ms)^( *)(`{3,})[^\n]*\n.*?^ *\2 *$", "", text)


def slug(heading: str) -> str:
    """The anchor of a heading, where MkDocs and Git hosts agree on it."""
    bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", bare))


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


def links(page: Path) -> list[str]:
    """Targets of links and pictures; not those shown as code."""
    text = re.sub(r"`+[^`\n]*`+", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text)
