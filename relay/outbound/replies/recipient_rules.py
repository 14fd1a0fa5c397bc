"""What servers say about a recipient, and of troubles that pass.  Pure."""

from relay.mail.reply import Stage
from relay.outbound.replies.rule import CONTENT, ENVELOPE, OPENING, RCPT, TRANSACTION, Blame, Rule, passes

_ANYWHERE = frozenset(Stage)
_NAMED = RCPT | CONTENT
_WHO = (
    r"(?:user|recipients?|mailbox|account|address(?:ee)?|customer|utilisateur|destinataire|utente"
    r"|destinatario|usuario|benutzer|empfanger|empfaenger)"
)
_WHOM = (
    r"\b(?:alias|mail ?box\w{0,3}|inbox|mail ?address|rcpt|person|domain|adress|adresse|indirizzo|direccion|casilla|casella"
    r"|buzon|boite|compte"
    r"|konto|postfach|empfanger\w{0,10}|empfaenger\w{0,10}|gebruiker|caixa|usuaria?|uzytkownik\w?|skrzynk\w|adres|odbiorc\w"
    r"|uzivatel\w?"
    r"|kullanici\w?|rec[ei]p\w{0,3}ent|sconosciuto|unk\w{2,6}|no longer|suppressed)"
)
"""More words for a recipient, in other languages and misspelled; they count where nothing else is spoken of."""
_NOT_WHOM = (
    r"\b(?:sender|from|you|your|we|us|ours?|client|server|host|network|system|service|policy|relay\w{0,4}|auth\w{0,14}"
    r"|log ?in|logged"
    r"|password|credentials?|access|deny|denied|permi\w{1,8}|forbidden|prohibited|connection|session|ip|tls|spf|dkim|dmarc"
    r"|helo|ehlo)\b|\bIP\b|IPLIST"
)
_AGAIN = (
    r"(?:try|retry|come back|please wait|resend|attempt)\b.{0,40}\b(?:later|again|in \d{1,9}|after|shortly|soon|seconds"
    r"|minutes|hours?)"
    r"|\btry (?:later|again)\b|please retry|\bretry (?:later|again|in|after)\b"
    r"|tempor\w{1,6}y\b|for the time being|later,? please"
    r"|(?:re)?essaye[rz] (?:plus tard|ulterieurement)|plus tard|temporair\w{0,6}|spater (?:noch ?mal|noch einmal|erneut|wieder)"
    r"|spaeter (?:noch ?mal|noch einmal|erneut|wieder)|vorubergehend|voruebergehend|riprova|piu tardi|temporane\w{0,6}"
    r"|intente\w{0,12} (?:mas tarde|de nuevo)|mas tarde|temporalmente|позже|временно|稍后|暂时"
    r"|しばらく|一時的|混雑|メンテナンス|维护|점검|後ほど|나중에|일시적"
)
CORRECT = "Correct the address in the device, or set another one for it under `aliases`. Then send it again."
_OURS = r"\b(?:send|sends|sent|sending|senders?|your|out ?going|outbound|submission)\b"
"""These speak of the account that sends, not of the recipient."""
_SENDING = rf"{_OURS}|\b(?:policy|throttling|account has|hour|hourly|day|daily|today|tag|stunde|envoi|invio|envios?)\b"

GREYLIST: tuple[Rule, ...] = (
    Rule(
        "greylist",
        Blame.GREYLIST,
        (r"\bgr[ae]y-? ?list|postgrey|liste grise|graue liste|lista gris|灰名单",),
        "The other side makes every stranger wait before it takes mail (greylisting).",
        "Nothing to do: it is tried again by itself and taken then, usually within half an hour.",
        stages=_ANYWHERE,
    ),
)

