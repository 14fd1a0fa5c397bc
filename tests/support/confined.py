"""A process under the system call filter of packaging/relay.service, without systemd: the same calls are refused, by the same
error.  The groups (`@system-service`) are those of the systemd at hand; the kernel's filter is made by libseccomp.

    python -m tests.support.confined COMMAND...     becomes COMMAND
    confined()                                      those words, for `RelayProcess.wrapper`; skips where it cannot be
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

UNIT = Path(__file__).parents[2] / "packaging" / "relay.service"
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000


def confined() -> list[str]:
    import pytest

    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze, which knows the groups of system calls, is not installed")
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed")
    return [sys.executable, "-m", "tests.support.confined"]


def allowed() -> frozenset[str]:
    """The system calls that the unit's lines allow: each line adds to the last ones, or with ~ takes away."""
    calls: frozenset[str] = frozenset()
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, _, words = line.partition("=")
        if name == "SystemCallFilter":
            named = frozenset().union(*(members(word) for word in words.removeprefix("~").split()))
            calls = calls - named if words.startswith("~") else calls | named
    return calls | members("@default")  # systemd adds it to every list of what is allowed


@cache
def members(name: str) -> frozenset[str]:
    if not name.startswith("@"):
        return frozenset([name])
    said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in said.splitlines()[1:]]
    return frozenset().union(*(members(word) for word in words if word and not word.startswith("#")))


def confine() -> None:
    """From here on, for this process and all that come of it."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    made = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | errno.EPERM)))
    for name in sorted(allowed()):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below 0 are those of other machines
            library.seccomp_rule_add(made, ctypes.c_uint32(_ALLOW), ctypes.c_int(number), ctypes.c_uint(0))
    if library.seccomp_load(made) != 0:  # with no_new_privs, as in the unit
        raise OSError("the filter cannot be loaded")


if __name__ == "__main__":
    confine()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the test's own words
