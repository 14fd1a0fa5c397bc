"""The pages of docs/ that are made from the code, so that they cannot say anything else: `make pages` writes them anew."""

from collections.abc import Iterator
from pathlib import Path

from tools.pages import advice, providers, settings

DOCS = Path(__file__).parents[2] / "docs"


def pages() -> Iterator[tuple[str, str]]:
    """Each page's path below docs/, and its text."""
    yield "configuration.md", settings.page()
    yield "advice.md", advice.page()
    yield "providers.md", providers.overview()
    yield from providers.each()
