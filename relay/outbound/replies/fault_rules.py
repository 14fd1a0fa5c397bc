"""What the relay found itself: no server said these words, the fault is a field.  Pure."""

from relay.mail.reply import Fault, Stage
from relay.outbound.replies.message_rules import TOO_BIG
from relay.outbound.replies.recipient_rules import CORRECT
from relay.outbound.replies.rule import AUTH, CONTENT, OPENING, Blame, Rule, passes

CONNECT = frozenset({Stage.CONNECT})


def _fault(name: str, blame: Blame, *faults: Fault, cause: str, remedy: str, code: str = "") -> Rule:
    return Rule(name, blame, (code,), cause, remedy, faults=frozenset(faults))


_TELL_THEM = passes(
    "tell the recipient's side, by another way. To send it all the same, give that domain a route to a provider's upstream.",
    "a day",
)

FAULTS: tuple[Rule, ...] = (
    _fault(
        "tls-name",
        Blame.UPSTREAM,
        Fault.TLS_NAME,
        cause="The server's certificate is for another name than the `host` set for this upstream; hosting firms often answer "
        "with the name of the machine.",
        remedy="Set `host` to the name in the certificate; the provider's help page usually names it. Or pin it with "
        "`fingerprint`.",
    ),
    _fault(
        "tls-expired",
        Blame.UPSTREAM,
        Fault.TLS_EXPIRED,
        Fault.TLS_EARLY,
        cause="A certificate of the server has run out or is not valid yet, or the clock of this machine is wrong.",
        remedy="Check the date and time here first. If they are right, the provider must renew the certificate.",
    ),
    _fault(
        "tls-trust",
        Blame.UPSTREAM,
        Fault.TLS_TRUST,
        Fault.TLS_PIN,
        Fault.TLS_FILE,
        cause="The server's certificate cannot be verified, so the password was not sent to it.",
        remedy="If it is your own server, name its authority in `ca_file` or its certificate in `fingerprint` (with `push` "
        "the authority in the variable SSL_CERT_FILE); else ask the provider.",
    ),
    _fault(
        "tls-mode",
        Blame.UPSTREAM,
        Fault.TLS_MODE,
        Fault.NO_STARTTLS,
        cause="One side began with TLS and the other without: port and `tls` of this upstream do not go together.",
        remedy="Port 465 wants `tls: implicit`, port 587 wants `tls: starttls`.",
    ),
    _fault(
        "tls-old",
        Blame.UPSTREAM,
        Fault.TLS_OLD,
        cause="The server knows only TLS versions, ciphers or keys that are no longer safe.",
        remedy="Ask the provider for its current server name, or use another upstream. For a server in your own network, "
        "`legacy_tls: true` allows it.",
    ),
    _fault(
        "tls-failed",
        Blame.UPSTREAM,
        Fault.TLS,
        Fault.TLS_CLIENT,
        cause="The encrypted connection could not be opened; the words in the reply say why.",
        remedy="Check port and `tls` of this upstream. If the server wants a certificate of yours, name it in `client_cert`.",
    ),
    _fault(
        "mta-sts",
        Blame.UPSTREAM,
        Fault.STS,
        cause="The recipient's domain has a policy (MTA-STS): mail may go only to hosts that it names and that prove by TLS who"
        " they are. This host did not, so nothing was sent to it: somebody may be in between, or that domain made a mistake.",
        remedy=_TELL_THEM,
    ),
    _fault(
        "dane",
        Blame.UPSTREAM,
        Fault.DANE,
        cause="The signed DNS says which certificate the recipient's mail host has (DANE). The host showed another one or none,"
        " or the DNS did not answer, so nothing was sent to it: somebody may be in between, or it was renewed without the DNS.",
        remedy=_TELL_THEM,
    ),
    _fault(
        "mx-tls",
        Blame.UPSTREAM,
        Fault.MX_TLS,
        cause="The recipient's mail host has no TLS with a certificate that is trusted here, and `mx: {tls: verified}` demands "
        "that. Many hosts have none.",
        remedy="Give that domain a route to a provider's upstream, or set `tls: opportunistic` under `mx`.",
    ),
    _fault(
        "name",
        Blame.UPSTREAM,
        Fault.DNS,
        cause="The DNS gave no answer about the name of the server.",
        remedy="Check whether this machine can reach its DNS server.",
    ),
    Rule(
        "no-domain-here",
        Blame.RECIPIENT,
        ("",),
        "The domain after the @ of the recipient does not exist, or has no mail server.",
        f"A misspelled domain is the usual reason. {CORRECT}",
        stages=frozenset({Stage.RCPT}),
        faults=frozenset({Fault.NO_HOST, Fault.NULL_MX}),
    ),
    _fault(
        "mail-host-here",
        Blame.RECIPIENT,
        Fault.BARRED,
        cause="The recipient's domain names an address of this network, or of this machine itself, as its mail server.",
        remedy="For a server of yours in the LAN set `private: true` under `mx`, or give its domain a route to an upstream. "
        f"Else: {CORRECT[0].lower()}{CORRECT[1:]}",
    ),
    _fault(
        "no-host",
        Blame.UPSTREAM,
        Fault.NO_HOST,
        Fault.NULL_MX,
        cause="The name of the server does not exist, or has no address.",
        remedy="Check `host` for a misspelling; with `api: graph` the `url`, with `push` the host in its URL.",
    ),
    _fault(
        "closed-port",
        Blame.UPSTREAM,
        Fault.REFUSED,
        cause="Nothing listens on that port of the server.",
        remedy="Check `host` and `port`: 587 with `tls: starttls`, or 465 with `tls: implicit`. With `api: graph` check "
        "the `url`, with `push` host and port in its URL.",
    ),
    _fault(
        "no-mechanism",
        Blame.LOGIN,
        Fault.NO_MECHANISM,
        cause="The server offers no way to log in that the relay may use here.",
        remedy="Set `tls: starttls` with port 587, or `tls: implicit` with port 465. Where `auth` of this upstream is set, "
        "remove it. A server that has only GSSAPI or NTLM cannot be used.",
    ),
    _fault(
        "oauth-no-consent",
        Blame.LOGIN,
        Fault.TOKEN,
        cause="This upstream logs in by OAuth 2.0, and nobody has allowed it for this account yet.",
        remedy="Run `relay oauth login` with the upstream's name, beside the running relay; what waits then goes by itself.",
    ),
    _fault(
        "oauth-store",
        Blame.UPSTREAM,
        Fault.TOKEN_STORE,
        cause="The OAuth tokens could not be read or written beside the spool, so the login was not tried: a token that is not "
        "on disk would be lost with the next power cut.",
        remedy="Make room on the disk, or let the relay's user write to the folder.",
    ),
    _fault(
        "oauth-denied",
        Blame.LOGIN,
        Fault.TOKEN_DENIED,
        cause="The provider hands out no access token any more; its own words and their cure are in the refusal.",
        remedy="Do what they say; then run `relay oauth login` with the upstream's name, or with `grant: client-credentials` "
        "`relay queue retry --all`. The mail is kept meanwhile.",
    ),
    _fault(
        "oauth-server",
        Blame.UPSTREAM,
        Fault.TOKEN_SERVER,
        cause="The provider's token server could not be asked just now.",
        remedy=passes("check the internet line, DNS and the clock; a firewall must let HTTPS out."),
    ),
    _fault(
        "oauth-renewed",
        Blame.UPSTREAM,
        Fault.TOKEN_RENEWED,
        cause="The server refused the access token before its time; a new one has been fetched.",
        remedy="Nothing to do: the next try has the new token. If it comes back often, check the clock of this machine.",
    ),
    _fault(
        "oauth-new-token-refused",
        Blame.LOGIN,
        Fault.TOKEN_NEW,
        cause="The server refused an access token that had been fetched just now: the consent was given by another account, "
        "the mailbox may not send by SMTP, or the application may not send for it.",
        remedy="Check that `username` is the account that consented, and that 'Authenticated SMTP' is on for it (Microsoft). "
        "Then run `relay oauth login` again.",
    ),
    Rule(
        "hung-up-at-login",
        Blame.LOGIN,
        ("",),
        "The server hung up during the login, without a word. Some do so after several wrong passwords, or while the account "
        "or the address of this internet line is locked.",
        passes(
            "check `username` and the password file, look on the provider's web page whether the account is locked, then run"
            " `relay queue retry --all`."
        ),
        stages=AUTH,
        faults=frozenset({Fault.HUNG_UP}),
    ),
    _fault(
        "pop-login",
        Blame.LOGIN,
        Fault.POP,
        code=r"^5",
        cause="The POP login that allows sending was refused.",
        remedy="Check `pop: {host, port, tls}`, `username` and the password; where the server offers SMTP AUTH, use that.",
    ),
    _fault(
        "pop-passing",
        Blame.UPSTREAM,
        Fault.POP,
        cause="The POP login that allows sending did not come about just now.",
        remedy="Some servers allow one login every few minutes, or one at a time. "
        + passes("look for other programs that read this mailbox, then ask the provider."),
    ),
    _fault(
        "too-big-here",
        Blame.MESSAGE,
        Fault.TOO_BIG,
        cause="The message is larger than this upstream takes, as it says itself or as `limits` says. It was not sent there.",
        remedy=TOO_BIG,
    ),
    _fault(
        "smtputf8-here",
        Blame.RECIPIENT,
        Fault.SMTPUTF8,
        Fault.ADDRESS,
        cause="An address or a header has letters outside of ASCII, or signs that no address may have, and this upstream "
        "cannot carry that.",
        remedy="Use a plain address if there is one, or put an upstream with SMTPUTF8 into the route.",
    ),
    _fault(
        "dkim-key",
        Blame.UPSTREAM,
        Fault.DKIM,
        cause="Mail from this domain is to be signed (DKIM), and its key cannot be made or used. It does not go unsigned.",
        remedy="The words in the reply say what is wrong. `relay dkim` with the domain tries the same. Without its entry in "
        "`dkim` the mail goes unsigned.",
    ),
    _fault(
        "folder-missing",
        Blame.UPSTREAM,
        Fault.FOLDER_MISSING,
        cause="The folder of this upstream is not there, so nothing was written: most often a disk or a share is not mounted.",
        remedy="Mount it, or make the folder; the relay makes only what follows the first `{` in `folder`, and follows no "
        "symbolic link there.",
    ),
    _fault(
        "folder-rights",
        Blame.UPSTREAM,
        Fault.FOLDER_RIGHTS,
        cause="The relay may not write into the folder of this upstream, or its file system is read-only.",
        remedy="Let the relay's user or group write there; `relay doctor` names the user. For a service, the folder must be in "
        "`ReadWritePaths`; in a container, a volume that is not `:ro`.",
    ),
    _fault(
        "folder-full",
        Blame.UPSTREAM,
        Fault.FOLDER_FULL,
        cause="The disk of this upstream's folder is full, or a quota is reached. The relay leaves 200 MB free there, on small "
        "disks a twentieth.",
        remedy="Make room; what waits is written then.",
    ),
    _fault(
        "folder-io",
        Blame.UPSTREAM,
        Fault.FOLDER_IO,
        cause="The disk or the share of this upstream's folder failed, or did not answer in time.",
        remedy="Look at the system's log (`dmesg`) and at the server of the share. What waits is written when it works again.",
    ),
    _fault(
        "graph-permission",
        Blame.RELAY_DENIED,
        Fault.PERMISSION,
        cause="The application may send by Microsoft Graph, but not make drafts, and a message of this size needs one.",
        remedy="Grant it `Mail.ReadWrite` beside `Mail.Send` (with admin consent); where a person consented, run `relay oauth "
        "login` again.",
    ),
    _fault(
        "rejected-here",
        Blame.RECIPIENT,
        Fault.REJECTED,
        cause="A rule of the relay's own configuration rejects this recipient.",
        remedy="If this mail should go: change the rule under `routes`, then run `relay queue release ID`.",
    ),
    _fault(
        "unrouted",
        Blame.UPSTREAM,
        Fault.UNROUTED,
        code=r"^4",
        cause="No rule of the relay's configuration says where this mail goes, or the upstream that it names is gone.",
        remedy="Mend `routes`; what waits then goes by itself.",
    ),
    _fault(
        "unanswered",
        Blame.UNCERTAIN,
        Fault.UNANSWERED,
        cause="The upstream's answer for this recipient is not known: it may or may not have the message.",
        remedy="Nothing to do. Should the recipient have it twice, this is why.",
    ),
    _fault(
        "internal",
        Blame.UPSTREAM,
        Fault.INTERNAL,
        cause="An error inside the relay stopped this attempt.",
        remedy="Please report it with the trail of this message and the log.",
    ),
    Rule(
        "garbage",
        Blame.UPSTREAM,
        ("",),
        "What answered there does not speak SMTP.",
        "Check `host`, `port` and `tls` of this upstream; a firewall or a web server may answer in the mail server's place.",
        stages=frozenset(Stage) - CONTENT,
        faults=frozenset({Fault.GARBAGE}),
    ),
)

