"""Rules about the sender's address and its domain, and about relaying.  Pure."""

from relay.outbound.replies.rule import CONTENT, ENVELOPE, MAIL, TRANSACTION, Blame, Rule

OWN_SENDER = (
    "Set `sender` of this upstream to the address that you log in with, or to another one of the account. Where "
    "`rewrite: never` or `rewrite_from: false` stands there, remove it."
)
_REAL_SENDER = (
    "Set `sender` of this upstream to an address of the account: the relay then puts it in this one's place. Where "
    "`rewrite: never` stands there, remove it."
)
_SENDER = (
    r"(?:(?<!unauthenticated )sender(?:'?s)?(?! ip)|mail ?from|envelope.from|return.path|reverse.path|absender\w{0,12}"
    r"|expediteur|emetteur"
    r"|mittente|remit?e[tn]+e|nadawc\w{1,3}|afzender|odesilatel\w?|gonderen|return address|from address"
    r"|sending (?:e-?mail )?(?:address|domain))"
)
_REFUSED = (
    r"(?:reject\w{0,12}|refus\w{0,12}|denied|deny|denies|not (?:allowed|permitted|accepted|authori[sz]ed|configured"
    r"|registered|valid|verified"
    r"|owned|local|known)"
    r"|not an? (?:allowed|valid|verified|known|permitted|authori[sz]ed)|isn'?t (?:allowed|permitted|valid|verified)|invalid"
    r"|unknown|disallowed|forbidden|blocked|unroutable|undeliverable"
    r"|unresolvable|fake|does ?n[o']t exist|(?:not |un)welcome|nicht (?:erlaubt|zugelassen|zulassig|zulaessig|gestattet"
    r"|akzeptiert)|abgelehnt|ungultig\w{0,12}"
    r"|ungueltig\w{0,12}|unbekannt|invalide|inconnu|(?:non|n'est pas) (?:e )?(?:autorisee?|valide|valido|autorizzato"
    r"|consentito|ammesso)"
    r"|n[ao]o? (?:permitido|autorizado|valido)|invalido|odrzucon\w|geweigerd|niet toegestaan|rifiutat\w|rechazad\w"
    r"|recusad\w|zuruckgewiesen|zurueckgewiesen|odmitnut\w?)"
)

AUTHENTICITY: tuple[Rule, ...] = (
    Rule(
        "spf-dkim-dmarc",
        Blame.SENDER,
        (
            r"^\d{3} [45]\.7\.(?:2[0-467]|3[0-2]|40|509|515)\b",
            r"\b(?:spf|dkim|dmarc)\b",
            r"sender policy framework|sender'?s policy",
            r"\bmi:(?:spf|dma)\b",
            r"unauthenticated (?:e-?mail|mail)\b",
            r"(?:mail|message|sender) (?:is|was) (?:un|not )authenticated",
            r"(?:not|n't|fails? to) (?:have|pass|meet) .{0,40}(?<!smtp )\bauthentication\b(?! failed)",
            r"sender id \(pra\)|purported responsible",
            r"not allowed to send (?:mail|e-?mail|messages?) (?:from|for|on behalf of) HOST",
            r"not (?:a )?permitted (?:sender|to send (?:mail )?from)",
        ),
        "The sender's domain does not say (by SPF, DKIM and DMARC, in the DNS) that this upstream may send its mail.",
        "The easiest: set `rewrite: always` for this upstream, and `sender` to the address that you log in with. If that is "
        "refused, or the sender has to stay: run `relay doctor`, and give the line that it prints to whoever looks after the "
        "domain. Mail that goes by `mx` needs a signature too (`dkim`).",
        stages=TRANSACTION,
        unless=r"\bptr\b",
    ),
)

FROM_FIRST: tuple[Rule, ...] = (
    Rule(
        "fastmail-from",
        Blame.SENDER,
        (r"^551 .{0,60}multiple addresses in a from header", r"not authori[sz]ed to send from"),
        "The provider wants exactly one address in From, and one that belongs to the account.",
        f"{OWN_SENDER} A device name with @ or commas in it can also be the reason: make it plainer.",
        stages=TRANSACTION,
    ),
)

