"""How much, how fast: accounts that have sent all that they may or are barred, and servers that want it slower.  Pure."""

from relay.mail.reply import Stage
from relay.outbound.replies.rule import AUTH, CONTENT, ENVELOPE, MAIL, TRANSACTION, Blame, Rule, passes

_UNIT = r"(?:messages?|mails?|e-?mails?|recipients?|sends?|submissions?|deliver\w{1,20})"
_PERIOD = r"(?:hour(?:ly)?|day|daily|24 ?h(?:ours)?|month(?:ly)?|week(?:ly)?|today)"
_OVER = (
    r"(?:exc?ee?d\w{0,12}|reached|used up|exhausted|r[au]n out|over(?:limit|run)?|hit|spent|met|atteinte?|depasse\w{0,12}"
    r"|superat\w"
    r"|superad[oa]|excedid\w)"
)
_ANYWHERE = frozenset(Stage)
_TOO_MANY = "More recipients in one go than the upstream takes."
_FURTHER_GO = "Nothing to do: the others get theirs in a further go. `limits: {recipients: ...}` avoids the question."

ACCOUNT: tuple[Rule, ...] = (
    Rule(
        "account-suspended",
        Blame.LOGIN,
        (
            r"\b(?:account|user|mailbox|konto|compte|cuenta|customer)\b.{0,30}\b(?:suspended|disabled|locked|blocked"
            r"|barred"
            r"|terminated|closed|inactive|deactivated|expired|gesperrt|deaktiviert|suspendu|bloque|desactive|sospes\w"
            r"|bloqueada?"
            r"|suspendida|not registered|not active)",
            r"\b(?:suspended|disabled|locked|blocked|inactive) (?:account|user|mailbox)",
            r"(?:конто|аккаунт|учетн\w{1,20}) .{0,20}(?:заблокирован|отключен)"
            r"|アカウント.{0,8}(?:停止|ロック|無効)|账[号户].{0,6}(?:停用|冻结"
            r"|锁定)",
        ),
        "The account that logged in is suspended, locked or closed.",
        "Log in on the provider's web page and do what it asks for. Then run `relay queue retry --all`; the mail is kept.",
        stages=AUTH | MAIL,
    ),
    Rule(
        "account-barred",
        Blame.QUOTA,
        (
            r"(?:out ?going|outbounds?|sending|submission)\b.{0,50}\b(?:suspen\w{1,20}|paused?|halted|stopped|frozen|revoked"
            r"|blocked"
            r"|disabled|barred|banned|locked|restricted|denied|(?:turned|switched) off)",
            r"(?:suspen\w{1,20}|blocked|disabled|barred|locked|prevented) .{0,10}from sending\b(?! from)",
            r"\b(?:sending|account|user|tenant|sender|mailbox|you)\b.{0,20}\b(?:suspended|blocked|disabled|locked"
            r"|barred)\b.{0,30}"
            r"\bfor (?:this account|sending|spam|abuse)",
            r"\b(?:sender|sending|your)(?:'s)? (?:\w{1,20} )?(?:account|mailbox)\b.{0,30}\b(?:locked|blocked"
            r"|suspended|disabled|compromised)",
            r"account (?:is )?not (?:allowed|permitted|authorized) to send",
            r"\b(?:ihr|votre|(?:il )?tuo|su|seu|sua) (?:konto|compte|account|cuenta|conta)\b.{0,30}\b(?:gesperrt|deaktiviert"
            r"|suspen\w{1,3}"
            r"|sospes\w|bloque\w?|bloquead\w|bloccat\w)",
            r"sign(?:ed)? in to your account|verify your (?:account|identity|phone)",
            r"bad outbound sender|outboundspam|verdict is suspend",
            r"^\d{3} 5\.7\.50[1-3]\b",
            r"spam abuse detected",
            r"(?:unusual|suspicious) (?:amount|volume|activity) .{0,60}from your (?:account|address)(?! range)",
            r"(?:unusual|suspicious|abnormal) (?:\w{1,20} )?activity",
        ),
        "The provider has barred this account from sending: it took its mail for spam, or its password for stolen.",
        "Log in on the provider's web page and do what it asks for. Change the password if you do not know what was sent. Then "
        "run `relay queue retry --all`.",
        stages=AUTH | CONTENT | ENVELOPE,
        unless=r"\battach|\bvirus\b|\bmalware\b",
    ),
)

