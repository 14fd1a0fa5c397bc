"""The pages that are made from the code say what the code says, and every link that the program prints leads somewhere."""

import re
from datetime import UTC, datetime
from functools import cache

import pytest

from relay.doctor.finding import NAMES
from relay.mail.address import Address
from relay.mail.dsn import NotifiedMessage, RecipientStatus, compose
from relay.mail.message import Message
from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.replies import PAGE, RULES, Advice, judge
from relay.upstream.providers import PRESETS
from tools.pages import DOCS, pages

NAMES_OF_PAGES = ("configuration.md", "advice.md", "providers.md", *(f"providers/{preset.key}.md" for preset in PRESETS))


@cache
def made() -> dict[str, str]:
    return dict(pages())


def test_every_page_that_is_made_is_looked_at() -> None:
    assert sorted(made()) == sorted(NAMES_OF_PAGES)


@pytest.mark.parametrize("name", sorted(NAMES_OF_PAGES))
def test_the_page_in_the_tree_is_the_page_that_would_be_made(name: str) -> None:
    """Whoever changes a setting, a preset or an advice runs `make pages`."""
    assert (DOCS / name).read_text(encoding="utf-8") == made()[name]


def test_no_page_of_a_provider_is_left_over() -> None:
    """A provider that is gone leaves no page behind."""
    assert {file.name for file in (DOCS / "providers").iterdir()} == {f"{preset.key}.md" for preset in PRESETS}


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "docs/index.md"])
def test_the_number_of_providers_is_right(page: str) -> None:
    """Where a page counts them, it counts right."""
    assert re.search(rf"\b{len(PRESETS)}\b", (DOCS.parent / page).read_text(encoding="utf-8"))


def headings(name: str) -> list[str]:
    return re.findall(r"^#{2,} (\S+)$", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.name)
def test_every_advice_has_its_section(row) -> None:  # type: ignore[no-untyped-def]
    """The link in the trail leads to a section that has its words."""
    link = Advice(row.name, row.cause, "", row.remedy).link
    assert link == f"{PAGE}#{row.name}" == f"docs/advice.md#{row.name}"
    assert headings("advice.md").count(row.name) == 1
    page = (DOCS / "advice.md").read_text(encoding="utf-8")
    section = page.partition(f"### {row.name}\n")[2].partition("\n### ")[0]
    assert row.cause in section
    assert row.remedy in section
    assert re.search(r"^- `` .+ ``", section, re.MULTILINE)


def test_the_notice_and_the_story_of_the_example_have_the_words_of_today() -> None:
    """What docs/concepts.md shows of a failed scan is what the relay writes."""
    said = Reply.of(550, "5.1.1 The email account that you tried to reach does not exist.")
    advice = judge(Answer(Stage.RCPT, said)).advice
    who, scanner = Address("taro", "customer.example"), Address("scanner", "office.local")
    told = RecipientStatus(who, True, False, 550, "5.1.1", said.text, "isp", cause=advice.cause, remedy=advice.remedy)
    fields = Message.parse((b"Subject: Scan 2026-11-30\r\n\r\n",)).fields
    taken = datetime(2026, 11, 30, 11, 46, 24, tzinfo=UTC)
    failed = NotifiedMessage("01m8p4e3xpp3tf", taken, scanner, (told,), "192.168.0.30", fields)
    notice = compose([failed], to=Address("me", "office.example"), hostname="relay.office.example", queue_id="1", now=taken)
    page = (DOCS / "concepts.md").read_text(encoding="utf-8")
    assert f"Subject: {notice.subject}\n\n{notice.text}" in page
    assert f"  advised   {' '.join(advice.with_link)}\n" in page


def test_every_finding_has_its_section() -> None:
    """The link under a finding leads to its section."""
    assert {name for name in NAMES if headings("findings.md").count(name) != 1} == set()
