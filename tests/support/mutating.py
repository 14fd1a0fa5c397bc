"""Few examples, the same ones each time: a plugin of pytest for `make mutants`, where each test runs thousands of times."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from relay.mail import charset

EXAMPLES = 5


def pytest_sessionstart() -> None:
    """What was found out before the code was changed is forgotten: a changed `_kind` is not asked about a known character."""
    charset._KINDS.clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test carries wins over a profile, so it is taken from each."""
    for test in items:
        function: Any = getattr(test, "obj", None)
        wished = getattr(function, "_hypothesis_internal_use_settings", None)
        if wished:
            function._hypothesis_internal_use_settings = settings(
                wished,
                max_examples=min(EXAMPLES, wished.max_examples),
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
