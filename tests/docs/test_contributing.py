"""The examples of CONTRIBUTING.md apply to the tree as it is, and pass its tests."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.reading import ROOT, blocks

DIFFS = [block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "diff"]
TOUCHED = ["tests/unit/test_repair.py", "tests/unit/test_replies.py", "tests/unit/test_providers.py"]


def test_the_examples_apply_and_pass(tmp_path: Path) -> None:
    """A repair, a provider and an advice, each as printed: `git apply`, then the tests that they name."""
    assert len(DIFFS) == 3
    ignored = shutil.ignore_patterns("__pycache__", "device-mail", "rfc7208")
    for name in ("relay", "tests", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for diff in DIFFS:
        applied = subprocess.run(
            ["git", "apply", "--verbose"], input=diff, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert applied.returncode == 0, applied.stderr
    wanted = "priority or moved or runbox or evidence"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-k", wanted, *TOUCHED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    for example in ("test_an_empty_priority_goes", "moved-", "runbox", "test_every_rule_has_its_evidence"):
        assert example in ran.stdout
