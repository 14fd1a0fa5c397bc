"""Advice and findings in Japanese: complete, and with the same things to type."""

import re
from datetime import UTC, datetime

import pytest

from relay.control import translated
from relay.control.views import trail_view
from relay.doctor.finding import NAMES
from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.replies import RULES, Rule, judge
from relay.outbound.replies.verdict import _DONE
from relay.outbound.trail import advised

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def typed(text: str) -> set[str]:
    """Settings and commands: what stands between backticks."""
    return set(re.findall(r"`([^`]*)`", text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_is_told_in_japanese(rule: Rule) -> None:
    """Cause and remedy, with the settings and commands of the English."""
    cause, remedy = translated._table("advice_ja.tsv")[rule.name]
    assert (translated.rule(rule.name, "ja"), translated.rule(rule.name, "en")) == ((cause, remedy), ())
    assert (typed(cause), typed(remedy)) == (typed(rule.cause), typed(rule.remedy))
    assert re.search("[ぁ-ん]", cause) and re.search("[ぁ-ん]", remedy)


def test_all_that_the_relay_does_is_told_in_japanese() -> None:
    """One sentence for each fate and blame; nothing stands there that does not exist."""
    done = {f"{fate.value}/{blame.value}" for fate, blame in _DONE}
    assert set(translated._table("advice_ja.tsv")) == done | {rule.name for rule in RULES}


def test_every_finding_has_its_line_in_japanese() -> None:
    """And there is none for a finding that does not exist."""
    table = translated._table("findings_ja.tsv")
    assert set(table) == NAMES
    assert all(
        len(texts) == 1 and re.search("[ぁ-ん]", texts[0]) and text.count("`") % 2 == 0
        for texts in table.values()
        for text in texts
    )
    assert translated.finding("clock", "ja") == table["clock"]
    assert translated.finding("clock", "en") == translated.finding("nonsense", "ja") == ()


def test_advice_in_the_trail_is_told_in_the_viewers_language() -> None:
    """The line names the rule; the sentence is made for who reads it.  A line without that keeps its English."""
    verdict = judge(Answer(Stage.AUTH, Reply(535, "5.7.8", "authentication failed")))
    line = trail_view(advised(verdict.advice.with_link, "isp", NOW, verdict))
    assert (line["name"], line["fate"]) == (verdict.rule.name, "deferred")
    assert translated.advice(line, "en") == line["text"] == " ".join(verdict.advice.with_link)
    told = translated.advice(line, "ja")
    assert "パスワード" in told
    assert told.endswith(f"docs/advice.md#{verdict.rule.name}")
    old = trail_view(advised(verdict.advice.with_link, "isp", NOW))
    assert translated.advice(old, "ja") == old["text"]
    assert translated.advice({**line, "name": "a-rule-of-later"}, "ja") == line["text"]
