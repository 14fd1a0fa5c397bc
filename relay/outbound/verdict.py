"""What an upstream's answer means for a recipient.

The only place where a reply code is given a meaning; tests/corpus/replies.tsv is its evidence.  Failures are sorted by
whom they blame: only the message and the recipient can fail.  RFC 5321 s4.2.1, RFC 3463.  Pure.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum

from relay.mail.reply import Answer, Stage


class Fate(Enum):
    """What one answer makes of a recipient; over a chain: relayed if any said so, failed if all did, else deferred."""

    RELAYED = "relayed"
    DEFERRED = "deferred"
    FAILED = "failed"


class Blame(Enum):
    """Whose trouble it is."""

    NOBODY = "nobody"
    LINE = "line"
    LOGIN = "login"
    REPUTATION = "reputation"
    QUOTA = "quota"
    SENDER = "sender"
    ACCESS = "access"
    PROTOCOL = "protocol"
    BUSY = "busy"
    UNCERTAIN = "uncertain"
    SIZE = "size"
    MESSAGE = "message"
    RECIPIENT = "recipient"

    @property
    def rests(self) -> bool:
        """Whether any other message would meet the same trouble there now, if it is not about the content."""
        return self in (Blame.LINE, Blame.LOGIN, Blame.REPUTATION, Blame.QUOTA)


_TELL = frozenset({Blame.LOGIN, Blame.REPUTATION, Blame.QUOTA, Blame.SENDER, Blame.ACCESS})


@dataclass(frozen=True, slots=True)
class Verdict:
    """`try_next`: another upstream may take it.  `own_name`: the same one may, said in the account's own name.

    `rests`: any other message would meet the same there now, so that upstream is left alone for a while.
    """

    fate: Fate
    try_next: bool
    blame: Blame
    own_name: bool = False
    rests: bool = False

    @property
    def urgent(self) -> bool:
        """A person has to do something; waiting alone will not help."""
        return self.blame in _TELL


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_REPUTATION = _words(
    r"spamhaus",
    r"\bPBL\b",
    r"on our block list",
    r"banned sending ip",
    r"not authorized to send email directly",
    r"blocked using",
    r"client host rejected",
    r"no ptr record",
    r"does not have a ptr record",
    r"cannot find your (reverse )?hostname",
    r"(no|missing|without|invalid) (a )?(valid )?reverse dns",
    r"\b(DNSBL|RBL)\b",
    r"spamcop",
    r"\bsorbs\b",
    r"barracuda",
    r"\b(bad|poor|low) (\w+ )?reputation",
    r"dynamic (ip|address)",
    r"\byour (ip|mail ?server|host)\b.{0,60}\b(listed|blocked|banned|black|block)",
    r"\bip (address )?(is |was |has been )?(blocked|banned|black|block)",
)
_LIST = _words(r"\b(black|block|deny)[ -]?list")
_PERSON = _words(r"\b(sender|recipient|user|mailbox|from|envelope|e-?mail) ?(address|domain|name)?\b")
_MACHINE = _words(r"\b(ip|client|host|server|network|dns)\b", r"\b\d{1,3}(\.\d{1,3}){3}\b")
_DOMAIN_LIST = _words(
    r"\bDBL\b", r"\b(S?URI?BL|S?URBL)\b", r"\b(URL|URI|link)s?\b.{0,60}\blist", r"\blist.{0,60}\b(URL|URI|link)s?\b"
)
_SENDER = _words(
    r"allowed senderhosts",
    r"send ?as ?denied",
    r"not allowed to send as",
    r"does not have permissions to send as",
    r"relaying disallowed as",
    r"sender is not allowed to relay",
    r"sender (address )?(is )?not allowed",
    r"multiple addresses in (a )?from",
    r"not authori[sz]ed to send from",
    r"from address is not one of your addresses",
    r"not owned by (auth(orized)? )?user",
    r"sender address rejected",
    r"mail from address must be same as authorization user",
    r"not allowed in header from",
    r"from: address not verified",
    r"email address is not verified",
    r"does not match a verified sender identity",
    r"empty envelope senders? not allowed",
)
_AUTHENTICITY = _words(
    r"\b(spf|dkim|dmarc)\b", r"sender policy framework", r"unauthenticated (email|senders?)", r"sender is unauthenticated"
)
_LOGIN = _words(
    r"basic authentication is not supported",
    r"authentication (failed(?!: maximum credits)|unsuccessful|failure|(is )?required|credentials invalid)",
    r"incorrect authentication data",
    r"invalid login",
    r"must be authenticated",
    r"smtp authentication",
    r"application-specific password",
    r"username and password not accepted",
    r"must issue a starttls",
    r"starttls (is )?required",
    r"encryption required",
    r"too many login attempts",
    r"client not authenticated",
)
_ACCESS = _words(
    r"relay(ing)? (access )?denied",
    r"relay not permitted",
    r"unable to relay",
    r"not permitted to relay",
    r"allowed rcpthosts",
    r"don'?t authenticate or the domain",
    r"mail relay denied",
    r"invalid credentials for relay",
    r"(helo|ehlo)\b.*(invalid|rejected|not allowed|need fully)",
    r"bad helo|invalid helo",
)
_QUOTA = _words(
    r"daily (user )?sending",
    r"daily smtp relay",
    r"daily limit",
    r"submission quota exceeded",
    r"sending limit",
    r"maximum credits exceeded",
    r"maximum sending rate exceeded",
)
_RATE = _words(r"exceeded (the|their) limit for the number of messages", r"per hour message receive limit")
_SIZE = _words(
    r"(message|mail)\b.{0,20}too (big|large)",
    r"exceed\w*.{0,30}\bsize",
    r"size exceed",
    r"(fixed )?maximum message size",
)
_CONTENT = _words(
    r"virus",
    r"illegal attachment",
    r"potential security issue",
    r"executable files are not allowed",
    r"headers are not rfc compliant",
    r"bare (<?lf>?|<?cr>?|line ?feed)",
    r"bare ?linefeeds ?are ?illegal",
    r"violating 822\.bis",
    r"message content rejected",
    r"\b(message|mail|body) contains\b",
)

_SENDER_STATUS = frozenset({"5.1.7", "5.1.8", "4.1.7", "4.1.8", "5.7.60", "5.2.252"})
_STATUS = {
    "5.7.8": Blame.LOGIN,
    "5.7.9": Blame.LOGIN,
    "5.7.0": Blame.ACCESS,
    "5.7.57": Blame.LOGIN,
    "5.7.3": Blame.LOGIN,
    "5.7.30": Blame.LOGIN,
    "5.7.139": Blame.LOGIN,
    "5.7.25": Blame.REPUTATION,
    "5.7.26": Blame.ACCESS,
    "5.3.2": Blame.LINE,
    "5.4.4": Blame.ACCESS,
    "5.4.5": Blame.QUOTA,
    "5.1.90": Blame.QUOTA,
    "5.2.121": Blame.BUSY,
    "5.2.122": Blame.BUSY,
}
_LOGIN_CODES = frozenset({530, 534, 535, 538})


def judge(answer: Answer) -> Verdict:
    """The verdict on one answer.  A 2yz before CONTENT, or a 3yz at it, is a conversation without an end, and so uncertain."""
    verdict = _judge(answer)
    return replace(verdict, rests=True) if verdict.blame.rests and _of_everybody(answer, verdict.blame) else verdict


def _of_everybody(answer: Answer, blame: Blame) -> bool:
    """A line that breaks after MAIL may be this message's doing; and so is what a server says when it has read it."""
    if answer.stage.before(Stage.MAIL):
        return True
    if answer.lost:
        return False
    return answer.stage is not Stage.CONTENT or blame is Blame.QUOTA or answer.reply.code in _LOGIN_CODES


