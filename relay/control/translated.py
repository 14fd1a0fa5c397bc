"""Advice and findings in Japanese, found by the name of the rule or finding; in English as they are."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from relay.outbound.replies import RULES, Rule

_TEXTS = Path(__file__).parent / "texts"


def advice(line: Mapping[str, Any], language: str) -> str:
    """A line of the trail that advises, in words."""
    name, known = str(line.get("name", "")), _rules().get(str(line.get("name", "")))
    if language != "ja" or known is None:  # an older relay's line has no name
        return str(line["text"])
    cause, remedy = rule(name, language)
    (done,) = _table("advice_ja.tsv")[f"{line['fate']}/{known.blame.value}"]
    return f"{cause}{done}{remedy}詳細：docs/advice.md#{name}"


def rule(name: str, language: str) -> tuple[str, ...]:
    """Cause and remedy of such a reply; empty in English, which has them in the rule itself."""
    return _table("advice_ja.tsv").get(name, ()) if language == "ja" else ()


def finding(name: str, language: str) -> tuple[str, ...]:
    """What such a finding means, and what is to be done in general; empty in English, which has it in the finding itself."""
    return _table("findings_ja.tsv").get(name, ()) if language == "ja" else ()


@cache
def _rules() -> dict[str, Rule]:
    return {one.name: one for one in RULES}


@cache
def _table(file: str) -> dict[str, tuple[str, ...]]:
    """Read when somebody needs it."""
    lines = (_TEXTS / file).read_text(encoding="utf-8").splitlines()
    parts = (line.split("\t") for line in lines if not line.startswith("#"))
    return {name: tuple(texts) for name, *texts in parts}
