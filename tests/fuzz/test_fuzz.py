"""A short turn of the fuzzer with every test run, the same each time; `make fuzz` looks for news for ten minutes."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import dialogs, letters
from tests.fuzz.oracles import Bench, hold_letter


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    running = Bench()
    yield running
    running.close()


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(letters())
def test_a_mutated_letter_is_mended(content: bytes) -> None:
    """Sendable, mended once, one author, one date, one id; also rewritten and in seven bits."""
    hold_letter(content)


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(dialogs(), st.sampled_from([1 << 20, 1400, 17]))
def test_a_mutated_dialog_is_survived(bench: Bench, said: bytes, at_a_time: int) -> None:
    """No hang, no surprise, nothing but replies; what is acknowledged is stored and nothing else is."""
    bench.hold_dialog(said, at_a_time)