CLOSED: tuple[Rule, ...] = (
    Rule(
        "recipient-closed",
        Blame.RECIPIENT,
        (
            r"resolver\.(?:rst|adr)",
            r"^\d{3} 5\.7\.1[2-3]\d\b",
            r"personal (?:black|block)[ -]?list|recipient has .{0,40}(?:black|block)|(?:rejected|blocked|refused) by (?:the "
            r"|this )?recipients?\b|recipient has blocked"
            r"|members[- ]only|only members|list is closed|no external (?:mail|senders)|from the internet\b"
            r"|not allowed to receive"
            rf"|\b{_WHO}\b.{{0,20}}(?:not|n't|no longer) (?:accept|tak|receiv)\w{{0,4}} "
            r"(?:any |this |your )?(?:mail|messages?|e-?mail)(?! (?:over|with|from ip))"
            r"|post to (?:this|the) (?:mailing )?(?:list|group)|recipients? refuses?|recipient only accepts|internal (?:mail"
            r"|senders?) only",
            r"(?:sender|you)\b.{0,40}\b(?:recipient'?s?|group'?s?|list'?s?) (?:list of|accept|only)"
            r"|only accept\w{0,12} (?:mail|messages) from",
            r"\b(?:recipient|mailbox|group|list|user|address)\b.{0,20}\baccepts? .{0,60}\bonly\b",
        ),
        "This recipient takes mail only from certain senders, mostly those of its own organisation.",
        "Ask the recipient to let your sender in. Or set another address for it under `aliases`. Then send it again.",
        stages=_NAMED,
    ),
)

FULL: tuple[Rule, ...] = (
    Rule(
        "recipient-passing",
        Blame.RECIPIENT,
        (
            r"^4\d\d\b.{0,60}\b(?:mailbox|recipient|account|user)\b.{0,12}\b(?:busy|locked|unavailable)\b(?!.{0,20}limit)",
            rf"(?:quota|\bfull)\b.{{0,40}}(?:{_AGAIN})",
            rf"\b{_WHO}\b.{{0,60}}\b(?:locked|unavailable|disabled|inactive|busy|suspended|blocked"
            rf"|in use).{{0,40}}(?:{_AGAIN})",
            rf"(?:tempor\w{{1,6}}y|vorubergehend|voruebergehend|temporairement)\b.{{0,40}}\b{_WHO}\b",
            rf"\b{_WHO}\b.{{0,40}}\btempor\w{{1,6}}y (?:locked|unavailable|disabled|inactive|suspended|blocked)",
        ),
        "The recipient's mailbox takes no mail for the time being.",
        passes("ask the recipient (by phone, say).", "a day"),
        stages=_NAMED,
        passing=True,
        unless=rf"{_OURS}|\b(?:hourly|daily|monthly)\b",
    ),
    Rule(
        "full",
        Blame.RECIPIENT,
        (
            r"over ?quota|out of storage|overdrawn|\bfull\b(?<!system full)(?<!disk full)(?<!queue full)(?<!spool full)",
            r"\b(?:mailbox|account|user|recipient|inbox|storage|disk|space|maildir|ADDR)\b.{0,40}\bquota\b",
            r"quota\b.{0,20}\b(?:exceed|violation|limit|full|is over)|exc?eed\w{0,12} .{0,40}(?:storage|quota|mailbox"
            r"|dropfile)",
            r"(?:mailbox|storage|inbox|maildir) (?:disk |size |space ){0,3}(?:limit|quota|exceed)",
            r"too much mail data|too many (?:messages|mails|e-?mails) (?:on|in) (?:the|this|his|her|their) (?:server|mailbox"
            r"|inbox|account|folder)|zu ?viele mails auf|not enough (?:storage )?space|(?:on|in) (?:this|the) mailbox"
            r"|allowed storage"
            r"|space (?:has )?used up",
            r"speicherplatz|speichervolumen|postfach .{0,10}voll|boite .{0,30}pleine|casella .{0,20}piena|buzon .{0,10}lleno",
            r"переполнен|邮箱.{0,6}满|容量",
            r"^\d{3} [45]\.2\.2\b",
        ),
        "The recipient's mailbox is full.",
        "Ask the recipient (by phone, say) to empty it. What waits is tried again by itself; what has failed goes again by "
        "`relay queue release ID`.",
        stages=_NAMED,
        unless=_SENDING,
    ),
)

