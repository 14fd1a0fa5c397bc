"""What Microsoft Graph says: its names of errors, at the beginning of what it said.  Pure.

Source: learn.microsoft.com "Outlook service limits".
"""

from relay.outbound.replies.message_rules import TOO_BIG
from relay.outbound.replies.recipient_rules import CORRECT
from relay.outbound.replies.rule import EVERYWHERE, TRANSACTION, Blame, Rule, passes
from relay.outbound.replies.sender_rules import OWN_SENDER
from relay.upstream import graph_codes

_SAID = r"^\d{3} [245]\.\d{1,3}\.\d{1,3} "
_COMMON = frozenset({"forbidden", "unauthenticated", "unauthorized"})
"""What an SMTP server may say, too.  What Graph says has the HTTP status behind it."""


def _rule(name: str, blame: Blame, codes: str, cause: str, remedy: str, *, and_words: str = "") -> Rule:
    stages = TRANSACTION if blame in (Blame.MESSAGE, Blame.RECIPIENT, Blame.SENDER) else EVERYWHERE
    said = "|".join(rf"{code}(?=: .{{0,500}}\(http \d)" if code in _COMMON else code for code in codes.split())
    return Rule(name, blame, (rf"{_SAID}(?:{said}): {and_words}",), cause, remedy, stages)


GRAPH: tuple[Rule, ...] = (
    _rule(
        "graph-token",
        Blame.LOGIN,
        graph_codes.TOKEN,
        "Microsoft Graph takes the access token no longer, nor a new one: the application or the account was changed, or its "
        "right was taken back.",
        "Run `relay oauth login` with the upstream's name. For `grant: client-credentials` check secret or certificate, and "
        "`tenant`.",
    ),
    _rule(
        "graph-denied",
        Blame.LOGIN,
        graph_codes.DENIED,
        "The application may not send for this mailbox: it lacks the permission `Mail.Send`, nobody has consented to it, or it "
        "is limited to other mailboxes.",
        "In Microsoft Entra give the application `Mail.Send` (delegated or application, as `grant` says) with admin consent; "
        "then see whether its access policy or role covers this mailbox. It may take an hour until that counts.",
    ),
    _rule(
        "graph-mailbox",
        Blame.LOGIN,
        graph_codes.MAILBOX,
        "Microsoft Graph knows no mailbox in Exchange Online for this account: it has no licence, is on a server of your own, "
        "is disabled, or is called otherwise.",
        "Set `username` to the mailbox's user principal name, and see in the Microsoft 365 admin centre that it has a mailbox "
        "and is enabled. Wrong `tenant` or `url` (cloud) look the same.",
    ),
    _rule(
        "graph-send-as",
        Blame.SENDER,
        graph_codes.SEND_AS,
        "This mailbox may send only as itself; the From address belongs to another.",
        f"{OWN_SENDER} Or have an administrator grant it 'Send As' for the other address.",
    ),
    _rule(
        "graph-verify",
        Blame.QUOTA,
        graph_codes.QUOTA,
        "Microsoft lets this account send no more until somebody has confirmed in its inbox that it is theirs.",
        "Log in to the mailbox on the web, follow the instructions in the inbox, then run `relay queue retry --all`.",
        and_words=r".{0,60}(?:verify|instructions|inbox)",
    ),
    _rule(
        "graph-limit",
        Blame.QUOTA,
        graph_codes.QUOTA,
        "The mailbox has sent all that Microsoft allows it (10,000 recipients a day, fewer for a new or a personal account).",
        "It passes within a day. A second upstream in the route carries the mail meanwhile.",
    ),
    _rule(
        "graph-full",
        Blame.QUOTA,
        graph_codes.FULL,
        "The sending mailbox is full, and a mailbox that is full may not send.",
        "Make room in it: empty Deleted Items and Sent Items. `save_to_sent: false` with `Mail.ReadWrite` leaves no copies.",
    ),
    _rule(
        "graph-throttled",
        Blame.RATE,
        graph_codes.BUSY,
        "Microsoft Graph wants fewer requests: it takes four at a time for a mailbox, and 10,000 in ten minutes.",
        "Nothing to do: the relay waits as long as Graph asks. If it comes back, set `limits: {connections: 2}`; another "
        "program may use the same application on this mailbox.",
    ),
    _rule(
        "graph-away",
        Blame.UPSTREAM,
        graph_codes.AWAY,
        "Microsoft's servers cannot do it just now.",
        passes("see the service health page in the Microsoft 365 admin centre."),
    ),
    _rule(
        "graph-size",
        Blame.MESSAGE,
        graph_codes.SIZE,
        "The message is larger than this mailbox may send: 35 MB unless an administrator set another limit (up to 150 MB).",
        f"{TOO_BIG} Or have the mailbox's limit raised in the Exchange admin centre, and set `limits: {{message: ...}}` to it.",
    ),
    _rule(
        "graph-form",
        Blame.MESSAGE,
        graph_codes.FORM,
        "Microsoft Graph cannot read the message.",
        "Please report it with the trail of this message; another upstream in the route may take it.",
    ),
    _rule(
        "graph-recipient",
        Blame.RECIPIENT,
        graph_codes.RECIPIENT,
        "Microsoft Graph takes this recipient for no valid address.",
        CORRECT,
    ),
)
