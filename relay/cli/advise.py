"""`relay advise`: what a reply of a server means, what the relay does about it, and what to do."""

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from relay.cli.common import complain, harmless, print_json
from relay.cli.main import FINE, USAGE

if TYPE_CHECKING:
    from relay.mail.reply import Reply, Stage
    from relay.outbound.replies import Verdict

_LIKELY = ("rcpt", "content", "mail", "connect")
_LOGIN_CODES = frozenset({334, 432, 454, 530, 534, 535, 538})  # RFC 4954 s6
"""Where a reply was most probably said, if nobody tells: the first of these where a rule knows its words."""
_NO_WAY = ("4.4.1", "4.4.3")  # RFC 3463 s3.5: no answer from the host; its name could not be looked up
_SAID = {
    "connect": "at the beginning of the connection",
    "tls": "when TLS, the secured connection, was to begin",
    "hello": "in answer to the relay's greeting",
    "auth": "at the login",
    "mail": "in answer to the sender's address",
    "rcpt": "in answer to the recipient's address",
    "content": "in answer to the message itself",
}
_GUESSED = " (as its words suggest; `--stage` if it was elsewhere)"
_AFTER = "  After a change:       save the file, run `relay reload`, then `relay queue retry --all`."
_CODED = re.compile(r"\s*(\d{3})(?:[ -]|$)")
_QUOTED = re.compile(r"[^\n\d]{0,100}:\s*(?=[2-5]\d\d(?:[ -]|$))")
"""What notices and trails put before a reply: `isp said:`."""


class _NotAsked(Exception):
    """What was typed or read is no question; the words say why."""


def call(asked: argparse.Namespace) -> int:
    try:
        questions = [_typed(asked.stage, asked.reply)] if asked.reply is not None else _read(asked.stage)
    except _NotAsked as why:
        complain(why)
        return USAGE
    from relay.mail.reply import Answer
    from relay.outbound.replies import judge

    answers = [(stage, words, judge(Answer(stage, reply))) for stage, words, reply in questions]
    if asked.json:
        print_json({"replies": [_row(stage, words, verdict) for stage, words, verdict in answers]})
        return FINE
    sure = asked.reply is None or bool(asked.stage)
    for number, (stage, words, verdict) in enumerate(answers):
        print("\n" * bool(number) + "\n".join(_told(stage, sure, words, verdict)))
    return FINE


def _typed(stage: str, words: str) -> "tuple[Stage, str, Reply]":
    from relay.mail.reply import Answer, Stage
    from relay.outbound.replies import judge

    words = words.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    words = words[before.end() :] if (before := _QUOTED.match(words)) else words
    if not _CODED.match(words):
        found = harmless(words[:80]) or "nothing"
        raise _NotAsked(f"expected a reply that begins with its number, such as 550; found: {found}")
    reply = _reply(words)
    if stage:
        return Stage(stage), words, reply
    if judge(Answer(Stage.TLS, reply)).rule.stages == {Stage.TLS}:  # its words speak of TLS alone
        return Stage.TLS, words, reply
    first = "auth" if reply.code in _LOGIN_CODES else "connect" if reply.status in _NO_WAY else "rcpt"
    likely = (first, *_LIKELY)
    known = (Stage(each) for each in likely if judge(Answer(Stage(each), reply)).known)
    return next(known, Stage.RCPT), words, reply


def _read(stage: str) -> "list[tuple[Stage, str, Reply]]":
    """Lines `stage<TAB>reply`; with --stage a line may be the reply alone."""
    from relay.mail.reply import Stage

    if sys.stdin is None or sys.stdin.isatty():
        raise _NotAsked('expected a reply, as in: relay advise "550 5.1.1 User unknown"; or lines `stage<TAB>reply` on stdin')
    names = [each.value for each in Stage]
    questions = []
    for number, raw in enumerate(sys.stdin.buffer.read().split(b"\n"), start=1):
        line = raw.decode("utf-8", "replace").rstrip("\r")
        if not line.strip():
            continue
        named, tab, words = line.partition("\t")
        if not tab and stage:
            named, words = stage, line
        if named.strip() not in names:
            raise _NotAsked(
                f"line {number}: expected `stage<TAB>reply` with a stage of {', '.join(names)}; found: {harmless(line[:80])}"
            )
        questions.append((Stage(named.strip()), words.strip(), _reply(words)))
    if not questions:
        raise _NotAsked("expected lines `stage<TAB>reply` on standard input, found none")
    return questions


def _reply(words: str) -> "Reply":
    """A pasted reply may have several lines, each with the number; one without a number is none that mail knows."""
    from relay.mail.reply import Reply

    first = _CODED.match(words)
    if first is None:
        return Reply.of(0, words)
    return Reply.of(int(first[1]), " ".join(_without(first[1], line.strip()) for line in words.splitlines()))


def _without(code: str, line: str) -> str:
    return line[4:] if line.startswith(code) and line[3:4] in ("", " ", "-") else line


def _row(stage: "Stage", words: str, verdict: "Verdict") -> dict[str, Any]:
    return {
        "stage": stage.value,
        "reply": words,
        "fate": verdict.fate.value,
        "blame": verdict.blame.value,
        "rests": verdict.rests,
        "next": verdict.try_next,
        "advice": [*verdict.advice.sentences, f"More: {verdict.advice.link}"],
    }


def _told(stage: "Stage", sure: bool, words: str, verdict: "Verdict") -> list[str]:
    from relay.outbound.replies import Fate

    advice = verdict.advice
    return [
        f"{harmless(words)}",
        f"  It was said:          {_SAID[stage.value]}{'' if sure else _GUESSED}",
        f"  What it means:        {advice.cause}",
        f"  What the relay does:  {advice.done}",
        f"  What you can do:      {advice.remedy}",
        *([_AFTER] if verdict.fate is Fate.DEFERRED else []),
        f"  More:                 {advice.link}",
    ]
