"""What Microsoft Graph says: its names of errors, at the beginning of what it said.  Pure.

Sources: learn.microsoft.com "Microsoft Graph error responses and resource types", "Outlook service limits".
"""

from relay.outbound.replies.rule import EVERYWHERE, TRANSACTION, Blame, Rule

_SAID = r"^\d{3} [245]\.\d{1,3}\.\d{1,3} "


def _rule(name: str, blame: Blame, codes: str, cause: str, remedy: str, *, and_words: str = "") -> Rule:
    stages = TRANSACTION if blame in (Blame.MESSAGE, Blame.RECIPIENT, Blame.SENDER) else EVERYWHERE
    return Rule(name, blame, (rf"{_SAID}(?:{codes}): {and_words}",), cause, remedy, stages)


GRAPH: tuple[Rule, ...] = (
    _rule(
        "graph-token",
        Blame.LOGIN,
        "invalidauthenticationtoken|authenticationerror|unauthenticated|unauthorized",
        "Microsoft Graph takes the access token no longer, nor a new one: the application or the account was changed, or its "
        "right was taken back.",
        "Run `relay oauth login` with the upstream's name. For `grant: client-credentials` check secret or certificate, and "
        "`tenant`.",
    ),
    _rule(
        "graph-denied",
        Blame.LOGIN,
        "erroraccessdenied|accessdenied|forbidden|authorization_requestdenied|authorization_identitynotfound"
        "|errorimpersonateuserdenied",
        "The application may not send for this mailbox: it lacks the permission `Mail.Send`, nobody has consented to it, or it "
        "is limited to other mailboxes.",
        "In Microsoft Entra give the application `Mail.Send` (delegated or application, as `grant` says) with admin consent; "
        "then see whether its access policy or role covers this mailbox. It may take an hour until that counts.",
    ),
    _rule(
        "graph-mailbox",
        Blame.LOGIN,
        "mailboxnotenabledforrestapi|mailboxnotsupportedforrestapi|errornonexistentmailbox|errorinvaliduser"
        "|request_resourcenotfound|resourcenotfound|erroraccountdisabled|organizationfromtenantguidnotfound",
        "Microsoft Graph knows no mailbox in Exchange Online for this account: it has no licence, is on a server of your own, "
        "is disabled, or is called otherwise.",
        "Set `username` to the mailbox's user principal name, and see in the Microsoft 365 admin centre that it has a mailbox "
        "and is enabled. Wrong `tenant` or `url` (cloud) look the same.",
    ),
    _rule(
        "graph-send-as",
        Blame.SENDER,
        "errorsendasdenied",
        "This mailbox may send only as itself; the From address belongs to another.",
        "Leave `rewrite: foreign` and `rewrite_from: true` on, and let `sender` be the mailbox's own address. Or have an "
        "administrator grant it 'Send As' for the other address.",
    ),
    _rule(
        "graph-verify",
        Blame.QUOTA,
        "errormessagesubmissionblocked|errorexceededmessagelimit|erroraccountsuspend",
        "Microsoft lets this account send no more until somebody has confirmed in its inbox that it is theirs.",
        "Log in to the mailbox on the web, follow the instructions in the inbox, then run `relay queue retry --all`.",
        and_words=r".{0,60}(?:verify|instructions|inbox)",
    ),
    _rule(
        "graph-limit",
        Blame.QUOTA,
        "errorexceededmessagelimit|errormessagesubmissionblocked|errorsubmissionquotaexceeded|erroraccountsuspend",
        "The mailbox has sent all that Microsoft allows it (10,000 recipients a day, fewer for a new or a personal account).",
        "It passes within a day. A second upstream in the route carries the mail meanwhile.",
    ),
    _rule(
        "graph-full",
        Blame.QUOTA,
        "errorquotaexceeded",
        "The sending mailbox is full, and a mailbox that is full may not send.",
        "Make room in it: empty Deleted Items and Sent Items. `save_to_sent: false` with `Mail.ReadWrite` leaves no copies.",
    ),
    _rule(
        "graph-throttled",
        Blame.RATE,
        "applicationthrottled|toomanyrequests|mailboxconcurrency|activitylimitreached|errortoomanyobjectsopened"
        "|errorexceededconnectioncount",
        "Microsoft Graph wants fewer requests: it takes four at a time for a mailbox, and 10,000 in ten minutes.",
        "Nothing to do: the relay waits as long as Graph asks. If it comes back, set `limits: {connections: 2}`; another "
        "program may use the same application on this mailbox.",
    ),
    _rule(
        "graph-away",
        Blame.UPSTREAM,
        "errorserverbusy|serviceunavailable|servicenotavailable|generalexception|unknownerror|errortimeoutexpired"
        "|errorinternalservererror|errorinternalservertransienterror|internalservererror|gatewaytimeout|badgateway"
        "|errormailboxstoreunavailable|errormailboxmoveinprogress|erroritemnotfound|errorirresolvableconflict",
        "Microsoft's servers cannot do it just now.",
        "Nothing to do if it passes; else see the service health page in the Microsoft 365 admin centre.",
    ),
    _rule(
        "graph-size",
        Blame.MESSAGE,
        "errormessagesizeexceeded|errorattachmentsizelimitexceeded|requestentitytoolarge|maximumvalueexceeded",
        "The message is larger than this mailbox may send: 35 MB unless an administrator set another limit (up to 150 MB).",
        "Make the scan smaller, have the mailbox's limit raised in the Exchange admin centre and set `limits: {message: ...}` "
        "to it, or put another upstream into the route.",
    ),
    _rule(
        "graph-form",
        Blame.MESSAGE,
        "errormimecontentinvalid|errormimecontentinvalidbase64string|errormimecontentconversionfailed"
        "|errorcontentconversionfailed",
        "Microsoft Graph cannot read the message.",
        "Please report it with the trail of this message; another upstream in the route may take it.",
    ),
    _rule(
        "graph-recipient",
        Blame.RECIPIENT,
        "errorinvalidrecipients",
        "Microsoft Graph takes this recipient for no valid address.",
        "Correct the address in the device, or by `aliases`.",
    ),
)
