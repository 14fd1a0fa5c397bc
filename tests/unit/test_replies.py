"""What servers say: each reply of every collection gets its verdict and its words, from one rule."""

import re
import time
from pathlib import Path

import pytest

from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.replies import RULES, Blame, Fate, judge
from relay.outbound.replies.echoes import LONGEST, plain
from relay.outbound.replies.graph_rules import GRAPH
from relay.outbound.replies.verdict import _DONE, SERVERS, _compiled
from relay.upstream.settings import DIRECT_UPSTREAM, SmtpServer, Upstream
from tests.support.expressions import out_of_proportion, pumps

CORPUS = Path(__file__).parents[1] / "corpus"
OPENING = [Stage.CONNECT, Stage.TLS, Stage.HELLO, Stage.AUTH]
ABOUT_OTHERS = {Blame.RECIPIENT, Blame.SENDER, Blame.MESSAGE, Blame.GREYLIST, Blame.RELAY_DENIED}


def rows(name: str) -> list[list[str]]:
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def answer(stage: str, words: str) -> Answer:
    """`stage!fault` is what the relay found itself, `stage!` a connection that ended, `stage:fault` an answer without words."""
    name, mark, fault = re.fullmatch(r"([a-z]+)([!:]?)(.*)", stage).groups()  # type: ignore[union-attr]
    code, text = re.fullmatch(r"(\d{3})[ -]?(.*)", words).groups()  # type: ignore[union-attr]
    return Answer(Stage(name), Reply.of(int(code), text), mark == "!", Fault(fault) if fault else None)


COLLECTED = [row for name in ("reports", "providers", "public", "words") for row in rows(f"replies-{name}.tsv")]
PATTERNS = rows("replies.tsv")
EVIDENCE = rows("advice.tsv")
EVERY = [
    *(answer(row[0], row[1]) for row in COLLECTED),
    *(answer(row[2], row[3]) for row in PATTERNS),
    *(answer(row[1], row[2]) for row in EVIDENCE),
]


def agree(one: Answer) -> None:
    """The words say what is done: they come from the same rule and the same verdict."""
    verdict = judge(one)
    advice = verdict.advice
    assert (advice.cause, advice.remedy, advice.name) == (verdict.rule.cause, verdict.rule.remedy, verdict.rule.name)
    assert verdict.rule.blame is verdict.blame
    done = advice.done
    assert ("has failed" in done) is (verdict.fate is Fate.FAILED)
    assert ("is delivered" in done) is (verdict.fate is Fate.RELAYED)
    assert ("is kept" in done or "goes to the same upstream" in done) is (verdict.fate is Fate.DEFERRED)
    assert ("next upstream" in done or "others in the route" in done or "next one" in done) <= verdict.try_next
    assert ("account's own name" in done) is verdict.own_name
    assert ("left alone" in done) <= verdict.rests


@pytest.mark.parametrize(
    ("stage", "said", "fate", "blame", "rests", "why"), COLLECTED, ids=[f"{row[0]}-{n}" for n, row in enumerate(COLLECTED)]
)
def test_each_collected_reply_has_its_verdict_and_its_words(stage, said, fate, blame, rests, why):
    """Fate, blame and rest are as the collections say, and the words contradict none of them."""
    verdict = judge(answer(stage, said))
    assert (verdict.fate.value, verdict.blame.value) == (fate, blame), (verdict.rule.name, why)
    if rests != "either":
        assert verdict.rests is (rests == "yes"), verdict.rule.name
    agree(answer(stage, said))


@pytest.mark.parametrize("row", PATTERNS, ids=[f"{row[0]}-{row[2]}" for row in PATTERNS])
def test_each_known_pattern_has_its_verdict_and_its_words(row):
    """Fate, next step, own name and blame of the first collection."""
    _, _, stage, said, fate, then, own_name, blame = row
    verdict = judge(answer(stage, said))
    assert (verdict.fate.value, verdict.try_next, verdict.own_name, verdict.blame.value) == (
        fate,
        then == "next",
        own_name == "own",
        blame,
    ), verdict.rule.name
    agree(answer(stage, said))


