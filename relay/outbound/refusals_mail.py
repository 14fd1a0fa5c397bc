"""The second half of the refusals: about our line, the message, its recipients, and how much we send.  Pure."""

from relay.outbound.refusals import Deed, Refusal

LINES: tuple[Refusal, ...] = (
    Refusal(
        "greeting",
        Deed.SETTING,
        r"(helo|ehlo).*(invalid|rejected|not allowed|need fully)|access denied, bad helo",
        "The server does not like the name that the relay greets with.",
        "Set `hostname` to a full name with a domain, such as relay.example.jp; never localhost.",
    ),
    Refusal(
        "google-greeting",
        Deed.PACE,
        r"^421[ -]4\.7\.0 try again later, closing connection\. \((EHLO|HELO|MAIL)",
        "Google turned us away before the login: too many connections, or a greeting name like localhost.",
        "Set `hostname` to a full name with a domain; lower `limits: {connections: 1}` if it comes back.",
    ),
    Refusal(
        "pbl",
        Deed.ADDRESS,
        r"spamhaus.*pbl|\bPBL\b.*spamhaus|listing in spamhaus|blocked using (zen\.)?spamhaus|spamhaus\.org/(query|pbl)",
        "Mail straight from a home line is refused: such addresses stand in the Spamhaus policy list, and rightly so.",
        "Send through an upstream with a login instead of `mx`. There is no need to ask for removal from the list.",
    ),
    Refusal(
        "listed-domain",
        Deed.MESSAGE,
        r"\bDBL\b|\bS?URI?BL\b|\b(URL|URI|link)s?\b.{0,60}\blist|\blist.{0,60}\b(URL|URI|link)s?\b",
        "A domain in this message, in a link or in the sender's address, stands on a block list of domains.",
        "Look at the links in the message and at its sender's domain; check.spamhaus.org tells whether it is listed, and why.",
    ),
    Refusal(
        "bad-address",
        Deed.ADDRESS,
        r"on our block list \(S3\d+\)|banned sending ip|not authorized to send email directly|blocked using"
        r"|client host rejected|no ptr record|does not have a ptr record|cannot find your hostname"
        r"|\b(DNSBL|RBL)\b|spamcop|\bsorbs\b|barracuda|\b(bad|poor|low) (\w+ )?reputation|dynamic (ip|address)"
        r"|\byour (ip|mail ?server|host)\b.{0,60}\b(listed|blocked|banned|black|block)|\bip (address )?(is )?blocked"
        r"|\d\.\d{1,3} is (in|on) (our|a|the) (black|block)[ -]?list",
        "The receiving side does not trust the address of this internet line (a block list, or no reverse DNS name).",
        "Send through an upstream with a login instead of directly.",
    ),
    Refusal(
        "spf-dkim-dmarc",
        Deed.DOMAIN,
        r"\b(spf|dkim|dmarc)\b|sender policy framework|unauthenticated email|unauthenticated senders",
        "The sender's domain does not vouch for this upstream: its SPF record does not name it, or no DKIM signature does.",
        "Send this domain's mail through the upstream that belongs to it, or add that upstream's `include:` to the SPF record "
        "(`relay doctor` prints the record), or let `rewrite` put the account's own address there.",
    ),
)

