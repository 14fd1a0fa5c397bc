"""What servers think of our address on the Internet, and of the name that we greet with.  Pure."""

from relay.mail.reply import Stage
from relay.outbound.replies.rule import OPENING, TRANSACTION, Blame, Rule

_ANYWHERE = frozenset(Stage)
_OTHER_WAY = (
    "Without a login (no `username`, as with `mx`): send through a provider's upstream with a login. With a login: use port "
    "587 or 465. If it is so already, show the reply to the provider: its own address may be meant. Another upstream in the "
    "route helps meanwhile."
)
"""Whose address it is, ours or the provider's, the words seldom tell."""
_ON = r"(?:listed|blocked|blacklisted|blocklisted|banned|found|rejected|refused|denied|prohibited|is|are|due to|because)"
_LISTS = (
    r"(?:spamhaus|spamcop|\bsorbs\b|barracuda(?: ?central| reputation)?|uceprotect|ivmsip|\bcbl\b|\bxbl\b|\bsbl\b|\bpbl\b"
    r"|cloudmark"
    r"|senderscore|return ?path|mailspike|spamrats|invaluement|SPAMHAUS|\b(?:dns)?rbls?\b|\bdnsbls?\b|IPLIST)"
)
_WE = (
    r"(?:\bIP\b|\bips?\b(?: address(?:es)?| range)?|\bhost network\b|\byour (?:host|server|mail ?server|network|isp"
    r"|connection|address range)\b"
    r"|(?:client|sending|source) (?:host|server|address|mta|ip)\b|\bmail ?server (?:at |with )?\W?IP\b|\badresse ip\b"
    r"|\bip-adresse\b|\bdirecc?ion ip\b|\bindirizzo ip\b|\bsending mta'?s?\b)"
)
_BAD = (
    r"(?:black|block|deny|banned|barred|listed\b|bloque|gesperrt|bloqueada|bloccato|liste noire|sperrliste|schwarze liste"
    r"|lista ne[gr]r?a|abus|banned"
    r"|spammer"
    r"|not (?:allowed|authori[sz]ed|permitted|accepted|in the list of allowed)|unauthori[sz]ed|forbidden|rejected|refused"
    r"|denied|bad\b"
    r"|invalid"
    r"|заблокирован|черн\w{1,20} спис|黑名单|ブラックリスト|차단)"
)

PBL: tuple[Rule, ...] = (
    Rule(
        "pbl",
        Blame.REPUTATION,
        (
            r"\bpbl\b",
            r"policy block list",
            r"listing in spamhaus",
            r"(?:blocked|listed|rejected|found|list\w{0,12}) (?:using|by|in|at|on|via|from) (?:the )?(?:spamhaus|SPAMHAUS)",
            rf"{_WE}.{{0,60}}(?:\bspamhaus|SPAMHAUS)",
            r"(?:dial-?up|dynamic|residential|home|generic|pool)\b.{0,30}\b(?:ips?|address(?:es)?|hosts?|range|line|client"
            r"|networks?)\b",
            r"\b(?:ip|address|hosts?) .{0,20}\b(?:dial-?up|dynamic(?:ally)?|residential)\b",
            r"not authori[sz]ed to send (?:e-?mail|mail) directly|direct[- ]to[- ]mx",
            r"use (?:the |your )?(?:smtp |mail |out ?going ){0,4}(?:server|relay|smarthost|smart host) (?:of|from|at"
            r"|provided by) (?:your|the)",
        ),
        "The internet address that sent this is on a block list, or belongs to a line that should send through a provider. "
        "PBL is such a list of lines, without blame; SBL and XBL list addresses that sent spam or a virus.",
        "Look up the address in the reply at check.spamhaus.org. PBL: send through your mail provider, by an upstream with "
        "`username` and port 587 or 465. SBL or XBL: if it is your line, look for a virus here, then ask there for removal. "
        "Not your line: show the reply to the provider.",
        stages=_ANYWHERE,
    ),
)

REVERSE_DNS: tuple[Rule, ...] = (
    Rule(
        "reverse-dns",
        Blame.REPUTATION,
        (
            r"\b(?:ptr|rdns)\b",
            r"reverse[- ](?:dns|lookup|hostname|name|mapping|entry)",
            r"cannot (?:find|resolve) your (?:reverse )?(?:host ?name|address)",
            r"(?:ip name|name) lookup failed",
            r"forward dns entry does not|host ?name .{0,20}\b(?:not match|mismatch\w{0,3})\b.{0,20}\bip\b",
            r"(?:sender|sending|client|your) ip must resolve|host can'?t be resolved|unresolvable relay host",
            r"^\d{3} [45]\.7\.25\b",
        ),
        "The other side does not trust the address that sent this: it has no proper name in the DNS (reverse DNS).",
        _OTHER_WAY,
        stages=_ANYWHERE,
    ),
)

