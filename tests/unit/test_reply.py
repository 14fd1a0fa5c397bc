"""Replies: where the enhanced status stands, and which words are left."""

import pytest

from relay.mail.reply import Answer, Reply, Stage


@pytest.mark.parametrize(
    ("code", "text", "status", "words"),
    [
        (250, "2.0.0 Ok: queued as 4F1", "2.0.0", "Ok: queued as 4F1"),
        (250, "2.0.0 - XYZ accepted", "2.0.0", "XYZ accepted"),
        (550, "5.7.1-Refused", "5.7.1", "Refused"),
        (550, "  5.1.1\r\n no\tsuch   user ", "5.1.1", "no such user"),
        (550, "5.7.26 This mail\r\n5.7.26 is unauthenticated", "5.7.26", "This mail is unauthenticated"),
        (550, "5.7.26 5.7.26 twice", "5.7.26", "twice"),
        (552, "5.2.2 see 5.2.20 and x5.2.2-y", "5.2.2", "see 5.2.20 and x5.2.2-y"),
        (553, "sorry, not in my list (#5.7.1)", "5.7.1", "sorry, not in my list (#5.7.1)"),
        (550, "(#5.1.1) first, (#5.7.1) last", "", "(#5.1.1) first, (#5.7.1) last"),
        (550, "5.1.1", "5.1.1", ""),
        (550, "", "", ""),
        (550, "4.2.0 not now", "", "4.2.0 not now"),
        (450, "5.1.1 gone", "", "5.1.1 gone"),
        (450, "try later (#5.7.1)", "", "try later (#5.7.1)"),
        (550, "127.5.1.1 is listed", "", "127.5.1.1 is listed"),
        (550, "5.1.1.7 is listed", "", "5.1.1.7 is listed"),
        (550, "5.1.1234 is none", "", "5.1.1234 is none"),
        (354, "3.0.0 go on", "", "3.0.0 go on"),
    ],
)
def test_the_status_is_read_where_servers_put_it(code: int, text: str, status: str, words: str) -> None:
    """First as in RFC 2034, on each line of a long reply, or last as qmail does; a number that contradicts the code is text."""
    assert Reply.of(code, text) == Reply(code, status, words)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply(550, "5.1.1", "no such user"), "550 5.1.1 no such user"),
        (Reply(553, "5.7.1", "not you (#5.7.1)"), "553 not you (#5.7.1)"),
        (Reply(250, "", "ok"), "250 ok"),
        (Reply(250, "2.0.0", ""), "250 2.0.0"),
        (Reply(421, "", ""), "421"),
    ],
)
def test_a_reply_is_shown_with_its_status_once(reply: Reply, shown: str) -> None:
    """Code, status unless the words have it, words; no blank at the end."""
    assert str(reply) == shown
    assert str(Answer(Stage.RCPT, reply)) == f"rcpt: {shown}"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(199, ""), (200, "+"), (354, "+"), (399, "+"), (400, "t"), (499, "t"), (500, "p"), (599, "p"), (600, "")],
)
def test_the_first_digit_says_what_kind_of_reply_it_is(code: int, kind: str) -> None:
    """And a code that is none is of no kind."""
    reply = Reply(code, "", "")
    assert (reply.positive, reply.transient, reply.permanent) == (kind == "+", kind == "t", kind == "p")


def test_stages_come_one_after_the_other() -> None:
    """From the connection to the content; none comes before itself."""
    order = list(Stage)
    assert order[0] is Stage.CONNECT and order[-1] is Stage.CONTENT
    for place, stage in enumerate(order):
        assert [stage.before(other) for other in order] == [False] * (place + 1) + [True] * (len(order) - place - 1)