MESSAGES: tuple[Refusal, ...] = (
    Refusal(
        "bare-lf-qmail",
        Deed.MESSAGE,
        r"pobox\.com/~djb/docs/smtplf|cr\.yp\.to/docs/smtplf",
        "The server found a line that ends in LF without CR. It says 'for now', but that never heals by waiting.",
        "The relay mends line ends, so this is a fault of the relay: please report it with the trail of this message.",
    ),
    Refusal(
        "bare-lf",
        Deed.MESSAGE,
        r"bare (<?LF>?|<?CR>?|line ?feed)|BareLinefeedsAreIllegal|5\.6\.11\b|violating 822\.bis",
        "The server found a line that does not end in CR LF.",
        "The relay mends line ends, so this is a fault of the relay: please report it with the trail of this message.",
    ),
    Refusal(
        "header-gmx",
        Deed.MESSAGE,
        r"^554.*reject due to policy restrictions",
        "GMX, WEB.DE or IONOS disliked the header: it wants one valid Date, and From, To, Cc, Subject once each.",
        "Look at `relay queue show` and the link in the reply for the field in question; report it if the relay left it bad.",
    ),
    Refusal(
        "header-google",
        Deed.MESSAGE,
        r"missing a valid address in (the )?from: header|multiple addresses in from|not rfc 5322 compliant"
        r"|missing a valid message-id|encoded-word syntax is not permitted|mail message is malformed"
        r"|unicode character in a disallowed header",
        "Google found a header field malformed or missing: From, Message-ID, or letters that are not ASCII in the wrong place.",
        "Look at `relay queue show` for what was repaired; report it if the relay left it bad.",
    ),
    Refusal(
        "header-m365",
        Deed.MESSAGE,
        r"5\.7\.512\b|rfc 5322 section 3\.6\.2 compliant",
        "Microsoft found no usable address in From.",
        "Set `sender` for this upstream and leave `rewrite_from: true` on.",
    ),
    Refusal(
        "header-yahoo",
        Deed.MESSAGE,
        r"headers are not rfc compliant",
        "Yahoo found the header malformed.",
        "Look at `relay queue show` for what was repaired; report it if the relay left it bad.",
    ),
    Refusal(
        "long-line",
        Deed.MESSAGE,
        r"line (is )?too long|maximum (allowed )?line length|5\.6\.\d line",
        "A line of the message is longer than mail allows (998 octets).",
        "The relay re-encodes such lines, so this is a fault of the relay: please report it with the trail of this message.",
    ),
    Refusal(
        "size",
        Deed.MESSAGE,
        r"(message|mail)\b.{0,20}too (big|large)|exceed(s|ed|ing)?.{0,30}\bsize|size exceed|5\.3\.4\b|5\.2\.3\b|^552 .*size",
        "The message is larger than this upstream takes. Attachments grow by more than a third on their way.",
        "Make the scan smaller (fewer dots per inch, grey, PDF), or put an upstream with a higher limit into the route.",
    ),
    Refusal(
        "attachment",
        Deed.MESSAGE,
        r"virus|illegal attachment|potential security issue|executable files are not allowed",
        "The provider does not carry this kind of attachment (programs, scripts, archives with them), or it found a virus.",
        "Send the file another way. If the device should not send such files, have a look at the device.",
    ),
    Refusal(
        "spam",
        Deed.MESSAGE,
        r"(spam|unsolicited|message content rejected|content rejected|policy reasons|local policy|\[CS01\]|\[PH01\])",
        "The provider took this message for spam.",
        "Give the device's mails a telling subject and a few words of text; put a second upstream into the route.",
    ),
)

AMOUNTS: tuple[Refusal, ...] = (
    Refusal(
        "m365-hourly",
        Deed.QUOTA,
        r"5\.2\.12[12]\b|per hour message receive limit|exceeded (the|their) limit for the number of messages",
        "One recipient got more mail within an hour than Microsoft lets through; often a storm of alarms.",
        "It passes within an hour. Have a look at the device that sends so much.",
    ),
    Refusal(
        "m365-connections",
        Deed.PACE,
        r"concurrent connection|sender thread limit|^432\b",
        "Too many connections, or more than 30 messages a minute, for one Microsoft mailbox.",
        "Set `limits: {connections: 1, per_minute: 30}` for this upstream.",
    ),
    Refusal(
        "m365-daily",
        Deed.QUOTA,
        r"5\.1\.90\b|submission quota exceeded",
        "The account has sent all that Microsoft allows it in a day.",
        "It passes within a day. A second upstream in the route carries the mail meanwhile.",
    ),
    Refusal(
        "gmail-daily",
        Deed.QUOTA,
        r"5\.4\.5\b|daily user sending|daily smtp relay|daily sending quota",
        "The account has sent all that Google allows it in a day (500 messages; Workspace 2,000).",
        "It passes within 24 hours. A second upstream in the route carries the mail meanwhile.",
    ),
    Refusal(
        "gmail-message-id",
        Deed.PACE,
        r"same message-id",
        "A device gives every message the same Message-ID, and Google counts that.",
        "The relay replaces repeated ones; the mail goes through later.",
    ),
    Refusal(
        "icloud-daily",
        Deed.QUOTA,
        r"exceeded your daily sending limit|sending limit",
        "The account has sent all that its provider allows in a day (iCloud: 1,000 messages).",
        "It passes within a day. A second upstream in the route carries the mail meanwhile.",
    ),
    Refusal(
        "ses-rate",
        Deed.PACE,
        r"454 throttling failure",
        "Amazon SES takes no more for the moment: the rate or the daily quota is used up.",
        "Set `limits: {per_minute: ...}` below the rate in the SES console, or have the quota raised there.",
    ),
    Refusal(
        "sendgrid-credits",
        Deed.QUOTA,
        r"maximum credits exceeded",
        "The SendGrid plan's messages are used up. It says 'for now', but it lasts until the next period.",
        "Buy more, or put another upstream into the route.",
    ),
    Refusal(
        "recipients",
        Deed.PACE,
        r"too many recipients|^452 4\.5\.3",
        "More recipients in one go than the upstream takes.",
        "Nothing to do: the others get theirs in a further go. `limits: {recipients: ...}` avoids the question.",
    ),
    Refusal(
        "rate",
        Deed.PACE,
        r"rate limit|too (many|fast|quickly)|try again slower|excessive volume|temporarily deferred"
        r"|unusual rate|too frequent|throttl",
        "We send faster than the upstream likes.",
        "It passes. If it comes back, set `limits: {connections: 1, per_minute: 20}` for this upstream.",
    ),
)