def _judge(answer: Answer) -> Verdict:
    reply, stage = answer.reply, answer.stage
    if answer.lost:
        return _deferred(Blame.UNCERTAIN) if stage is Stage.CONTENT else _deferred(Blame.LINE)
    if reply.positive:
        taken = stage is Stage.CONTENT and reply.code < 300
        return Verdict(Fate.RELAYED, False, Blame.NOBODY) if taken else _deferred(Blame.UNCERTAIN)
    if stage.before(Stage.MAIL):
        return _deferred(_before_mail(answer))
    if reply.permanent:
        return _refused(answer)
    return _put_off(answer)


def _deferred(blame: Blame) -> Verdict:
    # a line lost after the content may have delivered it: another upstream would double it (RFC 1047)
    return Verdict(Fate.DEFERRED, blame is not Blame.UNCERTAIN, blame, own_name=blame is Blame.SENDER)


def _before_mail(answer: Answer) -> Blame:
    """Nothing was said about any mail yet; only whose door is shut can differ."""
    text = answer.reply.text
    if _listed(text):
        return Blame.REPUTATION
    if answer.stage is Stage.AUTH:
        if _QUOTA.search(text):
            return Blame.QUOTA
        return Blame.LOGIN if answer.reply.permanent or _LOGIN.search(text) else Blame.LINE
    return Blame.LINE