RECIPIENTS: tuple[Rule, ...] = (
    Rule(
        "null-mx",
        Blame.RECIPIENT,
        (r"null mx|nullmx", r"^\d{3} 5\.1\.10\b.{0,40}null", r"5\.7\.27 .{0,40}null", r"domain .{0,40}accepts? no mail"),
        "The recipient's domain, or the sender's, is marked as one that takes no mail at all.",
        CORRECT,
        stages=TRANSACTION,
    ),
    Rule(
        "no-domain",
        Blame.RECIPIENT,
        (
            r"^\d{3} [45]\.1\.2\b",
            r"(?:domain|host)(?: name| HOST)? (?:is )?(?:not found|unknown|invalid|does not exist|not valid)|no mx\b"
            r"|invalid domain|no such (?:domain|host)\b|no (?:mail ?(?:server|exchanger|host)"
            r"|mx)s? (?:records? )?(?:found )?for\b"
            r"|non-existe?a?nt domain|no mail hosts? for",
        ),
        "The domain after the @ of the recipient does not exist, or has no mail server.",
        f"A misspelled domain is the usual reason. {CORRECT}",
        stages=RCPT,
    ),
    Rule(
        "unknown-user",
        Blame.RECIPIENT,
        (
            rf"\b{_WHO}\b (?:ADDR |HOST |QUOTE |name |address |here |mailbox |\S{{1,64}} )?(?:is |was |are |has |been |does "
            rf"|do ){{0,4}}(?:unk\w{{2,6}}|not (?:be )?found"
            r"|not exist|not known|no longer|not listed|not local|not valid|not active|inactive|inconnu\w{0,12}|sconosciut\w"
            r"|desconocid\w|unbekannt|nicht bekannt"
            r"|no existe|inesistente|invalide|unrecognized)",
            rf"\b(?:unk\w{{2,6}}|no such|invalid|bad|wrong|nonexistent|non-existent|inexistent|unrouteable|unroutable"
            rf"|unverified"
            rf"|undeliverable|not a valid"
            rf"|not an active|inactive|disabled|unallocated) (?:e-?mail |virtual |local |destination "
            rf"|email ){{0,4}}(?:{_WHO}|local[- ]part|alias|rcpt|person|domain)\b",
            r"(?:does ?n[o']t|do not|did not|not|n't) (?:exist|have an? (?:\S{1,40} )?(?:account|mailbox))",
            r"no (?:mailbox|account|valid recipients|one|body|such \w{1,20}|mail ?box|existe|se encontro)\b",
            r"\breject\w{0,12} (?:\w{1,12} ){0,2}(?:target|destination) (?:address|mailbox|user)",
            r"not (?:in|listed in|found in) (?:the |our |any |this )?(?:\w{1,12} )?(?:directory|database)"
            r"|can'?t accept user|mail for (?:that|this) (?:user|recipient|address)|not (?:our|a) customer|badrcptto",
            r"recipient (?:e-?mail )?(?:address )?(?:is |was |has been )?(?:rejected|refused|denied|not allowed|invalid"
            r"|blocked|not ok)(?!: (?:policy|message"
            r"|quota|server config|too|rate|spf|relay))",
            r"not in (?:the )?recipient list|unknown in (?:local|virtual|relay)",
            r"recipientnotfound|adr\.recip|resolver\.rst",
            r"has moved|user not local|please (?:try|use) (?:instead )?ADDR",
            r"nie ma takiego|nie istnieje|не (?:найден|существует)|неизвестн|用户不存在|不存在|存在しません"
            r"|ユーザー?が(?:不明|いません)|존재하지 않",
            r"adresse .{0,30}destinataire.{0,20}invalide|dominio non valido",
            r"^\d{3} 5\.1\.(?:1|3|4|6|10)\b",
        ),
        "There is no such recipient: the address is misspelled, gone or closed.",
        CORRECT,
        stages=_NAMED,
    ),
    Rule(
        "closed-mailbox",
        Blame.RECIPIENT,
        (
            rf"\b(?:{_WHO}|compte)\b.{{0,60}}\b(?:disabled|discontinued|suspended|closed|deactivated|blocked|bloque|locked"
            rf"|archiv\w{{1,20}}"
            r"|terminated|removed|inactive|expired|gesperrt|deaktiviert)",
            r"^\d{3} 5\.2\.1\b",
        ),
        "The recipient's mailbox is closed.",
        CORRECT,
        stages=RCPT,
    ),
    Rule(
        "unavailable",
        Blame.RECIPIENT,
        (r"mailbox (?:is )?(?:unavailable|not available)",),
        "The provider refuses the recipient, or the sender, without saying why.",
        "Check the recipient's address first, then whether `sender` is an address of the account.",
        stages=RCPT,
        unless=_AGAIN,
    ),
)