REPUTATION: tuple[Rule, ...] = (
    *PBL,
    Rule(
        "bad-address",
        Blame.REPUTATION,
        (
            rf"\b{_ON}\b.{{0,60}}{_LISTS}",
            rf"{_LISTS}.{{0,40}}\b(?:list|block|reject|deny|denied|refus|IP\b)",
            r"^\d{3} (?:\d\.\d{1,9}\.\d{1,9} )?(?:spam )?blocked\b.{0,20}(?:IPLIST|URL .{0,5}IP\b)",
            r"blocked using HOST",
            rf"{_WE}.{{0,80}}{_BAD}",
            rf"{_BAD}.{{0,60}}(?:\bIP\b|\bips?\b|\byour (?:host|server|mail ?server|network)\b|client host)",
            r"no access (?:for|from) (?:this|your) (?:ip|host|server)\b",
            r"\b(?:from|in) (?:your|this) (?:country|location|region)\b|\bgeo-?(?:ip|block|location)"
            r"|\bcountry\b.{0,30}\b(?:block|ban|not allowed|denied)",
            r"client host (?:rejected|blocked|.{0,12} blocked)",
            r"on our block list|s3\d{3}\b",
            r"(?:bad|poor|low|very low|none/bad|negative) (?:\w{1,20} ){0,3}reputation"
            r"|reputation (?:\w{1,20} ){0,3}(?:problem|reject|is (?:bad|low|poor))",
            r"\breputation\b.{0,20}\breject",
            r"(?:unsolicited|spam|unwanted)\b.{0,80}\b(?:from|originating from|by) (?:your|this|the following|the|our) (?:ip"
            r"|host|server|network|IP)",
            r"(?:spams?|unwanted messages) (?:have been sent )?from",
            r"(?:IP|ip|connections?)\b.{0,60}\b(?:due to|because of|for) (?:spam|abuse|too many)",
            r"(?:connections?|traffic|mail|messages?) (?:will )?(?:not"
            r"|n't) (?:be )?(?:currently )?accept\w{1,20} .{0,20}(?:from (?!HOST|ADDR|this sender|this address)|over)",
            r"\b(?:is|are|was|were|currently) (?:sending|relaying) (?:out )?spam\b",
            r"not (?:currently )?accept(?:ing)? (?:any )?(?:mail|messages|traffic|connections?) from (?:your|this|the) (?:ip"
            r"|host|server|network|"
            r"system)|not (?:currently )?accept(?:ing)? (?:any )?(?:mail|messages|traffic|connections?) from (?:IP|hosts)",
            r"messages from IP.{0,40}(?:were ?n'?t|not\b|deferred)",
            r"does not accept e-?mail over ipv6",
            r"^\d{3} (?:\S{1,20} )?ip ?[:=] ?IP\b",
            r"insecure mail relay|open (?:mail )?(?:relay|proxy)",
            r"suspected spam ip|\bbad ip\b|invalid ip\b|\bhl:(?:ipb|rep|mep)\b|\bdt:rbl\b|\bwm:bli\b",
            r"intrusion prevention|not welcome|dynamic hosts?",
            r"(?<![a-z])ip(?![a-z]).{0,30}(?:ブロック|拒否|规制|規制|制限されて|黑名单|禁止|封|차단|заблокирован|bloque|gesperrt|bloccat)",
            r"your mail ?server has an invalid",
            r"user complaints",
            r"^\d{3} [45]\.7\.(?:511|606|708)\b",
            r"block(?:ed)? for (?:spam|abuse)",
            r"looks? (?:suspiciously )?like (?:a )?spammer",
            r"too many (?:invalid|unknown|bad) (?:recipients|rcpt|users)",
        ),
        "The other side does not trust the address that sent this (a block list, or what it saw from there).",
        _OTHER_WAY,
        stages=_ANYWHERE,
    ),
    Rule(
        "listed",
        Blame.REPUTATION,
        (r"(?:black|block|deny)[ -]?list",),
        "The server says that something of ours is on a block list, and names neither the message nor the sender: mostly it is "
        "the address of this internet line.",
        _OTHER_WAY,
        stages=_ANYWHERE,
        unless=r"\b(?:sender|recipient|user|mailbox|from|url|link|uri|domain|ADDR)\b",
    ),
)

GOOGLE_GREETING: tuple[Rule, ...] = (
    Rule(
        "google-greeting",
        Blame.UPSTREAM,
        (r"^421 4\.7\.0 try again later, closing connection\. \((?:ehlo|helo|mail)",),
        "The server turned us away before the login: too many connections, or a greeting name like localhost. Gmail says so.",
        "Set `hostname` to a full name with a domain. If it comes back: set `limits: {connections: 1}` for this upstream.",
        stages=_ANYWHERE,
    ),
)

GREETING: tuple[Rule, ...] = (
    Rule(
        "greeting",
        Blame.UPSTREAM,
        (
            r"\b(?:helo|ehlo)\b",
            r"impersonating",
        ),
        "The server does not like the name that the relay greets with.",
        "Set `hostname` to a full name with a domain, such as relay.example.jp; never localhost.",
        stages=OPENING | TRANSACTION,
    ),
)
