"""What servers say about the session, not about the mail."""

import pytest

from relay.mail.reply import Reply
from relay.upstream.learned_limits import Learned, counts_messages, of_session

COUNTED = [
    "421 4.7.0 Too many messages in this session",
    "452 4.5.3 Too many messages per session, open a new connection",
    "421 Max message per connection reached, closing transmission channel",
    "421 too many messages in one connection",
    "451 4.7.1 Message limit per session exceeded",
    "450 4.7.0 maximum number of mails per connection has been reached",
    "550 5.7.0 Only 10 messages per session are allowed",
    "452 Please open a new session for further mail",
    "451 please reconnect",
    "450 Enough for one session; start another session",
    "554 5.7.0 You may send no more than 20 e-mails in a session",
    "452 4.3.2 transaction quota of this connection is used up",
    "452 4.3.1 Too many messages for this connection",
    "450 session limit exceeded",
    "421 4.7.0 maximum mails per connection limit exceeded",
    "452 Message count exceeded for session. Reconnect.",
    "451 no more messages allowed on this connection",
]
TIMED = [
    "451 4.4.2 Session timeout",
    "451 4.4.2 Timeout waiting for client input",
    "450 idle timeout exceeded",
    "421 4.4.2 mx.example Error: timeout exceeded",
    "550 your session has expired",
    "451 4.4.2 Timeout - closing connection",
]
OTHERS = [
    "421 4.7.0 Too many concurrent SMTP connections from this IP address",
    "421 too many connections from your host, limit per session of the pool is 5",
    "450 4.7.1 too many messages per hour",
    "452 4.5.3 too many recipients",
    "451 4.3.0 DNS timeout",
    "421 4.7.0 You have exceeded your connection limit",
    "450 4.7.1 connection rate limit reached for your session's host",
    "554 5.7.1 spam, closing connection",
    "451 4.3.2 your limit of messages per day is reached",
    "451 4.7.1 greylisted, try again in 5 minutes",
    "550 5.1.1 user unknown",
    "550 5.7.1 relaying denied in this session",
    "421 4.3.2 please reconnect later",
    "451 4.4.1 connection timed out",
    "450 4.1.8 sender address lookup timeout",
    "250 2.0.0 only one message per session is good, too many are not",
]


def reply(text: str) -> Reply:
    return Reply.of(int(text[:3]), text[4:])


@pytest.mark.parametrize("text", COUNTED)
def test_so_many_messages_in_one_session(text):
    """A limit of messages is known as such: it can be learned."""
    assert counts_messages(reply(text)) and of_session(reply(text))


@pytest.mark.parametrize("text", TIMED)
def test_the_session_took_too_long(text):
    """A time-out is about the session, and tells no number."""
    assert of_session(reply(text)) and not counts_messages(reply(text))


@pytest.mark.parametrize("text", OTHERS)
def test_what_a_fresh_session_would_not_cure(text):
    """Too many sessions at once, rates, the mail itself: opening another session at once would only make it worse."""
    assert not of_session(reply(text))


@pytest.mark.parametrize(
    ("text", "domains", "recipients", "put_off"),
    [
        ("451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.", 2, 3, True),
        ("451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.", 1, 3, False),
        ("452 4.5.3 Only one recipient domain is allowed at a time", 2, 2, True),
        ("550 all recipients must be in the same domain", 2, 2, True),
        ("451 one domain per transaction, please", 2, 2, True),
        ("452 4.5.3 recipients in different domains", 2, 2, True),
        ("451 multiple domains not allowed in one message", 2, 2, True),
        ("550 5.7.1 All recipients must belong to the same domain", 2, 2, True),
        ("452 4.5.3 too many destination domains", 2, 2, True),
        ("452 4.5.3 only one recipient per message", 1, 2, True),
        ("452 4.5.3 only one recipient per message", 1, 1, False),
        ("451 multiple recipients not supported", 2, 2, True),
        ("550 5.1.2 we know several domains, this is none of them", 2, 2, False),
        ("550 5.1.1 no such recipient", 2, 2, False),
    ],
)
def test_what_a_transaction_has_no_room_for(text, domains, recipients, put_off):
    """Several domains or recipients at once are put off, once: who is alone is really refused."""
    learned = Learned()
    assert learned.puts_off(reply(text), domains, recipients) is put_off
    assert (learned.one_domain or learned.recipients == 1) is put_off