SENDERS: tuple[Rule, ...] = (
    Rule(
        "senderhosts",
        Blame.SENDER,
        (r"allowed senderhosts",),
        "This host (CORESERVER, XREA and their like) takes mail only from senders in the domains that it serves, even mail "
        "to its own users, from every address that logged in there a while ago.",
        "Set `sender` to an address in a domain hosted there, or make a route for its recipients `via` another upstream.",
        stages=TRANSACTION,
    ),
    Rule(
        "m365-send-as",
        Blame.SENDER,
        (
            r"send ?as ?denied",
            r"not allowed to send as",
            r"^\d{3} 5\.7\.60\b",
            r"^\d{3} 5\.2\.252\b",
            r"permissions? to send as",
            r"^\d{3} 5\.7\.(?:12|750|367)\b",
        ),
        "The account may send only as its own mailbox, and only from domains of its organisation. Microsoft answers so.",
        f"{OWN_SENDER} Or have an administrator grant 'Send As' for the other address.",
        stages=TRANSACTION,
    ),
    Rule(
        "zoho-sender",
        Blame.SENDER,
        (r"relaying disallowed(?: as)?", r"sender is not allowed to relay"),
        "The provider takes only the account's own addresses as sender, in the envelope and in From. Zoho answers so.",
        f"{OWN_SENDER} At Zoho, use the server of the account's region (.com, .eu, .jp, .in).",
        stages=TRANSACTION,
    ),
    Rule(
        "gmx-sender",
        Blame.SENDER,
        (r"sender address (?:is )?not allowed",),
        "The provider takes only the account's own address as sender, although it may speak of the mailbox first.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "icloud-from",
        Blame.SENDER,
        (r"not one of your addresses",),
        "The provider sends only as the addresses of this account.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "qq-sender",
        Blame.SENDER,
        (r"(?:must|should) (?:be (?:the )?same|equal|match|be equal to)\b.{0,30}\b(?:authori[sz]|authenticat|login|account)",),
        "The sender must be the very address that logged in.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "not-owned",
        Blame.SENDER,
        (
            r"not (?:be )?owned by",
            r"not authori[sz]ed to perform|different (?:e-?mail )?(?:address|sender) than",
            r"sender address rejected: not (?:owned|logged)",
            r"does ?n[o']t (?:match|belong to|correspond to) (?:the |your )?(?:auth|logged|login|account|user|you\b)",
            r"gehort nicht zu|gehoert nicht zu",
            r"(?:envelope|header).{0,20}from .{0,40}(?:does ?n[o']t match|mismatch)",
            r"\bauthentication\b.{0,20}\bfor (?:the )?(?:specified|given|this|that) (?:e-?mail )?(?:address|sender)",
        ),
        "The sender's address does not belong to the account that logged in.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "yahoo-from",
        Blame.SENDER,
        (r"from:? address not verified", r"^\d{3} 5\.7\.9 .{0,60}sender is unauthenticated"),
        "The provider sends only as the account, or as an address that was verified with it.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "sendgrid-identity",
        Blame.SENDER,
        (r"verified sender identity", r"not authorized to send from that email address"),
        "The mail service sends only as senders that were verified there.",
        "Verify the domain or the address in its console, and set `sender` to it.",
        stages=TRANSACTION,
    ),
    Rule(
        "ses-identity",
        Blame.SENDER,
        (
            r"(?:e-?mail address|identit(?:y|ies)|domain|sender signature|from address)\b.{0,40}"
            r"\b(?:not (?:been )?(?:yet )?(?:verified|confirmed|registered)|unverified|failed the check)",
            r"\b(?:identity|sender signature|from address)\b.{0,40}\bnot (?:be )?found",
            r"(?<!unable to )\b(?:verify|register|confirm) (?:the |this |your |a ){0,4}(?:sending |sender ){0,4}(?:domain"
            r"|sender|address)\b",
            r"not in your verified|unregistered domain|unverified (?:sending )?(?:sender|domain|identity|address)|(?:domain"
            r"|identity|address)\b.{0,30}\bmust be verified",
            r"no sender signature|sender signature not",
        ),
        "The mail service (Amazon SES, Mailgun, Postmark and others) sends only as senders or domains that were verified with "
        "it; new accounts may write to verified addresses only.",
        "Verify the domain or the address in the service's console, and set `sender` to it.",
        stages=MAIL | CONTENT,
    ),
    Rule(
        "null-sender",
        Blame.SENDER,
        (
            r"(?:empty|null|blank) (?:envelope )?(?:senders?|from|return.path|reverse.path)\b.{0,30}(?:not|reject|denied)",
            r"mail from:? ?<> ",
        ),
        "This upstream takes no mail without a sender; reports of failed mail have none, so that no answer goes in circles.",
        "Nothing to do: the relay's own reports go out in the account's name there.",
        stages=TRANSACTION,
    ),
    Rule(
        "header-from",
        Blame.SENDER,
        (
            r"not allowed in header from",
            r"\b(?:mail ?from|sender|from:?|return.path)(?: address| domain| header)?\b.{0,20}\b(?:mismatch\w{0,3}"
            r"|differs?\b|does ?n[o']t match)",
            r"from:? (?:domain|address(?:es)?)(?: is| are)? (?:invalid|not allowed)",
            r"(?:please )?provide a valid from\b|invalid from\b(?!: header)",
            r"\b(?:from:? (?:header|address|field|domain)|header[- ]?from|from)\b(?!:? (?:IP|your ip|this ip|HOST to))"
            r".{0,60}\b(?:not|n't|must|invalid|mismatch|unverified)\b.{0,40}\b(?:account|authori[sz]ed|verified"
            r"|authenticat\w{1,20}|match\w{0,12}"
            r"|domains?|log\w{0,12} ?in|permitted|allowed|hosted|user)\b",
        ),
        "The server does not take the address or the domain that stands in From.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "sender-domain",
        Blame.SENDER,
        (
            r"sender address rejected: (?:domain not found|need fully-qualified|malformed|unverified|undeliverable)",
            r"(?:domain|host(?:name)?|ADDR|HOST) of (?:the )?(?:envelope )?sender",
            r"sender(?:'s)?(?: (?:address|envelope))? domain\b",
            r"(?:real|valid) (?:sender )?domain (?:name )?(?:is )?required",
            r"(?:must|has to|should) (?:contain|have|exist|be) .{0,20}domain.{0,40}sender",
            r"sender (?:address )?must contain",
            r"envelope sender domain",
            r"(?:sender|mail ?from)\b.{0,60}\b(?:has no|have no|no|without|neither)\b.{0,30}\b(?:mx|dns)\b",
            r"(?:un|not )resolv\w{1,20} .{0,30}(?:domain|sender)",
            r"dns check failed",
            r"\b(?:from|sender)\b:? ?domain .{0,20}\b(?:resolv|exist)",
            r"mail ?from domain\b",
            r"^\d{3} [45]\.1\.[78]\b(?!.{0,20}\bno such\b)",
        ),
        "The sender's address is not taken: its domain does not exist outside of your network (nas.local, localhost), is "
        "not known there, or is on a list.",
        _REAL_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "sender-verify",
        Blame.SENDER,
        (
            r"sender verif(?:y|ication) (?:failed|error|failure)",
            r"unrout(?:e)?able sender",
            r"(?:could not|cannot|can't|unable to) verify (?:the )?sender",
            r"sender (?:callout|callback|check)",
            r"(?:sender|return.path|reverse.path|mail ?from)\b.{0,20}\b(?:could not|cannot|can't|not) be verified",
        ),
        "The server asked whether the sender's address exists, and was told that it does not.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "sender-refused",
        Blame.SENDER,
        (
            rf"(?:{_SENDER}|\bfrom)(?: e-?mail)?(?: address(?:es)?| domain)?(?: ADDR| HOST| QUOTE)? ?(?:is |are |was "
            rf"|has been |have been |wurde "
            rf"|est )?:? ?{_REFUSED}(?!: (?:server config|temporary))",
            rf"{_REFUSED} (?:envelope |e-?mail )?{_SENDER}\b(?! (?:ip|host|server|client))",
            rf"\byour (?:sender )?domain (?:is |has been |was )?(?:{_REFUSED}|banned|listed|barred)",
            r"(?:from|sender|sending) domain .{0,20}reputation",
            r"unknown sender|sender ?(?:filter|block)|accept\w{0,12} (?:any )?(?:mail|messages|e-?mail) from (?:HOST|ADDR)"
            r"|(?:mail|messages|e-?mail) (?:from (?:HOST|ADDR) )?(?:is |are |was )?not accepted(?: from (?:HOST|ADDR)| here)"
            r"|accept\w{0,12} (?:any )?(?:mail|messages|e-?mail) from (?:this|the|your|that) (?:sender|address"
            r"|domain)\b",
            r"local sender over smtp",
            r"(?:envelope )?sender (?!ip).{0,30}(?:badmailfrom|block ?list|black ?list|denied|blocked using DOMAINLIST)",
            r"block policy for (?:the )?(?:envelope|header) from|envelope (?:blocked|rejected)|blocked senders?\b"
            r"|\banti-?spoof|\bspoof",
            r"(?:host|server) denies the sender|identit(?:y|ies) failed the check",
            r"(?:e-?mail )?address .{0,20}has been blacklisted",
            r"your (?:sender )?domain (?:has been |is )(?:on |in )?.{0,10}(?:black|block|deny)[- ]?list",
            r"badsendermx|badmailfrom",
            r"(?:address|from)\b.{0,20}\bas (?:a |the |your )?sender|as sender",
            r"(?:差出人|送信者|送信元(?:メール)?アドレス|发件人|发信人|보낸 ?사람|발신자)|отправител",
        ),
        "The server does not take this sender.",
        OWN_SENDER,
        stages=TRANSACTION,
    ),
    Rule(
        "sender-form",
        Blame.SENDER,
        (
            r"^5\d\d (?:5\.\d\.\d )?(?:.{0,40}\b)?(?:fully.qualified|invalid address|bad address|malformed address)",
            r"mailbox name not allowed",
            r"(?:address|domain).{0,40}(?:does not exist|do not exist|not found|does not resolve)",
        ),
        "The sender's address has a form, or a domain, that the server does not take.",
        _REAL_SENDER,
        stages=MAIL,
    ),
    Rule(
        "listed-sender",
        Blame.SENDER,
        (r"\bDOMAINLIST\b", r"\bdbl\b", r"\b(?:s?uri?bl|s?urbl)\b", r"\bmail ?from (?!ip\b|IP\b|your ip).{0,30}\blist"),
        "The sender's domain stands on a block list of domains.",
        "Look at the sender's domain; check.spamhaus.org tells whether it is listed, and why. Set `sender` for this upstream.",
        stages=TRANSACTION,
        unless=r"\b(?:helo|ehlo|client host)\b",
    ),
)