@pytest.mark.parametrize(("name", "stage", "words", "who"), EVIDENCE, ids=[f"{row[0]}-{n}" for n, row in enumerate(EVIDENCE)])
def test_real_words_are_explained_by_their_rule(name, stage, words, who):
    """What an upstream really said finds the rule that was written for it, not a more general one."""
    port_25 = DIRECT_UPSTREAM if name == "port-25" else None
    assert judge(answer(stage, words), port_25).advice.name == name, who
    agree(answer(stage, words))


def test_every_rule_has_its_evidence():
    """No rule is there without words that it explains, and no name is given twice."""
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert set(names) == {row[0] for row in EVIDENCE}


def test_the_collection_is_whole():
    """All 62 patterns of the first collection, and the later ones."""
    assert {row[0] for row in PATTERNS} >= {f"E{number}" for number in range(1, 63)}
    assert len(COLLECTED) >= 2000


CLASSES = {number: (kind, hold == "hold") for number, kind, hold in rows("classes.tsv")}
ABOUT_THE_LETTER = {"E35", "E36", "E37", "E38", "E39", "E40", "E59"}
"""A person has to act here too, but on this very message: it fails, is kept, and its sender is told why."""


@pytest.mark.parametrize("row", [row for row in PATTERNS if row[0] in CLASSES], ids=lambda row: f"{row[0]}-{row[2]}")
def test_verdicts_agree_with_what_can_be_done(row):
    """What passes is deferred; what another upstream may take is tried there; what a person must set right never bounces."""
    kind, hold = CLASSES[row[0]]
    verdict = judge(answer(row[2], row[3]))
    if kind == "temporary":
        assert verdict.fate is Fate.DEFERRED
    elif kind == "other-upstream":
        assert verdict.try_next
    elif hold and row[0] not in ABOUT_THE_LETTER:
        assert verdict.fate is Fate.DEFERRED and verdict.try_next
    else:
        assert verdict.fate is Fate.FAILED
    assert len(CLASSES) == 62


@pytest.mark.parametrize("stage", OPENING)
def test_nothing_said_before_mail_fails_mail(stage):
    """Before MAIL nothing was said about any message, whatever the words; and nobody else would be served now."""
    for one in EVERY:
        if one.fault is None and not one.lost and not one.reply.positive:
            verdict = judge(Answer(stage, one.reply))
            assert verdict.fate is Fate.DEFERRED and verdict.rests, one


@pytest.mark.parametrize("fault", [None, *Fault])
def test_a_message_that_may_have_been_taken_is_never_given_to_another(fault):
    """Whatever kind of transport lost the final answer, and whatever it calls the fault."""
    for reply in (Reply(451, "4.4.2", "no answer"), Reply(550, "5.7.1", "no"), Reply(250, "2.0.0", "taken")):
        verdict = judge(Answer(Stage.CONTENT, reply, lost=True, fault=fault))
        assert (verdict.blame, verdict.fate, verdict.try_next) == (Blame.UNCERTAIN, Fate.DEFERRED, False)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize(("stage", "lost"), [*((each, True) for each in Stage), *((each, False) for each in OPENING)])
def test_no_fault_fails_mail_before_mail_or_with_a_lost_connection(stage, lost, fault):
    """What is said by whom then cannot be about the message."""
    assert judge(Answer(stage, Reply(550, "5.0.0", "no"), lost=lost, fault=fault)).fate is Fate.DEFERRED


@pytest.mark.parametrize("stage", list(Stage))
def test_a_lost_connection_never_fails_mail(stage):
    """A connection lost before the content lets the next upstream try; lost after it, nobody may."""
    verdict = judge(Answer(stage, Reply(421, "4.4.2", "the connection was lost"), lost=True, fault=Fault.HUNG_UP))
    assert verdict.fate is Fate.DEFERRED
    assert verdict.try_next is (stage is not Stage.CONTENT)
    assert (verdict.blame is Blame.UNCERTAIN) is (stage is Stage.CONTENT)
    assert verdict.rests is stage.before(Stage.MAIL)  # after that it may be this message's doing


