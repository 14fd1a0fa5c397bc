"""docs/advice.md: every refusal that the relay can explain, from its table, each with words that servers really said."""

import re
from collections import defaultdict
from pathlib import Path

from relay.outbound.refusals import LOGINS, SENDERS, SILENCES, Refusal
from relay.outbound.refusals_oauth import TOKENS

from relay.outbound import refusals_mail as mail
from relay.outbound.advice import REFUSALS

EVIDENCE = Path(__file__).parents[2] / "tests" / "corpus" / "advice.tsv"

HEAD = """# Advice

When an upstream refuses something, the trail of the message (`relay queue show ID`), the status page and the notice give its
own words and then advice: the cause, what the relay does about it, and what you can do. The trail ends it with a link to this
page, where each has its section. It is made from the table in `relay/outbound/refusals*.py` (`make pages`), and the words of
servers are those by which the table is tested.

An unknown refusal is told as it is. If you know what it means, please send us its words: that is one row in the table.
"""

GROUPS: tuple[tuple[str, tuple[Refusal, ...]], ...] = (
    ("No answer, and TLS", SILENCES),
    ("Access tokens", TOKENS),
    ("Logins", LOGINS),
    ("Senders", SENDERS),
    ("Our name and our line", mail.LINES),
    ("The message", mail.MESSAGES),
    ("How much, how fast", mail.AMOUNTS),
    ("Recipients", mail.RECIPIENTS),
    ("Everything else", (*mail.OTHERS, *mail.GENERAL)),
)

_MOST = 3


def evidence() -> dict[str, list[tuple[str, str]]]:
    """Refusal's name -> (words, who said them); addresses of machines are exchanged for 192.0.2.1."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in EVIDENCE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, words, who = line.split("\t")
            words = re.sub(r"\b\d{1,3}(\.\d{1,3}){3}\b", "192.0.2.1", words)
            found[name].append((words if len(words) <= 200 else words[:197] + "...", who))
    return found


def _one(row: Refusal, said: list[tuple[str, str]]) -> str:
    lines = [f"### {row.name}", row.cause, f"*The relay:* {row.deed.value}", f"*You:* {row.remedy}", "Words of servers:"]
    shown = "\n".join(f"- `` {words} ``" + (f" ({who})" if who not in ("any", "") else "") for words, who in said[:_MOST])
    return "\n\n".join([*lines, shown]) + "\n"


def page() -> str:
    """The whole page; every row of the table stands in exactly one group, or ValueError."""
    if sorted(row.name for _, rows in GROUPS for row in rows) != sorted(row.name for row in REFUSALS):
        raise ValueError("GROUPS and REFUSALS do not hold the same rows")
    said = evidence()
    parts = [HEAD]
    for title, rows in GROUPS:
        parts += [f"## {title}\n", *(_one(row, said[row.name]) for row in rows)]
    return "\n".join(parts)