POP_LOGINS: tuple[Rule, ...] = (
    Rule(
        "pop-before-smtp",
        Blame.LOGIN,
        (
            r"don'?t authenticate or the domain",
            r"(?:receive|check|get|read|pop|download) (?:your )?(?:mail|e-?mail|messages?)\b.{0,30}\b(?:before|first|prior)",
            r"(?:before|prior to) sending .{0,40}(?:check|receive|pop|log ?in)",
            r"pop (?:before|then) smtp",
        ),
        "The host has seen no login of ours: a POP login allows sending for 10 to 30 minutes only, or SMTP AUTH is needed.",
        "Set `username` and `password_file` with port 587 or 465; if the host knows no SMTP AUTH, set `auth: pop`.",
        stages=ENVELOPE,
    ),
    Rule(
        "workspace-relay",
        Blame.RELAY_DENIED,
        (r"5\.7\.0 mail relay denied", r"invalid credentials for relay"),
        "The relay service does not know the address of this internet line, or this sender's domain. Google's answers so.",
        "Log in with `username` and an app password, or register the address and the domain in the service's admin console.",
        stages=TRANSACTION,
    ),
)

RELAYING: tuple[Rule, ...] = (
    Rule(
        "relaying",
        Blame.RELAY_DENIED,
        (
            r"\brelay(?:ing)?\b.{0,60}\b(?:denied|not (?:be )?(?:allowed|permitted|authori[sz]ed)|prohibited|forbidden"
            r"|disallowed"
            r"|refused|rejected|disabled)",
            r"\b(?:denie[sd]|no|refus\w{1,20}|unable to|(?:do|does|did|will|can) ?n[o']t|cannot|can't|won't|not (?:allowed"
            r"|permitted"
            r"|authori[sz]ed|configured) to) (?:be )?relay(?:ing)?\b",
            r"allowed rcpthosts|not (?:be )?relayed|\bdomain is ?n[o']t in (?:my|our|the) list|(?:unauthori[sz]ed"
            r"|illegal) (?:mail )?relay",
            r"\bas (?:an? )?(?:open )?(?:mail |smtp )?(?:relay|gate(?:way)?)\b",
            r"\blocal (?:users?|recipients?|domains?|delivery|mail|addresses) only|only (?:for )?local (?:users|recipients"
            r"|domains|delivery)",
            r"(?:not|n't|cannot) (?:handle|deliver|accept|carry|process) (?:any )?(?:e-?mail|mail|messages?) (?:for|to) "
            r"(?:HOST|that domain|this domain|the domain|other|remote|foreign|external)",
            r"delivery is not allowed to this address",
            r"direct send not allowed",
            r"not relaying|not (?:an? )?(?:open )?(?:relay|gateway)\b|\brelay(?:ing)? (?:check|nicht|interdit|refuse)"
            r"|not (?:a )?local host\b",
            r"keine weiterleit|relay\w{0,4} verweigert|weiterleit\w{1,20} (?:ist )?nicht|nicht weitergeleitet|kein relay",
            r"relais (?:non|refus|interdit)|relayage",
            r"retransmision no|reenvio no|relay no (?:permitido|autorizado)",
            r"inoltro non|relay non",
            r"^\d{3} 5\.7\.(?:54|64|68|367)\b",
            r"non-?local recipient|not (?:a )?local (?:domain|recipient)",
            r"domain (?:HOST )?(?:is )?not (?:hosted|served|handled|local|ours|accepted|configured)|not our domain"
            r"|remote domains?\b|for strangers",
            r"中継|转发|中继|릴레이|ретрансляц|пересылк",
        ),
        "The upstream does not carry mail to that recipient for us: we are not logged in there, or it is the wrong server.",
        "Use the provider's submission server (port 587 or 465) with `username` and `password_file`.",
        stages=TRANSACTION,
    ),
)
