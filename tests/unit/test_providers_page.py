"""docs/providers.md says what the preset table knows."""

from pathlib import Path

import pytest

from relay.upstream.provider import Preset
from relay.upstream.providers import PRESETS
from tools.pages.providers import overview

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"


def test_the_page_is_the_table() -> None:
    """Whoever changes a preset writes the page anew: make pages."""
    assert PAGE.read_text(encoding="utf-8") == overview()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_each_provider_has_its_row_with_its_doubts(preset: Preset) -> None:
    """Name, port, source; a ? wherever something was not checked."""
    [row] = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{preset.key}`")]
    assert preset.name in row
    assert str(preset.port) in row
    assert ("?" in row) == bool(preset.doubts)
    assert preset.source in PAGE.read_text(encoding="utf-8")