def test_what_is_about_one_message_or_one_address_rests_nobody():
    """One recipient's or sender's refusal never rests an upstream; what concerns the account does, at every stage."""
    for one in EVERY:
        verdict = judge(one)
        if not one.stage.before(Stage.MAIL):
            assert verdict.rests <= (verdict.blame not in ABOUT_OTHERS), one
            assert verdict.rests >= (verdict.blame in (Blame.LOGIN, Blame.QUOTA)), one


def test_only_the_message_and_the_recipient_can_fail():
    """Whatever was said at any stage: another blame defers."""
    for one in EVERY:
        for stage in Stage:
            verdict = judge(Answer(stage, one.reply))
            assert verdict.fate is not Fate.FAILED or verdict.blame in (Blame.RECIPIENT, Blame.MESSAGE)


def test_what_a_person_must_mend_is_urgent():
    """Login, sender right, reputation and quota call a person; greylisting and an unknown user do not."""
    wrong_password = judge(answer("auth", "535 5.7.8 authentication failed"))
    greylisted = judge(answer("rcpt", "450 4.2.0 greylisted"))
    unknown = judge(answer("rcpt", "550 5.1.1 no such user"))
    assert wrong_password.urgent and not greylisted.urgent and not unknown.urgent


ECHOES = [
    "spamhaus",
    "blocked-using-rbl",
    "greylisted",
    "quota.exceeded",
    "dmarc",
    "spf-fail",
    "relay.denied",
    "try-again-later",
]
ECHOES += ["authentication-required", "too-many-connections", "account.suspended", "virus", "sender-rejected", "helo"]


@pytest.mark.parametrize(
    "form",
    [
        "550 5.1.1 <{}@isp.example>: Recipient address rejected: User unknown",
        "550 5.1.1 <info@{}.example>... User unknown",
        "550 5.1.1 {}@isp.example: user unknown",
        '550 5.1.1 "{}" user unknown',
        "550 5.1.1 user unknown at {}.example",
        "550 5.1.1 user unknown; see https://www.isp.example/{}?{}=1",
        "452 4.2.2 <{}@isp.example> mailbox full",
        "550 5.1.8 <{}@lan.example>: Sender address rejected: Domain not found",
        "550 {}.example does not like recipient <{}@isp.example>: unlucky",
    ],
)
@pytest.mark.parametrize("stage", ["rcpt", "mail", "content"])
def test_what_a_server_only_repeats_decides_nothing(form, stage):
    """Addresses, host names, URLs and quoted parts are the sender's and the recipient's own words."""
    neutral = judge(answer(stage, form.replace("{}", "taro")))
    assert not neutral.rests
    for word in ECHOES:
        assert judge(answer(stage, form.replace("{}", word))) == neutral, word


@pytest.mark.parametrize(
    "said",
    [
        "550 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org",
        "554 5.7.1 192.0.2.7 blocked using some.list.example",
        "550 rejected, see https://www.spamhaus.org/query/ip/192.0.2.7",
        "550 5.7.1 listed at bl.spamcop.net",
        "554 Blocked - see https://ipcheck.isp.example/?ip=192.0.2.7",
    ],
)
def test_a_block_list_is_known_by_its_host_where_blocking_is_spoken_of(said):
    """A host name is evidence in such a place, and nowhere else."""
    assert judge(answer("rcpt", said)).blame is Blame.REPUTATION


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("450 4.1.1 <a@host.example>: Recipient address rejected: unverified address: ", Fate.DEFERRED),
        ("550 5.1.1 <a@host.example>: Recipient address rejected: undeliverable address: ", Fate.FAILED),
    ],
)
def test_what_a_third_server_told_the_upstream_is_not_about_us(said, told):
    """The upstream asked the recipient's server whether the address exists; that one judges the upstream, not us."""
    for words in (
        "connect to mx.host.example[192.0.2.9]:25: Connection refused",
        "host mx.host.example[192.0.2.9] said: blocked",
    ):
        verdict = judge(answer("rcpt", said + words))
        assert (verdict.fate, verdict.blame, verdict.rests) == (told, Blame.RECIPIENT, False), verdict.rule.name


