"""In which order the files of a run come, so that no worker is left alone with a long one at the end.

1. what is long and needs nothing    2. what needs an image or a layer, made meanwhile    3. all that is short
"""

from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).parents[1]

SECONDS = {
    "browser/test_person.py": 15,
    "chaos/test_clock.py": 13,
    "chaos/test_crash_table.py": 17,
    "chaos/test_disk_faults.py": 16,
    "chaos/test_drain.py": 23,
    "chaos/test_hostile_lan.py": 13,
    "chaos/test_kill.py": 16,
    "chaos/test_oauth_kill.py": 8,
    "chaos/test_own_death.py": 85,
    "chaos/test_postgres.py": 18,
    "chaos/test_power_loss.py": 12,
    "chaos/test_secrets.py": 14,
    "chaos/test_spool_full_disk.py": 8,
    "chaos/test_spool_kill.py": 9,
    "chaos/test_storm_steps.py": 12,
    "container/test_image.py": 40,
    "container/test_life.py": 60,
    "container/test_nat.py": 20,
    "contract/test_accepting.py": 9,
    "contract/test_postgres.py": 22,
    "corpus/test_device_mail.py": 20,
    "hostile/test_hostile.py": 40,
    "peers/test_devices.py": 11,
    "peers/test_doctor_peers.py": 24,
    "peers/test_forwarding.py": 35,
    "peers/test_mx_hosts.py": 10,
    "peers/test_oauth_dovecot.py": 50,
    "peers/test_peers_themselves.py": 14,
    "peers/test_programs.py": 15,
    "properties/test_spool_machine.py": 10,
    "stations/test_commands.py": 30,
    "stations/test_control_api.py": 20,
    "stations/test_doctor.py": 28,
    "stations/test_doctor_command.py": 10,
    "stations/test_field_notes.py": 37,
    "stations/test_load.py": 18,
    "stations/test_oauth_login.py": 12,
    "stations/test_record.py": 19,
    "stations/test_runner.py": 45,
    "stations/test_session_limits.py": 13,
    "stations/test_shared_relay.py": 15,
    "stations/test_storm_nights.py": 9,
    "stations/test_web_strangers.py": 18,
}
"""About how long a file takes, on two busy cores; what is not here takes less.  `pytest --durations=60` tells."""

PREPARED = {"container": "image", "peers": "layers"}
"""Folders whose first test would have to wait for something to be made, and what that is (tests/support/preparing.py)."""


def turn(file: Path) -> tuple[int, int]:
    """The smaller, the sooner."""
    within = file.relative_to(TESTS) if file.is_relative_to(TESTS) else file
    seconds = SECONDS.get(within.as_posix(), 0)
    if within.parts[0] in PREPARED:
        return 1, -seconds
    return (0, -seconds) if seconds else (2, 0)


def to_prepare(files: Iterable[Path]) -> list[str]:
    """What the run will want, if it has whole folders of those that want anything."""
    asked = {file for file in files if file.is_relative_to(TESTS)}
    return [what for folder, what in PREPARED.items() if set((TESTS / folder).glob("test_*.py")) <= asked]
