"""The short form of `make hostile`: every kind of attack, by the part of the relay that it is meant for, then all at once."""

from pathlib import Path

import pytest

from tests.hostile.conftest import TABLE
from tests.hostile.playing import everything_relayed, play, smuggled, together
from tests.hostile.plays import PLAYS, Scale
from tests.hostile.scene import Row, nobody_reads, scene, table

SECONDS = 2.0


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # strangers leave their sockets open
def test_the_relay_survives_and_serves(tmp_path: Path) -> None:
    """It lives, is healthy, stays small, takes the NAS' messages within 10 s, relays them all, and is tricked by nobody."""
    rows: list[Row] = []
    with scene(tmp_path) as at:
        for field in dict.fromkeys(one.field for one in PLAYS):
            plays = [one for one in PLAYS if one.field == field for _ in range(min(one.clients, 4))]
            rows.append(play(at, field, plays, SECONDS, Scale()))
        rows.append(together(at, PLAYS, 100, 3 * SECONDS, Scale()))
        served, tried, provoked = nobody_reads(tmp_path / "unread", at.upstream)
        rows.append(Row("a log that nobody reads", provoked, 0, 0, served, tried, 0.0, served == tried))
        missing, two = everything_relayed(at, 60), smuggled(at)
    TABLE.extend(table(rows))
    said = "\n".join(TABLE)
    assert not missing, f"{missing}\n{said}"
    assert two == 0, said
    assert all(row.good for row in rows), said