def test_what_a_server_adds_as_in_its_log_decides_nothing():
    """`relay=[192.0.2.7]` behind a refusal is our address, not the reason."""
    for added in (", relay=[192.0.2.7]", " relay=blocked.example [192.0.2.7]", "; helo=<blacklisted> proto=ESMTP"):
        verdict = judge(answer("rcpt", "550 5.2.1 <a@host.example>... invalid address" + added))
        assert (verdict.fate, verdict.blame) == (Fate.FAILED, Blame.RECIPIENT), added


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("mail", "550 Mail not accepted from <nas@lan.example>"),
        ("mail", "550 Messages from lan.example are not accepted"),
        ("rcpt", "550 this server does not accept mail from lan.example"),
        ("rcpt", "550 Mail from <nas@lan.example> refused due to spam"),
        ("mail", "550 5.7.1 <nas@lan.example>: Sender address rejected: blacklisted"),
        ("mail", "550 5.7.1 Sender address blocked by sender reputation"),
        ("mail", "550 sender domain lan.example has bad reputation"),
        ("rcpt", "550 5.7.1 Recipient blocked: too many complaints"),
        ("rcpt", "550 5.2.2 Recipient's daily limit of incoming mail reached"),
        ("rcpt", "550 Recipient a@host.example exceeded maximum quota"),
        ("content", "550 Message blocked: links to blacklisted IP 192.0.2.9"),
        ("content", "550 virus found, sending of such attachments is blocked"),
    ],
)
def test_words_of_reputation_or_quota_about_one_address_rest_nobody(stage, said):
    """Blocked, listed, full, over a limit: where it is said of one sender, recipient or message, others still go."""
    assert not judge(answer(stage, said)).rests


@pytest.mark.parametrize("number", ["5.0.0", "5.4.1", "5.5.0", "5.7.0", "5.7.1"])
@pytest.mark.parametrize(
    ("said", "fate"),
    [
        ("user unkown", Fate.FAILED),
        ("Recipient no longer on server", Fate.FAILED),
        ("Caixa postal inexistente", Fate.FAILED),
        ("mailbox of this user is closed", Fate.FAILED),
        ("relaying to strangers is not permitted", Fate.DEFERRED),
        ("you have exeeded your hourly limit", Fate.DEFERRED),
        ("your IP is on a block list", Fate.DEFERRED),
        ("sender address rejected", Fate.DEFERRED),
        ("temporary failure, try again", Fate.DEFERRED),
    ],
)
def test_clear_words_come_before_a_vague_number(number, said, fate):
    """At RCPT the same words mean the same, whatever number a server has chosen for them."""
    assert judge(answer("rcpt", f"550 {number} {said}")).fate is fate


def test_a_quoted_subject_decides_nothing_but_a_reply_in_quotes_does():
    """Some servers quote what they were sent, others quote all that they say."""
    assert plain('rejected "daily limit exceeded" by the filter') == "rejected QUOTE by the filter"
    assert plain('"daily limit exceeded"') == '"daily limit exceeded"'
    assert judge(answer("content", "550 the subject 'your IP is blocked' was refused by a filter")).fate is Fate.FAILED


def test_any_octets_are_read():
    """NUL, surrogates of undecodable octets, bidi marks, half a megabyte: nothing breaks, and there is a verdict."""
    for text in (
        "\0\0",
        "\udcb0\udca1 \udcff",
        "\u202euser unknown",
        "\x1b[2J\x9b",
        "a@" * 9000,
        "<" * 500_000,
        "\ufdfa" * 3000,
    ):
        for stage in Stage:
            assert judge(Answer(stage, Reply(550, "", text))).advice.cause
        assert len(plain(text)) <= LONGEST


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_are_sentences_for_people(rule):
    """Cause and remedy are whole sentences, short enough for a mail on a phone."""
    for words in (rule.cause, rule.remedy):
        assert words[0].isupper() or words.startswith("`")
        assert words.endswith(".") and len(words) < 300


SAYS_WHO_IT_IS = {"m365-smtp-auth-off", "m365-security-defaults"}
"""Rules whose words are names of that provider's own settings; what Graph says is Microsoft's in any case."""


