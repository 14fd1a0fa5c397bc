"""Each command of the pages: the relay's own are known with their options, make targets exist, what is marked is run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.cli.main import make_parser
from tests.docs.reading import PAGES, ROOT, Block, blocks, name_of, prose
from tests.docs.test_config_blocks import as_written, furnish
from tests.support.running import running
from tests.support.sink import sink

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)) | {".venv/runtime"}
PARSER = make_parser()
SHELL = [block for page in PAGES for block in blocks(page) if block.language in ("", "sh", "console")]
RUN = [block for page in PAGES for block in blocks(page) if block.mark == "run"]
BESIDE = [block for page in PAGES for block in blocks(page) if block.mark == "run: beside a relay"]
PLACEHOLDER = re.compile(r"\.\.\.|[\[\]|…/ ]+$|\[")


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a text, those of `#` comments and of other languages left out."""
    for line in text.replace("\\\n", " ").splitlines():
        bare = line.strip().removeprefix("$ ")
        if not re.match(r"(sudo |cd .*&&|docker |kubectl |make |relay |\.venv/bin/|RELAY_|git |echo )", bare):
            continue
        lexer = shlex.shlex(bare, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        command: list[str] = []
        for word in lexer:
            if word in ("&&", "||", ";", "|", ">", "<", "(", ")"):
                yield command
                command = []
            else:
                command.append(word)
        yield command


def to_relay(command: list[str]) -> list[str] | None:
    """What `relay` itself is told by this command, whoever calls it; None if it is not called."""
    text = " ".join(shlex.quote(word) for word in command)
    called = re.match(
        r"(?:sudo (?:-u relay )?)?(?:[A-Z_]+=\S+ )*"
        r"(?:docker (?:compose )?(?:exec|run)(?: --rm)?(?: -\w+)* [\w.-]+ (?=relay|check|queue)|kubectl exec deploy/relay -- )?"
        r"(?:relay|(?:/opt/relay/)?\.venv/bin/(?:python -m )?relay|(?=(?:check|queue) ?))(?: |$)(.*)",
        text,
    )
    inside = text.startswith(("docker", "sudo docker", "kubectl", "relay", ".venv", "sudo -u relay", "RELAY_"))
    return shlex.split(called[1]) if called and inside else None


def known(words: list[str]) -> bool:
    """Whether the command line takes these words."""
    try:
        PARSER.parse_args(words)
    except SystemExit as status:
        return status.code == 0
    return True


@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in SHELL])
def test_commands_in_blocks_are_known(block: Block) -> None:
    """Verbs and options of relay, targets of make."""
    for command in commands(block.text):
        words = to_relay(command)
        if words is not None and "..." not in words:
            assert known(words), " ".join(command)
        if "make" in command[:2]:
            wanted = [
                word for word in command[command.index("make") + 1 :] if not word.startswith(("-", "/opt")) and "=" not in word
            ]
            assert set(wanted) <= TARGETS, " ".join(command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_are_known(page: Path) -> None:
    """`relay queue show ID` and the like; of those with placeholders the verbs."""
    for code in re.findall(r"(?<!`)`((?:relay|make) [^`]+)`(?!`)", prose(page)):
        first, *words = code.split()
        if first == "make":
            assert words[0] in TARGETS, code
        elif PLACEHOLDER.search(code):
            verbs = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
            assert known([*verbs, "--help"]) or known([*verbs[:1], "--help"]), code
        else:
            assert known(shlex.split(" ".join(words))) or known([*words, "--help"]), code


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
def test_every_verb_stands_in_the_table_of_commands(readme: str) -> None:
    """A new verb is told of."""
    verbs = re.search(r"\{(.+?)\}|^commands:\n((?:.+\n)+)", PARSER.format_help(), re.MULTILINE)
    assert verbs
    names = set(re.findall(r"^    ([a-z]+) ", verbs[0], re.MULTILINE))
    told = re.findall(
        r"`relay ([a-z]+)", "\n".join(re.findall(r"^\| `relay.*", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE))
    )
    assert len(names) > 10
    assert names - set(told) == set()


@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in SHELL if block.language == "sh"])
def test_shell_can_be_read(block: Block) -> None:
    """A shell finds no mistake in its form."""
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert checked.stderr == ""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A place in which `relay` and `.venv/bin/relay` work, as in a clone."""
    for name in ("bin", ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    for name, start in (("bin/relay", "-m relay"), (".venv/bin/relay", "-m relay")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start} "$@"\n', encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def config_before(block: Block) -> Any:
    """The last whole configuration above it on the page, with its spool in the scratch place."""
    above = [one for one in blocks(block.page) if one.language == "yaml" and not one.mark and one.line < block.line]
    config = as_written(above[-1].text) if above else None
    return config and {**config, "spool": {"url": "sqlite:spool.db"}}


def run(block: Block, scratch: Path) -> None:
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=scratch,
        env={"PATH": f"{scratch}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(scratch)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in RUN])
def test_what_is_marked_is_run(block: Block, scratch: Path) -> None:
    """Each line succeeds, beside the configuration that the page shows before it, without a network."""
    config = config_before(block)
    if config:
        furnish(config, scratch)
        (scratch / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    run(block, scratch)


@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in BESIDE])
def test_what_is_said_to_a_relay_that_runs_is_run(block: Block, scratch: Path) -> None:
    """The same beside a relay whose upstream takes everything."""
    (scratch / "sink").mkdir()
    with sink(scratch / "sink") as upstream:
        isp = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "nas@isp.example"}
        with running(scratch, {"upstreams": {"isp": isp}, "notices": {"to": "me@far.example"}}):
            run(block, scratch)


def test_something_is_run() -> None:
    """The marks are found."""
    assert RUN
    assert BESIDE