PASSING: tuple[Rule, ...] = (
    Rule(
        "busy-greeting",
        Blame.UPSTREAM,
        (r"^421\b",),
        "The server takes no connection at the moment.",
        passes("set `limits: {connections: 1}` for this upstream."),
        stages=OPENING,
    ),
    Rule(
        "server-trouble",
        Blame.UPSTREAM,
        (
            r"(?:internal|system|server|configuration|config|local|processing|database|lookup|resolver|disk|file|queue|write"
            r"|i/o|ldap|sql)"
            r"(?: \w{1,20})? (?:error|failure|problem|trouble)|errors? (?:in|while) (?:being )?process"
            r"|an? (?:\w{1,20} )?error (?:occurred|while)|encountered an? (?:\w{1,20} )?(?:error|problem)|interrupted"
            r"|error writing|cannot write",
            r"(?:dns|look-?up|resolv\w{1,20})\b.{0,30}\b(?:error|fail\w{0,12}|timed? ?out|server failure)",
            r"(?:system|server|service)\b.{0,20}\b(?:unavailable|not available|incorrectly configured|misconfigured"
            r"|overloaded|down|maintenance"
            r"|(?:is )?full|shutting down|indisponible|out of)",
            r"(?:insufficient|out of|not enough|no|low on) (?:\w{1,20} )?(?:system )?(?:resources|memory|disk|storage|space)",
            r"(?:mail system|disk|queue|spool) (?:is )?full",
            r"too busy|service refuse|backend|not reachable|unreachable|\btime ?out\b|timed out|please resend",
            r"(?:could not|cannot|can'?t|unable to|failed to) (?:write|queue|store|save|connect|contact|process|enqueue"
            r"|spool|fork"
            r"|allocate|(?:load|open|read|create|reach)\b(?! (?:the |this |your |any ){0,2}(?:attach|message|header|archive"
            r"|mail)))",
            r"maintenance|wartung",
            r"^\d{3} [45]\.3\.(?:1|2|5)\b",
        ),
        "The server has trouble of its own; the message is not refused.",
        passes("tell the provider."),
        stages=_ANYWHERE,
        passing=True,
    ),
    Rule(
        "passing",
        Blame.UPSTREAM,
        (
            _AGAIN,
            r"local error in processing|insufficient system|at (?:this time|the moment)\b|right now\b|technical difficult",
        ),
        "The other side asks us to come back later; some do so to every stranger (greylisting).",
        passes("show the reply to the provider.", "a day"),
        stages=_ANYWHERE,
        passing=True,
    ),
    Rule(
        "protocol",
        Blame.UPSTREAM,
        (
            r"syntax error|bad sequence|unrecognized command|cannot decode response|protocol (?:violation|error)"
            r"|command not (?:recognized|implemented)",
            r"^503\b",
        ),
        "The server and the relay did not understand each other.",
        "If it comes back, please report it with the trail of this message.",
        stages=_ANYWHERE,
    ),
    Rule(
        "no-mail-here",
        Blame.UPSTREAM,
        (r"^521\b",),
        "This host says that it takes no mail at all (RFC 7504).",
        "Check `host` of this upstream.",
        stages=OPENING | ENVELOPE,
    ),
)