@pytest.mark.parametrize("rule", [rule for rule in SERVERS if rule not in GRAPH and rule.name not in SAYS_WHO_IT_IS])
def test_no_provider_is_taken_for_the_one_that_answered(rule):
    """Many use the same words: a provider is an example in a later sentence ("... answers so"), never the one who is meant."""
    first = re.split(r"[.;(] ?", rule.cause)[0]
    assert not re.search(r"Google|Gmail|Microsoft|Outlook|Yahoo|Apple|iCloud|Zoho|Fastmail|SendGrid|Amazon|GMX|Naver", first)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_nobody_is_told_to_wait_without_an_end_or_to_change_nothing(rule):
    """How long to wait is said; a setting that is the default is not asked for."""
    assert not re.search(r"if it (?:passes|does not pass)|[Ll]eave `", rule.remedy)


def test_what_the_relay_does_is_said_once_for_each_fate_and_blame():
    """Each sentence can be reached, and is there for all that can be reached."""
    reached = {(judge(one).fate, judge(one).blame) for one in EVERY}
    assert reached <= set(_DONE)
    assert {blame for _, blame in _DONE} == set(Blame)
    assert all(done.endswith(".") for done in _DONE.values())


def test_port_25_is_known_from_the_settings():
    """Silence on a connection to port 25 is explained by outbound port 25 blocking."""
    silence = answer("connect!timed-out", "421 4.4.1 no answer")
    assert judge(silence, Upstream("old", SmtpServer("mail.isp.example", 25))).advice.name == "port-25"
    assert judge(silence, Upstream("isp", SmtpServer("mail.isp.example", 587))).advice.name == "no-connection"
    assert (
        judge(answer("connect!dns", "451 4.4.3 no"), Upstream("old", SmtpServer("mail.isp.example", 25))).advice.name == "name"
    )


def test_words_of_a_server_are_not_taken_for_our_own():
    """A server that says something about certificates or refusal in its reply to RCPT did answer."""
    assert judge(answer("rcpt", "550 5.7.1 your certificate was refused")).advice.name == "about-us"


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("words", ["Forbidden", "Unauthorized", "Unauthenticated"])
def test_common_words_of_an_smtp_server_are_not_graphs(words, stage):
    """Graph's have the HTTP status behind them, and are about the account."""
    said = f"5.7.1 {words}: your host may not send to this domain"
    assert not judge(Answer(stage, Reply.of(550, said))).rule.name.startswith("graph-")
    assert judge(Answer(stage, Reply.of(550, f"{said} (HTTP 403; request-id 11-aa)"))).rule.name.startswith("graph-")


def test_an_unknown_refusal_is_admitted():
    """Words that no rule knows get an honest line that points to the upstream's own words."""
    advice = judge(answer("rcpt", "550 9.9.9 computer says no")).advice
    assert advice.name == "unknown-recipient" and "own words" in advice.remedy
    assert advice.link == "docs/advice.md#unknown-recipient"
    assert advice.sentences == (advice.cause, _DONE[Fate.FAILED, Blame.RECIPIENT], advice.remedy)