def _put_off(answer: Answer) -> Verdict:
    """4yz, and what is no SMTP code at all.  Some of them never heal by waiting; the words say which."""
    reply = answer.reply
    if reply.code == 421:
        return _deferred(Blame.BUSY)
    if reply.status in _SENDER_STATUS or _SENDER.search(reply.text):
        return _deferred(Blame.SENDER)
    if _listed(reply.text):
        return _deferred(Blame.REPUTATION)
    if _QUOTA.search(reply.text):
        return _deferred(Blame.QUOTA)
    if _AUTHENTICITY.search(reply.text):
        return _deferred(Blame.ACCESS)
    if _LOGIN.search(reply.text):
        return _deferred(Blame.LOGIN)
    return _deferred(Blame.BUSY if reply.transient else Blame.PROTOCOL)


def _refused(answer: Answer) -> Verdict:
    """5yz to MAIL, RCPT or the content: the words first, for they know better than the number."""
    return _by_words(answer) or _by_number(answer)


def _by_words(answer: Answer) -> Verdict | None:
    """Whom the words blame; the number counts where it says no less."""
    reply, text = answer.reply, answer.reply.text
    if _CONTENT.search(text):
        return _failed(Blame.MESSAGE)
    if _DOMAIN_LIST.search(text):  # such lists have names, never addresses: of a link in the letter, or of its sender
        return _failed(Blame.MESSAGE) if answer.stage is Stage.CONTENT else _deferred(Blame.ACCESS)
    if _listed(text):
        return _deferred(Blame.REPUTATION)
    if _refuses_sender(answer):
        return _deferred(Blame.SENDER)
    if _QUOTA.search(text):
        return _deferred(Blame.QUOTA)
    if reply.code in _LOGIN_CODES:
        return _deferred(Blame.LOGIN)
    if _AUTHENTICITY.search(text):  # "SPF authentication failed" is about the letter's domain, not about our password
        return _deferred(Blame.ACCESS)
    if _LOGIN.search(text):
        return _deferred(Blame.LOGIN)
    return _deferred(Blame.BUSY) if _RATE.search(text) else None


def _by_number(answer: Answer) -> Verdict:
    reply, text = answer.reply, answer.reply.text
    if reply.status in _STATUS:
        return _deferred(_STATUS[reply.status])
    if _ACCESS.search(text):
        return _deferred(Blame.ACCESS)
    if _SIZE.search(text) or reply.status in ("5.3.4", "5.2.3"):
        return _failed(Blame.SIZE)
    if reply.status == "5.7.1" and answer.stage is not Stage.CONTENT:
        return _deferred(Blame.ACCESS)
    if reply.code == 503:  # the conversation went wrong, not the mail
        return _deferred(Blame.PROTOCOL)
    if reply.code == 521 and answer.stage is not Stage.CONTENT:  # RFC 7504: this host takes no mail at all
        return _deferred(Blame.LINE)
    return _failed(Blame.RECIPIENT if answer.stage is Stage.RCPT or reply.status[:4] in ("5.1.", "5.2.") else Blame.MESSAGE)


def _listed(text: str) -> bool:
    """Whether our address is what they mistrust; a person's own list of unwanted senders is none of that."""
    if _REPUTATION.search(text):
        return True
    return bool(_LIST.search(text)) and (bool(_MACHINE.search(text)) or not _PERSON.search(text))


def _refuses_sender(answer: Answer) -> bool:
    reply = answer.reply
    if reply.status in _SENDER_STATUS or _SENDER.search(reply.text):
        return True
    # 553 is "mailbox name not allowed"; at MAIL there is only one mailbox it can mean
    meant = reply.code == 553 and answer.stage is Stage.MAIL and not _ACCESS.search(reply.text)
    return meant and reply.status != "5.6.7"  # SMTPUTF8 missing there is about the letter, not about who may send it


def _failed(blame: Blame) -> Verdict:
    return Verdict(Fate.FAILED, True, blame)