GENERAL: tuple[Rule, ...] = (
    Rule(
        "about-sender",
        Blame.SENDER,
        (
            r"^5\d\d\b.{0,200}\b(?:sender|absender\w{0,12}|expediteur|mittente|remitente|mail ?from)\b",
            r"^5\d\d\b.{0,200}\b(?:you (?:are|have|may|can|must|need)|your (?:account|domain|organi[sz]ation|plan"
            r"|subscription)|tenant"
            r"|customer)\b",
        ),
        "The upstream refuses, and speaks of the sender or the account; its words are not among those that the relay knows.",
        "Check that `sender` is an address of the account. Read the upstream's own words, or show them to its support desk.",
        stages=RCPT | CONTENT,
        unless=r"\b(?:recipient|user|mailbox|message|mail is|content|attachment|header)\b|^\d{3} 5\.[12]\.[1-7]\b",
    ),
    Rule(
        "about-us",
        Blame.RELAY_DENIED,
        (
            r"^5\d\d\b.{0,200}\b(?:you|your|client|server|host|system|connections?|sessions?|network|service|ip|IP|protocol"
            r"|policy)\b",
        ),
        "The upstream refuses, and speaks of itself or of us rather than of the recipient; the relay does not know its words.",
        "Read the upstream's own words, or show them to its support desk.",
        stages=RCPT,
        unless=rf"\b(?:{_WHO}|person|domain|rcpt|alias|ADDR|here)\b|^\d{{3}} 5\.1\.\d",
    ),
    Rule(
        "about-recipient",
        Blame.RECIPIENT,
        (rf"^5\d\d\b.{{0,200}}(?:\b{_WHO}|{_WHOM})\b|[宛收]先|收件人|该用户|受信者|このアドレス|사용자|получател",),
        "The upstream refuses, and speaks of the recipient; its words are not among those that the relay knows.",
        "Check the recipient's address. Read the upstream's own words, or show them to its support desk.",
        stages=RCPT,
        unless=_NOT_WHOM,
    ),
    Rule(
        "access-denied",
        Blame.RELAY_DENIED,
        (r"^5\d\d 5\.7\.[01]\b", r"^5\d\d 5\.4\.4\b"),
        "The server does not take this mail from us, and does not say why.",
        "Use the provider's submission server (port 587 or 465) with `username` and `password_file`; or ask its support desk.",
        stages=RCPT,
    ),
    Rule(
        "unknown-sender",
        Blame.SENDER,
        (r"^5\d\d\b",),
        "The upstream refuses this sender, or the account; its words are not among those that the relay knows.",
        "Check that `sender` is an address of the account. Read the upstream's own words, or show them to its support desk.",
        stages=frozenset({Stage.MAIL}),
    ),
    Rule(
        "unknown-recipient",
        Blame.RECIPIENT,
        (r"^5\d\d\b",),
        "The upstream refuses this recipient; its words are not among those that the relay knows.",
        "Read the upstream's own words, or show them to its support desk.",
        stages=RCPT,
    ),
    Rule(
        "unknown-recipient-late",
        Blame.RECIPIENT,
        (r"^5\d\d 5\.[12]\.",),
        "The upstream refuses a recipient after it has read the message.",
        "Read the upstream's own words, or show them to its support desk.",
        stages=CONTENT,
    ),
    Rule(
        "unknown-permanent",
        Blame.MESSAGE,
        (r"^5\d\d\b",),
        "The upstream refuses the message; its words are not among those that the relay knows.",
        "Read the upstream's own words, or show them to its support desk.",
        stages=CONTENT,
    ),
    Rule(
        "unknown-opening",
        Blame.UPSTREAM,
        (r"^5\d\d\b",),
        "The server turns us away before any mail was named.",
        "Read the upstream's own words; check `host`, `port` and `hostname`.",
        stages=OPENING,
    ),
    Rule(
        "unknown-temporary",
        Blame.UPSTREAM,
        (r"^4\d\d\b",),
        "The upstream puts us off; its words are not among those that the relay knows.",
        passes("read the upstream's own words, or show them to its support desk."),
    ),
    Rule(
        "unknown",
        Blame.UPSTREAM,
        ("",),
        "The answer of the upstream is none that mail knows.",
        "Read what it said; perhaps that is no mail server.",
    ),
)