QUOTAS: tuple[Rule, ...] = (
    Rule(
        "m365-connections",
        Blame.RATE,
        (r"sender thread limit|outbound thread limit", r"^432\b(?!.{0,20}password)"),
        "Too many connections, or too many messages a minute, for one mailbox. Microsoft allows 30 a minute.",
        "It is tried again by itself. If it comes back: set `limits: {connections: 1, per_minute: 30}` for this upstream.",
        stages=_ANYWHERE,
    ),
    Rule(
        "m365-hourly",
        Blame.RATE,
        (
            r"^\d{3} 5\.2\.12[12]\b",
            r"per hour message receive limit",
            r"exceeded (?:the|their) limit for the number of messages they can send to this recipient",
            r"receiving (?:mail|messages|e-?mail)\b.{0,20}\b(?:at a rate|too (?:quickly|fast))",
            r"sending to this recipient is temporarily",
            r"recipient .{0,30}(?:is receiving|receives?) .{0,20}(?:rate|too)",
        ),
        "One recipient got more mail within an hour than its provider lets through; often a storm of alarms.",
        "It passes within an hour or so. Have a look at the device that sends so much.",
        stages=TRANSACTION,
    ),
    Rule(
        "session-limit",
        Blame.RATE,
        (
            rf"\b(?:{_UNIT}|commands?|transactions?) (?:per|in (?:this|one|a|the)|for this|for the current) "
            r"(?:smtp )?(?:session|connection)",
            r"(?:open|start|use) (?:a )?new (?:smtp )?(?:session|connection)",
            r"per (?:smtp )?(?:session|connection)\b.{0,20}(?:limit|reached|exceeded|maximum)",
            r"\b(?:mi|rp):(?:dmc|drc|ccl|cel)\b",
        ),
        "The server takes only so many messages in one session.",
        "Nothing to do: the rest goes in a new session.",
        stages=TRANSACTION,
    ),
    Rule(
        "recipients",
        Blame.RATE,
        (
            r"too many (?:recipients|rcpts?|addresses)(?! (?:this|per|in|from IP))",
            r"\b(?:number of|reduce the|maximum) (?:number of )?recipients|recipients? limit|recipients per (?:message|mail)"
            r"|one recipient (?:at|per)|(?:trop de|demasiados|troppi) destina|zu viele empf",
            r"multiple destination domains|(?:separate|another|per) transaction",
        ),
        _TOO_MANY,
        _FURTHER_GO,
        stages=TRANSACTION,
        unless=r"\b(?:hourly|daily|weekly|monthly|today|(?:per|an?|one|each|last|in|within) (?:hour|day|week|month|24 ?h))",
    ),
    Rule(
        "m365-daily",
        Blame.QUOTA,
        (r"^\d{3} 5\.1\.90\b", r"submission ?quota ?(?:was )?exceeded", r"^\d{3} 5\.7\.(?:233|705|232)\b"),
        "The account has sent all that its provider allows in a day (Microsoft 365: 10,000 recipients, less for new accounts).",
        "It passes within a day. A second upstream in the route carries the mail meanwhile.",
        stages=_ANYWHERE,
    ),
    Rule(
        "gmail-daily",
        Blame.QUOTA,
        (r"^\d{3} 5\.4\.5\b", r"daily (?:user|smtp relay) sending"),
        "The account has sent all that its provider allows in a day (Gmail: 500 messages; Google Workspace: 2,000).",
        "It passes within 24 hours. A second upstream in the route carries the mail meanwhile.",
        stages=_ANYWHERE,
    ),
    Rule(
        "gmail-message-id",
        Blame.RATE,
        (r"same message-id",),
        "A device gives every message the same Message-ID, and the provider counts that. Gmail does so.",
        "Nothing to do: the relay replaces repeated ones, and the mail goes through later.",
        stages=TRANSACTION,
    ),
    Rule(
        "ses-rate",
        Blame.RATE,
        (r"throttling failure: maximum",),
        "The mail service takes no more for the moment: the rate is used up. Amazon SES answers so.",
        "It is tried again by itself. If it comes back: set `limits: {per_minute: ...}` below the rate that the service's "
        "console shows, or have the quota raised there.",
        stages=_ANYWHERE,
    ),
    Rule(
        "sendgrid-credits",
        Blame.QUOTA,
        (r"maximum credits exceeded", r"\bcredits?\b.{0,20}(?:exceeded|exhausted|used up|r[au]n out)|out of credits?\b"),
        "The plan's messages are used up. It says 'for now', but it lasts until the next period.",
        "Buy more, or put another upstream into the route.",
        stages=_ANYWHERE,
    ),
    Rule(
        "quota",
        Blame.QUOTA,
        (
            rf"{_OVER}\b.{{0,50}}\b{_PERIOD}\b.{{0,40}}(?:limit|quota|allow\w{{1,20}}|allotment|number|maximum|max)",
            rf"\b(?:limit|quota|max\w{{0,12}}|number|allow\w{{1,20}})\b.{{0,50}}\bper {_PERIOD}\b.{{0,20}}{_OVER}",
            rf"\b(?:max\w{{0,12}}|number) .{{0,20}}{_UNIT} (?:per|for|in|an?) .{{0,5}}{_PERIOD}\b.{{0,20}}{_OVER}",
            rf"{_OVER}\b.{{0,30}}\b(?:limit|quota|max\w{{0,12}}|number|amount)\b.{{0,50}}\b(?:per|an?|each|this"
            rf"|for) {_PERIOD}\b",
            rf"\b{_PERIOD}(?:'s)? (?:{_UNIT} |relay |user |smtp |sending |outgoing |send ){{0,4}}(?:limit|quota|allowance"
            rf"|maximum|cap\b)",
            rf"too many {_UNIT}\b.{{0,30}}\b(?:today|(?:per|an?|one|each|last|within|in) (?:day|week|month|24 ?h))",
            rf"\bno more {_UNIT}\b.{{0,40}}\b(?:today|tomorrow)",
            rf"\b(?:may|can|allowed to|permitted to) (?:only )?send .{{0,20}}\b\d{{1,9}} {_UNIT} (?:per|an?|each) {_PERIOD}",
            rf"\b(?:limit|quota) (?:of|for) .{{0,40}}\b{_PERIOD}\b",
            rf"\bonly (?:send )?(?:to )?\d{{1,9}} {_UNIT} (?:per|an?|each) {_PERIOD}",
            rf"\b\d{{1,9}} {_UNIT} (?:per|an?|each) {_PERIOD}\b.{{0,30}}{_OVER}",
            rf"\b(?:send(?:ing|er)?|sent|out ?going|outbound|submission|message|mail|e-?mails?|relay|account)\b.{{0,30}}"
            rf"\b(?:limit|quota)\b.{{0,20}}\b{_OVER}",
            rf"{_OVER} .{{0,30}}\b(?:send(?:ing)?|sent|out ?going|submission|relay)(?: \w{{1,20}})? (?:limit|quota)",
            r"quota exceeded for (?:sender|user|account)",
            rf"\blimit\b.{{0,40}}\b(?:out ?going|sent|sending|send)\b.{{0,60}}{_OVER}",
            rf"\byou(?:'ve|r \w{{1,20}})?\b.{{0,20}}\b{_OVER}\b.{{0,40}}\b(?:limit|quota|allowance|allowable|allotment"
            rf"|number|maximum)",
            r"(?:sending|send|sent|submission) (?:limit|quota|threshold)",
            rf"\b\d{{1,9}} of \d{{1,9}} {_UNIT}|{_UNIT} sent .{{0,12}}{_PERIOD}|\bsent \d{{1,9}} {_UNIT} .{{0,12}}{_PERIOD}"
            rf"|\b(?:quota|allowance"
            rf"|kontingent)\b.{{0,40}}{_OVER}",
            r"subscription\b.{0,30}\b(?:not|n't)\b",
            rf"\b(?:maximum|max)\b.{{0,20}}\b{_PERIOD}\b.{{0,30}}{_OVER}",
            r"policy rejection\W{0,3}quota",
            r"(?:tenant|account|user|domain|customer)\b.{0,20}\bexceed\w{0,12} .{0,20}(?:threshold|limit|quota)",
            r"rate overlimit|sending too many (?:e-?mails?|mails|messages)",
            r"exceeded the max (?:e-?mails|defers)",
            r"(?:mails?|nachrichten) pro (?:tag|stunde|monat)|tageslimit|stundenlimit|versandlimit|sendelimit|limit erreicht",
            rf"\b(?:more than|over) \d{{1,9}} {_UNIT}\b.{{0,20}}\b(?:per|an?|in|within|during|this|last) .{{0,12}}{_PERIOD}",
            r"\bplan\b.{0,20}\b(?:limit|allows?\b)|upgrade (?:to send|your (?:plan|account))"
            r"|(?:payment|invoice|subscription)\b.{0,20}\b(?:overdue|unpaid|required|expired|due)\b",
            r"kontingent|numero massimo .{0,40}(?:giorn|ora)|limite .{0,40}(?:por (?:hora|dia|mes)|al giorno|all'ora"
            r"|par (?:jour|heure|mois))",
            r"limite (?:d'envoi|journaliere|quotidienne|horaire|de envio|diari[oa]|giornalier[oa]|di invio|orari[oa])",
            r"\bcuota\b.{0,30}(?:envio|superada|diaria)|quota (?:d'envoi|journalier|giornalier[oa]|diari[oa])",
            r"送信.{0,10}(?:数|量|件|制限|上限).{0,10}(?:超|達|制限|上限)|发[信送].{0,6}(?:上限|限额|超(?:过|限))|超(?:过|出).{0,8}(?:限额|上限|限制|配额)"
            r"|발송.{0,6}(?:한도|제한|초과)"
            r"|(?:лимит|превышен\w{0,12}) .{0,20}(?:отправ|писем|сообщ|лимит)",
            r"\bmi:(?:stc|sfq|nhd)\b",
        ),
        "The account has sent all that its provider allows for now (in an hour, a day or a month).",
        "It passes with the hour, the day or the month. A second upstream in the route carries the mail meanwhile; "
        "`limits: {per_day: ...}` spreads it.",
        stages=_ANYWHERE,
        unless=r"\bincoming (?:mail|messages)|\brecipient's (?:\w{1,20} ){0,2}(?:limit|quota)",
    ),
)

