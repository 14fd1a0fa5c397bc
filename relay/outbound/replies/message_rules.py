"""What servers dislike in a message: its form, its size, what is in it.  Pure."""

from relay.outbound.replies.rule import CONTENT, TRANSACTION, Blame, Rule, passes

TOO_BIG = (
    "Make the scan smaller (fewer dots per inch, grey, PDF) and send it again. Or put an upstream with a higher limit into the "
    "route, then run `relay queue release ID`."
)
_OURS = "The relay mends this, so it is a fault of the relay: please report it with the trail of this message."

FORM: tuple[Rule, ...] = (
    Rule(
        "bare-lf-qmail",
        Blame.MESSAGE,
        (r"SMTPLF", r"stray (?:newline|linefeed|lf)\b"),
        "The server found a line that ends in LF without CR. It may say 'for now', but that never heals by waiting.",
        _OURS,
        stages=TRANSACTION,
    ),
    Rule(
        "bare-lf",
        Blame.MESSAGE,
        (
            r"\b(?:bare|lone|stray) (?:<?(?:lf|cr)>?|line ?feed|newline|carriage)",
            r"barelinefeed",
            r"^\d{3} 5\.6\.11\b",
            r"violating 822\.bis",
        ),
        "The server found a line that does not end in CR LF.",
        _OURS,
        stages=TRANSACTION,
    ),
    Rule(
        "header-double",
        Blame.MESSAGE,
        (
            r"(?:duplicate|two|multiple|more than one|repeated|several) (?:QUOTE |[\w-]+:? ){0,3}(?:header|field)s?\b",
            r"(?:duplicate|multiple) (?:from|date|subject|to|cc|message-id|dkim-signature)\b",
            r"header .{0,40}(?:duplicate|more than once|appears twice)",
        ),
        "A header field stands in the message twice, and the server allows it only once.",
        "Look at `relay queue show` for what was repaired, and at the device or program that made the message.",
        stages=CONTENT,
    ),
    Rule(
        "header-gmx",
        Blame.MESSAGE,
        (r"^55\d .{0,60}reject due to policy restrictions",),
        "The provider dislikes the header; GMX, WEB.DE and IONOS answer so. It must have one valid Date, and From, To, Cc and "
        "Subject once each.",
        "Look at `relay queue show` and the link in the reply for the field in question; report it if the relay left it bad.",
        stages=CONTENT,
    ),
    Rule(
        "header-google",
        Blame.MESSAGE,
        (
            r"missing a valid address in (?:the )?(?:from|to)\b",
            r"multiple addresses in (?:the )?from",
            r"missing a valid message-id",
            r"encoded-word syntax is not permitted",
            r"message is malformed|malformed (?:message|header|mime)",
            r"unicode character in a disallowed header",
        ),
        "The server found a header field malformed or missing: From, Message-ID, or letters that are not ASCII in the wrong "
        "place.",
        "Look at `relay queue show` for what was repaired; report it if the relay left it bad.",
        stages=CONTENT,
    ),
    Rule(
        "header-m365",
        Blame.MESSAGE,
        (r"^\d{3} 5\.7\.512\b",),
        "The server found no usable address in From. Microsoft 365 answers so.",
        "Set `sender` of this upstream to an address of the account. Where `rewrite_from: false` stands there, remove it.",
        stages=CONTENT,
    ),
    Rule(
        "header-yahoo",
        Blame.MESSAGE,
        (
            r"headers? (?:are|is) not",
            r"header error|(?:invalid|bad|missing|illegal) (?:\S{1,40} )?header",
            r"^\d{3} 5\.6\.[0-6]\b",
        ),
        "The server found the header or the form of the message wrong.",
        "Look at `relay queue show` for what was repaired; report it if the relay left it bad.",
        stages=CONTENT,
    ),
    Rule(
        "long-line",
        Blame.MESSAGE,
        (r"line (?:is )?too long", r"maximum (?:allowed )?line length", r"^\d{3} 5\.6\.\d line", r"line (?:length )?limit"),
        "A line of the message is longer than mail allows (998 octets).",
        "The relay re-encodes such lines, so this is a fault of the relay: please report it with the trail of this message.",
        stages=CONTENT,
    ),
    Rule(
        "smtputf8",
        Blame.MESSAGE,
        (r"smtputf8", r"^\d{3} 5\.6\.7\b", r"internationali[sz]ed address"),
        "An address or the header has letters outside of ASCII, and this upstream cannot carry that.",
        "Use a plain address if there is one, or put an upstream with SMTPUTF8 into the route.",
        stages=TRANSACTION,
    ),
    Rule(
        "loop",
        Blame.MESSAGE,
        (
            r"\b(?:mail|message|forwarding|routing)? ?loop(?:ing|s)?\b",
            r"too many (?:hops|received)|\bhop count|exceeded \d{1,9} hops|message depth exceeded",
            r"^\d{3} 5\.4\.(?:6|12|14)\b",
        ),
        "Two servers hand this mail to each other in a circle.",
        "Look for a forwarding rule, or a route, that leads back to where the mail came from.",
        stages=TRANSACTION,
        unless=r"\b(?:quota|limit|allowance|activity)\b",
    ),
    Rule(
        "size",
        Blame.MESSAGE,
        (
            r"(?:message|mail|file|e-?mail|attachments?|nachricht|body|content)\b(?! (?:box|quota"
            r"|folder)).{0,20}\btoo (?:big|large|long|gross)",
            r"(?:message|mail|e-?mail|attachment)s? (?:is |are )?(?:larger|bigger|longer) than",
            r"(?:message|mail|e-?mail) .{0,20}exceed\w{0,12}.{0,30}\b(?:size|limit set|maximum fixed)",
            r"(?:message|mail|file|attachment)[- ]?(?:fixed )?size\b.{0,30}\b(?:exceed\w{0,12}|limit|too)",
            r"^5\d\d (?:5\.\d\.\d{1,3} )?(?:size|too (?:big|large))\b|declared size|size exceed"
            r"|exceeds? (?:\w{1,20} ){0,3}(?:maximum "
            r"|max )?(?:message |mail )size",
            r"^\d{3} 5\.3\.4\b",
            r"^\d{3} 5\.2\.3\b(?!.{0,30}policy)",
            r"zu gro(?:ss|ß)|trop (?:gros|volumineux)|taille limite|troppo grande|demasiado grande|слишком больш|过大"
            r"|サイズ.{0,10}超",
        ),
        "The message is larger than this upstream takes. Attachments grow by more than a third on their way.",
        TOO_BIG,
        stages=TRANSACTION,
        unless=r"\bsign(?:ed)? in\b|\b(?:hourly|daily|weekly|monthly|today|per (?:hour|day|week|month))\b",
    ),
)

