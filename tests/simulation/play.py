"""Plays a plan and says what broke."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.aside import installed, pace
from tests.simulation.invariants import violations
from tests.simulation.plan import DAY, Plan
from tests.simulation.world import Household


@dataclass(frozen=True, slots=True)
class Played:
    """`days` were simulated, the calm at the end among them; `digest` is the same for the same plan."""

    plan: Plan
    broken: tuple[str, ...]
    days: float
    digest: str
    seen: frozenset[str] = field(default_factory=frozenset)

    @property
    def kinds(self) -> frozenset[str]:
        """The names of the checks that failed."""
        return frozenset(one.partition(":")[0] for one in self.broken)


def play(plan: Plan) -> Played:
    fast = Path("/dev/shm")
    world = Household(plan, Path(tempfile.mkdtemp(prefix="household-", dir=fast if fast.is_dir() else None)), pace)
    with installed(world.kernel, world):
        try:
            world.play()
            broken = violations(world)
        finally:
            world.close()
    facts = [*world.record.contacts, *((one.at, one.said) for one in world.promises)]
    seen = frozenset(
        [event for _, event, _ in world.logged]
        + [f"advice {line['name']}" for story in world.stories.values() for line in story["trail"] if line.get("name")]
        + [f"mood {spell.mood}" for one in world.upstreams.values() for spell in one.spells]
        + [event.kind for event in plan.events]
    )
    return Played(plan, tuple(broken), (world.kernel.now - 1000.0) / DAY, f"{hash(tuple(facts)) & 0xFFFFFFFF:08x}", seen)