RATES: tuple[Rule, ...] = (
    Rule(
        "connections",
        Blame.RATE,
        (
            r"too many (?:\w{1,20} ){0,3}(?:connections|sessions)",
            r"(?:concurrent|simultaneous|parallel|connection|session)s?\b.{0,30}\b(?:limit|maximum|exceeded|frequency)",
            r"trop de connexions|zu viele (?:\w{1,20} )?verbindungen|demasiadas conexiones|troppe connessioni|同时连接|接続数",
            r"\bhl:(?:icc|ifc)\b",
            r"all server ports are busy|exceeded (?:the |your )?connection",
        ),
        "Too many connections are open from this account or address.",
        passes("set `limits: {connections: 1}` for this upstream."),
        stages=_ANYWHERE,
    ),
    Rule(
        "rate",
        Blame.RATE,
        (
            r"\brate[- ]?limit|limits? (?:for|on) how many|exceeded (?:its|the|your|their) (?:\w{1,20} )?rate"
            r"|\brate\b.{0,30}\b(?:exceeded|too high)",
            r"\bfrequency\b.{0,40}\blimit",
            r"too (?:many|much) (?!unwanted|invalid|unknown|bad|spam|unsolicited|recipients in)(?:\w{1,20} ){0,2}(?:mails?"
            r"|e-?mails?"
            r"|messages?|recipients|requests|errors)\b",
            r"too (?:fast|quickly|frequent\w{0,12}|often)\b",
            r"(?:has )?sent to too many|sent too many",
            r"try again slower|slow(?:er)? down|excessive (?:volume|rate)",
            r"temporarily deferred(?!.{0,40}(?:complaint|reputation|domain))",
            r"(?:sending|unusual|message|mail|connection) rate (?:limit|exceeded|of e-?mail|is too)"
            r"|unusual rate of (?:e-?mail|mail|traffic)",
            r"throttl",
            r"server (?:is )?(?:too )?busy",
            r"zu viele (?:nachrichten|mails|e-mails|empfanger|empfaenger)|trop de (?:messages|mails|destinataires)"
            r"|demasiados (?:mensajes|correos)|troppi messaggi|слишком (?:много|часто)|过于频繁|频率",
        ),
        "We send faster than the upstream likes.",
        "It is tried again by itself. If it comes back: set `limits: {connections: 1, per_minute: 20}` for this upstream.",
        stages=_ANYWHERE,
    ),
    Rule(
        "recipients-number",
        Blame.RATE,
        (r"^452 4\.5\.3\b",),
        _TOO_MANY,
        _FURTHER_GO,
        stages=TRANSACTION,
    ),
)