BODY: tuple[Rule, ...] = (
    Rule(
        "spam-words",
        Blame.MESSAGE,
        (
            r"(?:message|mail|e-?mail)\b.{0,20}\blikely (?:unsolicited|spam)",
            r"spam (?:pattern|content|score|signature|rule|filter)",
            r"\b(?:content|message|body|subject)\b.{0,20}\b(?:match\w{0,12}|scored|classified|identified|considered"
            r"|looks like|appears to be)",
            r"suspicion of spam|nature of the content",
            r"(?:message|mail|nachricht|messaggio|mensaje)\b.{0,40}\b(?:as|be|is|like|comme|considered"
            r"|considere)\b.{0,12}\b(?:spam|junk|unsolicited|bulk|werbung)",
        ),
        "The provider took this message for spam.",
        "Give the device's mails a telling subject and a few words of text; put a second upstream into the route.",
        stages=CONTENT,
        unless=r"\b(?:blocked|listed|rejected|banned) (?:your|this) ip\b|\b(?:your|sending) ip\b.{0,30}\b(?:block|list|reject)",
    ),
    Rule(
        "listed-domain",
        Blame.MESSAGE,
        (
            r"\bDOMAINLIST\b|\bdbl\b|\bs?uri?bl\b|\bs?urbl\b",
            r"\b(?:urls?|uris?|links?)\b.{0,60}\b(?:\w{0,12}list|reject|block)",
            r"\w{0,12}list.{0,60}\b(?:urls?|uris?|links?)\b",
        ),
        "A domain in this message, in a link or in the sender's address, stands on a block list of domains.",
        "Look at the links in the message and at its sender's domain; check.spamhaus.org tells whether it is listed, and why.",
        stages=CONTENT,
        unless=r"\b(?:helo|ehlo|sender|client host|mail ?from|envelope)\b",
    ),
    Rule(
        "scanner-down",
        Blame.UPSTREAM,
        (
            r"(?:scanner|scan|clamd|amavis|spamd|rspamd|milter|anti-?virus|content filter)\b.{0,30}\b(?:fail\w{0,12}"
            r"|unavailable|not available"
            r"|unable|error|down|timed? ?out|refused|defer\w{0,12}|not responding|no response|overload\w{0,3}|busy)",
            r"(?:unable|failed) to (?:scan|connect to (?:clamd|amavis|spamd))",
        ),
        "The server could not examine the message just now; it says nothing of the message itself.",
        passes("tell the provider."),
        stages=TRANSACTION,
        passing=True,
    ),
    Rule(
        "attachment",
        Blame.MESSAGE,
        (
            r"\bvir(?:us|ii|uses)\b|\binfected\b|\bmalware\b|\btrojan\b|\bphish\w{0,12}|\beicar",
            r"(?:illegal|unacceptable|forbidden|banned|prohibited|dangerous|restricted|executable"
            r"|blocked) (?:\w{1,20} )?(?:attachments?|files?|content)",
            r"attachments? .{0,40}(?:not|n't|forbidden|prohibited|blocked|denied|rejected|policy)",
            r"\bbanned\b(?!.{0,30}\bip|,? send)",
            r"potential security issue|executable files",
            r"anhang.{0,20}(?:nicht|verboten)|piece jointe|allegato.{0,20}non|adjunto.{0,20}no|вложени"
            r"|вирус|病毒|ウイルス|바이러스",
        ),
        "The provider does not carry this kind of attachment (programs, scripts, archives with them), or it found a virus.",
        "Send the file another way. If the device should not send such files, have a look at the device.",
        stages=CONTENT,
    ),
)

SPAM: tuple[Rule, ...] = (
    Rule(
        "spam",
        Blame.MESSAGE,
        (
            r"\bspam\w{0,12}|\bjunk\b|\bubl?e\b|\bunsolicited\b|\bbulk\b|\bindesirable",
            r"content (?:was |is |has been )?(?:rejected|denied|refused|not|filter|restriction)",
            r"(?:message|mail|e-?mail|body) contains\b",
            r"(?:policy|security) (?:reasons?|violation|restrictions?|reject\w{0,12})|local policy|security polic|mailpolicy"
            r"|content[- ]policy",
            r"\[(?:cs01|ph01|hm\d{1,9})\]|\bdt:spm\b|mail rejete",
            r"sensitive words|nachricht .{0,20}(?:abgelehnt|verweigert)|спам|垃圾|スパム|스팸",
            r"policy that prohibited",
        ),
        "The provider took this message for spam, or its rules forbid something in it.",
        "Give the device's mails a telling subject and a few words of text; put a second upstream into the route.",
        stages=CONTENT,
    ),
)