PORT_25 = Rule(
    "port-25",
    Blame.UPSTREAM,
    ("",),
    "Port 25 to the outside does not answer. Many providers of home and office lines close it (outbound port 25 blocking).",
    "Send through your provider's or mail host's submission server: port 587 with `tls: starttls`, or 465 with `implicit`.",
    stages=CONNECT,
    faults=frozenset({Fault.TIMED_OUT, Fault.UNREACHABLE}),
)

SILENCES: tuple[Rule, ...] = (
    Rule(
        "no-connection",
        Blame.UPSTREAM,
        ("",),
        "The server could not be reached: it is down, the internet line is, or something in between drops the connection.",
        passes("check the line, then `host` and `port`. `relay doctor` tries them all."),
        stages=CONNECT,
        lost=True,
    ),
    Rule(
        "hung-up-early",
        Blame.UPSTREAM,
        ("",),
        "The server hung up before the login. Some do so to addresses from abroad, to unknown greeting names, or when port and "
        "`tls` do not go together.",
        "Set `hostname` to a full name such as relay.example.jp; check port and `tls`; look in the provider's panel for a "
        "filter on foreign addresses.",
        stages=OPENING,
        lost=True,
    ),
    Rule(
        "uncertain",
        Blame.UNCERTAIN,
        ("",),
        "The connection was lost after the whole message had been sent and before the server answered: it may or may not have "
        "it.",
        "Nothing to do. Should the recipient have it twice, this is why.",
        stages=CONTENT,
        lost=True,
    ),
    Rule(
        "lost",
        Blame.UPSTREAM,
        ("",),
        "The connection to the server was lost half-way.",
        "It is tried again by itself. If it is lost every time: check the line, and whether a firewall looks into mail.",
        lost=True,
    ),
)
