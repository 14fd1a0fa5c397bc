"""Processes that the relay starts: they get of its environment what they need, and nothing else."""

import ast

from relay.detached import environment
from tests.unit.test_walls import FILES

STARTERS = {"run", "Popen", "call", "check_call", "check_output", "create_subprocess_exec", "create_subprocess_shell", "system"}


def starts(source: str) -> list[ast.Call]:
    """Every call that starts a process."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTERS:
            owner = ast.unparse(node.func.value)
            if owner in ("subprocess", "os") or (owner == "asyncio" and node.func.attr.startswith("create")):
                found.append(node)
    return found


def test_no_secret_reaches_a_child(monkeypatch):
    """Settings by the environment hold passwords; a child needs its language, its clock and its libraries."""
    for name in ("RELAY_PASSWORD", "RELAY_UPSTREAM", "AWS_SECRET_ACCESS_KEY", "NOTIFY_SOCKET", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert "secret" not in environment().values()
    assert environment()["TZ"] == "Asia/Tokyo"
    assert environment(LC_ALL="C")["LC_ALL"] == "C"
    assert environment("PG")["PGPASSWORD"] == "secret"  # libpq's own way to be told
    assert {"RELAY_PASSWORD", "NOTIFY_SOCKET"} & set(environment("PG")) == set()


def test_every_child_gets_an_environment_of_its_own():
    """No process is started with all of ours, wherever in the relay."""
    calls = {str(file): starts(file.read_text(encoding="utf-8")) for file in FILES}
    assert sum(map(len, calls.values())) >= 3
    for name, found in calls.items():
        for call in found:
            given = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "env"]
            assert given and given[0].startswith("environment("), f"{name}:{call.lineno}"
