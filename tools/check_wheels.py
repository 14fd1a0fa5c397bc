"""Proves that the relay installs on small boards without a compiler, from requirements/push.txt and its hashes alone.

For each Python, C library and processor: pip is asked, as if it ran there, whether every pinned dependency has a wheel whose
hash is in the lock file.  What has none must install from its source without a compiler; that is tried here, with a
compiler that always fails.  The index is whatever pip is configured to use.

    python tools/check_wheels.py [--everywhere] [--json]        exit 0 proven or no index in reach (it says which), 1 not so
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements/push.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Debian 12 has glibc 2.36, Alpine since 3.13 musl 1.2: what boards run.
GLIBC, MUSL = range(17, 37), range(1, 3)
PROCESSORS = ("x86_64", "aarch64", "armv7l")
IMPORTED_AS = {"pyyaml": "yaml"}


@dataclass(frozen=True)
class Board:
    """Somewhere that the relay may be installed."""

    python: str
    libc: str
    processor: str

    def __str__(self) -> str:
        return f"cp{self.python.replace('.', '')} {self.libc} {self.processor}"

    @property
    def tags(self) -> list[str]:
        if self.libc == "musl":
            return [f"musllinux_1_{minor}_{self.processor}" for minor in MUSL]
        return [f"manylinux2014_{self.processor}", *(f"manylinux_2_{minor}_{self.processor}" for minor in GLIBC)]


def requirements(lock: str) -> dict[str, str]:
    """name -> its lines, hashes included."""
    blocks = re.split(r"\n(?=\S)", lock.strip())
    return {re.split(r"[=;\s]", block)[0].lower(): block for block in blocks}


def pip(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
    env = {**os.environ, "LC_ALL": "C", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)  # noqa: S603 - pip, by our words


def wheels(board: Board, blocks: dict[str, str]) -> dict[str, str]:
    """Name -> wheel that pip would take on that board, "" where there is none.  Raises RuntimeError with pip's words."""
    without: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        lock, report = Path(folder, "lock.txt"), Path(folder, "report.json")
        platforms = [word for tag in board.tags for word in ("--platform", tag)]
        target = ("--implementation", "cp", "--python-version", board.python, "--target", f"{folder}/none", *platforms)
        how = ("--dry-run", "--ignore-installed", "--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet")
        while not report.exists():
            lock.write_text("\n".join(block for name, block in blocks.items() if name not in without), encoding="utf-8")
            done = pip("install", *how, *target, "--report", str(report), "-r", str(lock))
            if done.returncode:
                missing = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)==", done.stderr)
                if not missing or missing[1] in without:
                    raise RuntimeError(done.stderr.strip()[-500:])
                without[missing[1]] = ""
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    files = [(one["metadata"]["name"], one["download_info"]["url"].rpartition("/")[2]) for one in chosen]
    return {re.sub(r"[-_.]+", "-", name).lower(): re.sub(r"[#?].*", "", file) for name, file in files} | without


def index_in_reach(block: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "lock.txt")
        lock.write_text(block + "\n", encoding="utf-8")
        how = ("--no-deps", "--require-hashes", "--quiet", "--retries", "1", "--timeout", "10")
        return pip("download", *how, "--dest", folder, "-r", str(lock)).returncode == 0


def from_source(name: str, block: str) -> str:
    """Empty if the source installs and imports where every compiler fails; else what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "lock.txt")
        lock.write_text(block + "\n", encoding="utf-8")
        venv.create(Path(folder, "venv"), with_pip=False, symlinks=True)
        site = next(Path(folder, "venv", "lib").glob("python*/site-packages"))
        none = {"CC": "false", "CXX": "false", "LDSHARED": "false"}
        how = ("--no-deps", "--require-hashes", "--no-binary", name, "--no-cache-dir", "--quiet")
        done = pip("install", *how, "--target", str(site), "-r", str(lock), **none)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        if compiled := [file.name for file in site.rglob("*.so")]:
            return f"its source was compiled after all: {', '.join(compiled)}"
        imported = [str(Path(folder, "venv", "bin", "python")), "-c", f"import {IMPORTED_AS.get(name, name.replace('-', '_'))}"]
        tried = subprocess.run(imported, capture_output=True, text=True, check=False)  # noqa: S603 - what was just installed
        return "" if tried.returncode == 0 else f"installed from source it cannot be imported: {tried.stderr.strip()[-200:]}"


def boards(everywhere: bool) -> list[Board]:
    """Those with an ARM processor and the image's Python; or all."""
    image = re.search(r"^ARG BASE=python:(3\.\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    pythons = PYTHONS if everywhere or not image else (image[1],)
    processors = PROCESSORS if everywhere else PROCESSORS[1:]
    return [Board(python, libc, one) for python in pythons for libc in ("glibc", "musl") for one in processors]


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove that the relay installs without a compiler on x86-64 and ARM.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--everywhere", action="store_true", help="every Python and x86-64 too; takes minutes")
    asked = parser.parse_args()
    blocks = requirements(LOCK.read_text(encoding="utf-8"))
    if not index_in_reach(blocks[min(blocks, key=lambda name: len(blocks[name]))]):  # the one with the fewest files
        print("skipped: pip reaches no package index from here", file=sys.stderr)
        return 0
    found = {str(board): wheels(board, blocks) for board in boards(asked.everywhere)}
    sources = sorted({name for files in found.values() for name, file in files.items() if not file})
    wrong = {name: why for name in sources if (why := from_source(name, blocks[name]))}
    if asked.json:
        print(json.dumps({"boards": found, "from_source": sources, "wrong": wrong}, indent=2))
    else:
        show(found, wrong)
    return 1 if wrong else 0


def show(found: dict[str, dict[str, str]], wrong: dict[str, str]) -> None:
    for board, files in found.items():
        pure = sum(file.endswith("-any.whl") for file in files.values())
        native = sorted(name for name, file in files.items() if file and not file.endswith("-any.whl"))
        without = [name for name, file in files.items() if not file]
        print(f"{board:22s} {pure} pure, {len(native)} native ({', '.join(native)})", end="")
        print(f"; from source, in pure Python: {', '.join(without)}" if without else "")
    for name, why in wrong.items():
        print(f"{name} has no wheel somewhere, and its source does not help: {why}")
    if not wrong:
        print("no compiler is needed anywhere")


if __name__ == "__main__":
    sys.exit(main())