RECIPIENTS: tuple[Refusal, ...] = (
    Refusal(
        "greylist",
        Deed.PASSING,
        r"gr[ae]y-?list|postgrey",
        "The other side makes every stranger wait before it takes mail (greylisting).",
        "Nothing to do: it takes the mail when it comes again, usually within half an hour.",
    ),
    Refusal(
        "null-mx",
        Deed.RECIPIENT,
        r"null mx|5\.1\.10\b|5\.7\.27 .*null|does not accept mail|domain .* accepts no mail",
        "The recipient's domain, or the sender's, is marked as one that takes no mail at all.",
        "Correct the address in the device, or send it elsewhere by `aliases`.",
    ),
    Refusal(
        "full",
        Deed.PASSING,
        r"over ?quota|mailbox (is )?full|out of storage|quota exceeded|exceeded storage|too much mail data",
        "The recipient's mailbox is full.",
        "Make room there, or tell the recipient another way.",
    ),
    Refusal(
        "no-domain",
        Deed.RECIPIENT,
        r"\b[45]\.1\.2\b|neither a mail host nor an address|domain not found|domain name not found",
        "The domain after the @ of the recipient does not exist, or has no mail server.",
        "Correct the address in the device; a misspelled domain is the usual reason.",
    ),
    Refusal(
        "smtputf8",
        Deed.RECIPIENT,
        r"SMTPUTF8|5\.6\.7\b|internationali[sz]ed address",
        "The address has letters outside of ASCII, and this upstream cannot carry such addresses.",
        "Use the recipient's plain address if there is one, or put an upstream with SMTPUTF8 into the route.",
    ),
    Refusal(
        "unknown-user",
        Deed.RECIPIENT,
        r"user (is )?unknown|unknown user|no such user|does not exist|5\.1\.1\b|mailbox not found|inactive email address"
        r"|recipient (address )?rejected|user doesn'?t have|can'?t accept user|no mailbox here",
        "There is no such recipient: the address is misspelled, or gone.",
        "Correct the address in the device, or send it elsewhere by `aliases`.",
    ),
    Refusal(
        "unavailable",
        Deed.RECIPIENT,
        r"mailbox unavailable",
        "The provider refuses the recipient, or the sender, without saying why.",
        "Check the recipient's address first, then whether `sender` is an address of the account.",
    ),
)

OTHERS: tuple[Refusal, ...] = (
    Refusal(
        "passing",
        Deed.PASSING,
        r"greylist|4\.7\.1 .*(try again|grey)|temporarily rejected|try again later|temporary (system|server) "
        r"|local error in processing|service (not available|unavailable)|insufficient system",
        "The other side asks us to come back later; some do so to every stranger (greylisting).",
        "Nothing to do.",
    ),
    Refusal(
        "loop",
        Deed.SETTING,
        r"mail loop|too many hops|exceeded \d+ hops|message depth exceeded",
        "Two servers hand this mail to each other in a circle.",
        "Look for a forwarding rule, or a route, that leads back to where the mail came from.",
    ),
    Refusal(
        "protocol",
        Deed.PASSING,
        r"syntax error|bad sequence|unrecognized command|cannot decode response|protocol violation|too many errors",
        "The server and the relay did not understand each other.",
        "If it comes back, please report it with the trail of this message.",
    ),
)

GENERAL: tuple[Refusal, ...] = (
    Refusal(
        "unknown-temporary",
        Deed.UNKNOWN,
        r"^4\d\d\b",
        "The upstream puts us off; its words are not among those that the relay knows.",
        "Wait; if it does not pass, read the upstream's own words, or show them to its support desk.",
    ),
    Refusal(
        "unknown-permanent",
        Deed.UNKNOWN,
        r"^5\d\d\b",
        "The upstream refuses; its words are not among those that the relay knows.",
        "Read the upstream's own words, or show them to its support desk.",
    ),
    Refusal(
        "unknown",
        Deed.UNKNOWN,
        r"",
        "The answer of the upstream is none that mail knows.",
        "Read what it said; perhaps that is no mail server.",
    ),
)
