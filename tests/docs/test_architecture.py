"""docs/architecture.md shows the house that the walls hold up."""

import re

from tests.docs.reading import ROOT
from tests.unit.test_walls import FLOORS

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_floors_are_those_of_the_walls() -> None:
    """Each room stands on the page, on the floor on which test_walls.py puts it."""
    shown = {room: int(floor) for floor, room in re.findall(r"^\| (\d) \| `relay/(\w+)(?:/|\.py)?` \|", PAGE, re.MULTILINE)}
    assert shown == {room: floor for room, floor in FLOORS.items() if room}


def test_the_files_it_names_are_there() -> None:
    """A file that moved is found here."""
    for path in re.findall(r"`([a-z_0-9]+/[\w/*.]+)`", PAGE):
        places = [ROOT, ROOT / "relay"]
        assert any(list(place.glob(path.rstrip("/"))) for place in places), path