@pytest.mark.parametrize(
    ("stage", "said", "fate", "blame"),
    [
        ("connect", "521 no mail here", Fate.DEFERRED, Blame.UPSTREAM),
        ("mail", "521 5.3.2 host does not accept mail", Fate.DEFERRED, Blame.UPSTREAM),
        ("rcpt", "521 host does not want mail", Fate.DEFERRED, Blame.UPSTREAM),
        ("content", "521 we do not like this", Fate.FAILED, Blame.MESSAGE),
        ("mail", "522 what", Fate.DEFERRED, Blame.SENDER),
        ("content", "503 bad sequence of commands", Fate.DEFERRED, Blame.UPSTREAM),
        ("mail", "552 5.3.4 no", Fate.FAILED, Blame.MESSAGE),
        ("rcpt", "552 5.2.3 no", Fate.FAILED, Blame.MESSAGE),
        ("mail", "552 message too large", Fate.FAILED, Blame.MESSAGE),
        ("rcpt", "550 5.7.1 no", Fate.DEFERRED, Blame.RELAY_DENIED),
        ("mail", "550 5.7.1 no", Fate.DEFERRED, Blame.SENDER),
        ("content", "550 5.7.1 no", Fate.FAILED, Blame.MESSAGE),
        ("content", "554 5.7.9 no", Fate.FAILED, Blame.MESSAGE),
        ("rcpt", "550 no", Fate.FAILED, Blame.RECIPIENT),
        ("mail", "550 no", Fate.DEFERRED, Blame.SENDER),
        ("mail", "550 5.1.1 no", Fate.DEFERRED, Blame.SENDER),
        ("content", "550 no", Fate.FAILED, Blame.MESSAGE),
        ("content", "550 5.1.1 no", Fate.FAILED, Blame.RECIPIENT),
        ("content", "550 5.2.1 no", Fate.FAILED, Blame.RECIPIENT),
        ("content", "550 5.3.0 no", Fate.FAILED, Blame.MESSAGE),
        ("mail", "553 no", Fate.DEFERRED, Blame.SENDER),
        ("rcpt", "553 no", Fate.FAILED, Blame.RECIPIENT),
        ("mail", "553 5.6.7 no", Fate.FAILED, Blame.MESSAGE),
        ("mail", "553 relaying denied", Fate.DEFERRED, Blame.RELAY_DENIED),
        ("mail", "450 4.1.8 no", Fate.DEFERRED, Blame.SENDER),
        ("content", "530 no", Fate.DEFERRED, Blame.LOGIN),
        ("rcpt", "450 no", Fate.DEFERRED, Blame.UPSTREAM),
        ("rcpt", "421 spamhaus lists your IP", Fate.DEFERRED, Blame.REPUTATION),
        ("content", "452 daily limit reached", Fate.DEFERRED, Blame.QUOTA),
        ("content", "451 SPF check failed", Fate.DEFERRED, Blame.SENDER),
        ("mail", "454 must be authenticated", Fate.DEFERRED, Blame.LOGIN),
        ("content", "699 what", Fate.DEFERRED, Blame.UPSTREAM),
        ("mail", "250 ok", Fate.DEFERRED, Blame.UNCERTAIN),
        ("content", "354 go on", Fate.DEFERRED, Blame.UNCERTAIN),
        ("content", "299 taken", Fate.RELAYED, Blame.NOBODY),
        ("content", "300 more", Fate.DEFERRED, Blame.UNCERTAIN),
        ("auth", "454 daily limit reached", Fate.DEFERRED, Blame.QUOTA),
        ("auth", "454 temporary trouble", Fate.DEFERRED, Blame.UPSTREAM),
        ("auth", "454 authentication failed", Fate.DEFERRED, Blame.UPSTREAM),
        ("auth", "550 whatever", Fate.DEFERRED, Blame.LOGIN),
        ("hello", "550 go away", Fate.DEFERRED, Blame.UPSTREAM),
        ("connect", "554 your ip is blocked", Fate.DEFERRED, Blame.REPUTATION),
    ],
)
def test_the_number_counts_where_the_words_say_nothing(stage, said, fate, blame):
    """The same number means another thing at another stage; at MAIL nothing was said of a recipient yet."""
    verdict = judge(answer(stage, said))
    assert (verdict.fate, verdict.blame) == (fate, blame), verdict.rule.name
    assert verdict.try_next is (blame not in (Blame.NOBODY, Blame.UNCERTAIN))
    assert verdict.own_name is (blame is Blame.SENDER)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_costs_in_proportion_to_the_text(rule):
    """Pumped with its own pieces, to a million characters; replies are cut to two thousand."""
    for pattern in filter(None, _compiled(rule)):

        def run(text: str, pattern: re.Pattern[str] = pattern) -> None:
            for _ in pattern.finditer(text):  # search would end at the first that is found
                pass

        assert not out_of_proportion(run, pumps(pattern))


def test_a_hostile_reply_costs_little():
    """However long and repetitive a reply is, all rules together look at it within a quarter of a second."""
    for text in (
        "message " * 9000,
        "exceed" * 9000,
        "ehlo " * 9000,
        "a.b@" * 9000,
        "a." * 65_000,
        "null sender " * 5000,
        "<" * 9000,
    ):
        started = time.process_time()
        judge(Answer(Stage.RCPT, Reply(550, "", text)))
        assert time.process_time() - started < 0.25
