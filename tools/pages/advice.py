"""docs/advice.md: every reply that the relay can explain, from its table, each with words that servers really said."""

import re
from collections import defaultdict
from pathlib import Path

from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.replies import (
    RULES,
    Blame,
    Fate,
    Rule,
    connection_rules,
    fault_rules,
    judge,
    login_rules,
    message_rules,
    quota_rules,
    recipient_rules,
    reputation_rules,
    sender_rules,
)
from relay.outbound.replies.verdict import done_for

CORPUS = Path(__file__).parents[2] / "tests" / "corpus"

HEAD = """# Advice

When an upstream refuses something, the trail of the message (`relay queue show ID`), the status page and the notice give its
own words and then advice: what they mean, what the relay does, and what you can do. The trail ends it with a link to this
page, where each has its section. `relay advise "550 5.7.26 ..."` says the same of any reply of a server that you paste.

## The words on this page

- An **upstream** is a server that the relay gives your mail to, mostly your provider's. The **route** of a mail is the list of
  upstreams that may carry it, in their order; with one upstream it is that one alone.
- The **configuration** is the file `config.yaml` that the relay was started with ([all settings](configuration.md)).
  `username`, `password_file`, `sender`, `rewrite`, `tls`, `limits` and the like stand there under the upstream's name;
  `aliases` under `recipients`, `routes` by itself, `notices.to` as `to` under `notices`. `password_file` names the file that
  has the password.
- After a change run `relay reload`, then `relay queue retry --all`: what waits is tried at once. Otherwise it is tried later by
  itself, until it is older than `retry.give_up_after` (5 days).
- **`ID`** is the number of a message, as in the notice and in `relay queue list`. `relay queue release ID` sends a failed
  message again (on the status page: *Send again*).
- A reply begins with a number. With 4 it says "not now", with 5 "no"; the words tell why.
- A **notice** of failed mail goes to the sender's address if mail can be sent there, else to `notices.to`. Nobody reads what a
  printer gets: set `notices.to` to your own address, and in the printer a sender that somebody reads, or one that does not
  exist outside (`printer@office.local`). See [when mail fails](concepts.md#when-mail-fails).
- **Our own words**: no server said this, the relay found it. There is no need to paste such words into `relay advise`:
  `relay queue show ID` has the advice on them already, and knows more than the words.

The page is made from the table in `relay/outbound/replies/` (`make pages`). The words of servers are some of those by which
the table is tested. An unknown reply is told as it is. If you know what it means, please send us its words: that is one rule.

## What the relay does

A reply is about somebody, and that decides what happens to the mail. Only what is about this message or this recipient can
fail; addresses and host names that a reply repeats decide nothing. With several upstreams in the route the mail fails only if
all of them refuse it, or after `retry.give_up_after`.

| the reply is about | what the relay does |
| --- | --- |
"""

_WHO = {
    Blame.NOBODY: "nobody: the mail is taken",
    Blame.UNCERTAIN: "nobody knows: the answer was lost",
    Blame.UPSTREAM: "the upstream itself, or the way to it",
    Blame.GREYLIST: "strangers, who have to wait (greylisting)",
    Blame.RATE: "the pace: too fast, too many at once",
    Blame.QUOTA: "the account: it has sent all that it may, or is barred",
    Blame.LOGIN: "the login",
    Blame.REPUTATION: "the address of your internet line",
    Blame.SENDER: "the sender's address or its domain",
    Blame.RELAY_DENIED: "the upstream does not carry this mail for you",
    Blame.RECIPIENT: "the recipient",
    Blame.MESSAGE: "the message",
}

GROUPS: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("What the relay finds itself", (*fault_rules.FAULTS, fault_rules.PORT_25, *fault_rules.SILENCES)),
    ("Connections", connection_rules.CONNECTIONS),
    ("Logins", (*login_rules.CODED_LOGINS, *login_rules.LOGINS, *login_rules.LOGIN_NUMBERS)),
    ("Senders", (*sender_rules.FROM_FIRST, *sender_rules.AUTHENTICITY, *sender_rules.SENDERS)),
    ("Relaying", (*sender_rules.POP_LOGINS, *sender_rules.RELAYING)),
    (
        "Our name and our address",
        (
            *reputation_rules.GOOGLE_GREETING,
            *reputation_rules.GREETING,
            *reputation_rules.REVERSE_DNS,
            *reputation_rules.REPUTATION,
        ),
    ),
    ("The message", (*message_rules.FORM, *message_rules.BODY, *message_rules.SPAM)),
    ("How much, how fast", (*quota_rules.QUOTAS, *quota_rules.ACCOUNT, *quota_rules.RATES)),
    ("Recipients", (*recipient_rules.GREYLIST, *recipient_rules.CLOSED, *recipient_rules.RECIPIENTS)),
)

_MOST = 3


def evidence() -> dict[str, list[tuple[str, str]]]:
    """Rule's name -> (words, who said them); addresses of machines are exchanged for 192.0.2.1."""
    said = [(line[0], line[2], line[3]) for line in _lines("advice.tsv")]
    for stage, words, _, _, _, who in _lines("replies-providers.tsv"):
        verdict = judge(Answer(Stage(stage), Reply.of(int(words[:3]), words[4:])))
        said.append((verdict.rule.name, words, who))
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, words, who in said:
        masked = re.sub(r"\b\d{1,3}(\.\d{1,3}){3}\b", "192.0.2.1", words)
        found[name].append((masked if len(masked) <= 200 else masked[:197] + "...", who))
    return found


def _lines(name: str) -> list[list[str]]:
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def _does(rule: Rule) -> str:
    last = done_for(Fate.FAILED, rule.blame)
    kept = done_for(Fate.RELAYED if rule.blame is Blame.NOBODY else Fate.DEFERRED, rule.blame)
    if rule.passing or not last:
        return kept
    return f"If it says no (5xx): {last} If it says not now (4xx): {kept}"


def _one(rule: Rule, said: list[tuple[str, str]]) -> str:
    lines = [f"### {rule.name}"]
    shown = "\n".join(f"- `` {words} ``" + (f" ({who})" if who not in ("any", "") else "") for words, who in said[:_MOST])
    if shown:
        lines += ["What is said:", shown]
    lines += [
        f"*What it means:* {rule.cause}",
        f"*What the relay does:* {_does(rule)}",
        f"*What you can do:* {rule.remedy}",
    ]
    return "\n\n".join(lines) + "\n"


def page() -> str:
    """The whole page; every rule of the table stands in exactly one group."""
    grouped = {rule for _, rules in GROUPS for rule in rules}
    groups = (*GROUPS, ("Everything else", tuple(rule for rule in RULES if rule not in grouped)))
    said = evidence()
    table = "".join(f"| {who} | {_does(Rule('', blame, (), '', ''))} |\n" for blame, who in _WHO.items())
    parts = [HEAD + table]
    for title, rules in groups:
        parts += [f"## {title}\n", *(_one(rule, said[rule.name]) for rule in rules)]
    return "\n".join(parts)
