"""Shell completion: what packaging/completion.py writes, asked by bash, zsh and fish themselves.

completion.py ──▶ usr/share/... ──▶ a Debian with the three shells ──"relay queue <TAB>"──▶ list, show, retry ...
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.overlay import run_inside

pytest.importorskip("shtab")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)

BASH = """
. /usr/share/bash-completion/bash_completion
COMP_LINE="$1" COMP_POINT=${#1}
read -ra COMP_WORDS <<<"$1"
case "$1" in *" ") COMP_WORDS+=("") ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_completion_loader relay || true
function=$(complete -p relay | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" relay "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

ZSH = """
zmodload zsh/zpty
print -r -- '
PROMPT=
autoload -Uz compinit
compinit -u
compadd () {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then
        builtin compadd "$@"
        return
    fi
    typeset -a hits
    builtin compadd -A hits "$@"
    print -rl -- $hits >>offered
    builtin compadd "$@"
}
' >rc
: >offered
zpty -b shell zsh -f -i
zpty -w shell '. ./rc; print REA""DY'
zpty -r shell said '*READY*'
zpty -n -w shell "$1"$'\t'
for i in {1..100}; do
    [[ -s offered ]] && break
    sleep 0.1
done
sleep 0.5
cat offered
"""

FISH = 'complete -C "$argv[1]"\n'

SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
ASKED = (
    ("relay ", {"queue", "doctor", "init", "send", "check", "run"}),
    ("relay queue ", {"list", "show", "retry", "hold", "release", "remove"}),
    ("relay queue list --", {"--all", "--state", "--json", "--config"}),
    ("relay oauth login --flow ", {"auto", "device", "code"}),
    ("relay init --provider sa", {"sakura"}),
    ("relay check --config /srv/peer/some", {"/srv/peer/somewhere.yaml"}),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("completion")
    command = [sys.executable, str(ROOT / "packaging" / "completion.py"), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_no_path_of_the_building_machine_is_in_it(files: dict[str, bytes]) -> None:
    assert len(files) == 3
    assert all(str(ROOT).encode() not in text for text in files.values())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_offers_commands_options_values_and_files(shell: str, files: dict[str, bytes]) -> None:
    """Each as a person would press Tab for it."""
    lines = "\n".join(f"echo '=== {line}'; timeout 30 {shell} /srv/peer/ask '{line}' 2>&1" for line, _ in ASKED)
    there = "cp -R /srv/peer/usr /; cp /bin/true /usr/bin/relay"  # fish completes only commands that it can run
    script = f"{there}; cd /srv/peer; export TERM=dumb LC_ALL=C.UTF-8 HOME=/root\n{lines}\n"
    inside = {**files, "ask": SHELLS[shell], "somewhere.yaml": ""}
    said = run_inside("shells", ["sh", "-c", script.replace("'", '"')], inside, seconds=200)
    answers = dict(part.split("\n", 1) for part in said.split("=== ")[1:])
    for line, wanted in ASKED:
        offered = answers[line].replace("\t", " ").split()
        missing = {word for word in wanted if word not in offered and Path(word).name not in offered}
        assert not missing, f"{line!r}: {answers[line]}"
