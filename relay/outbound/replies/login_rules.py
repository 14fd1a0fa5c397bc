"""Logins that are refused, missing, or wanted over TLS.  Pure."""

from relay.outbound.replies.rule import AUTH, ENVELOPE, TRANSACTION, Blame, Rule, passes

_ASKED = AUTH | TRANSACTION
_RETRY = "then run `relay queue retry --all`."
_CORRECT = f"Correct `username` (with or without @domain) or the password in `password_file`, {_RETRY}"

CODED_LOGINS: tuple[Rule, ...] = (
    Rule(
        "m365-basic-auth",
        Blame.LOGIN,
        (r"basic authentication is (?:not supported|disabled)",),
        "The provider no longer takes a plain password for sending mail; Microsoft answers so.",
        "At Microsoft set `provider: outlook` with `api: graph` and `oauth` for this upstream (docs/microsoft-365.md). "
        "Elsewhere ask for a login by OAuth, or send through another upstream.",
        stages=_ASKED,
    ),
    Rule(
        "m365-smtp-auth-off",
        Blame.LOGIN,
        (r"^535 5\.7\.139\b.{0,80}smtpclientauthentication is disabled",),
        "Sending by SMTP is switched off for this Microsoft 365 organisation or mailbox.",
        "Set `api: graph` for this upstream, which needs no SMTP (docs/microsoft-365.md). Or an administrator allows "
        "'Authenticated SMTP' for the mailbox, and for the organisation.",
        stages=_ASKED,
    ),
    Rule(
        "m365-security-defaults",
        Blame.LOGIN,
        (r"^535 5\.7\.139\b.{0,120}(?:security defaults|user is locked)",),
        "The security defaults of this Microsoft 365 organisation forbid logging in with a password.",
        "Use `oauth` for this upstream, best with `api: graph`, or have an administrator make an exception for the account.",
        stages=_ASKED,
    ),
    Rule(
        "m365-login",
        Blame.LOGIN,
        (r"^535 5\.7\.(?:139|3)\b",),
        "The login was refused: the password is wrong, or passwords are not taken any more. Servers of Microsoft answer so.",
        f"For an Outlook.com or Hotmail address only `oauth` works: run `relay oauth login`. Else: correct `username` or the "
        f"password in `password_file`, {_RETRY}",
        stages=_ASKED,
    ),
    Rule(
        "m365-anonymous",
        Blame.LOGIN,
        (r"^5\d\d 5\.7\.57\b",),
        "The server saw no valid login before the mail. Servers of Microsoft answer so.",
        "Give this upstream `username` and `password_file`. Microsoft 365 wants `oauth`, unless the organisation still allows "
        "passwords.",
        stages=_ASKED,
    ),
    Rule(
        "gmail-app-password",
        Blame.LOGIN,
        (
            r"^53[45]\b.{0,80}(?:application-specific password|log in (?:with|through|via) your web browser)",
            r"\bapp(?:lication)?[- ](?:specific )?password",
            r"parol\w{0,12} prilozheni|пароль приложени",
            r"authori[sz]ation code to log",
        ),
        "The provider wants an app password here (some call it an authorization code), not the password of the account.",
        "Switch on 2-step verification in the provider's account, make an app password there and put it into `password_file`, "
        f"{_RETRY}",
        stages=_ASKED,
    ),
)

LOGINS: tuple[Rule, ...] = (
    Rule(
        "gmail-login-rate",
        Blame.RATE,
        (
            r"^4\d\d\b.{0,40}too many (?:login|auth\w{0,12}|failed|invalid|fail) ?\w{0,12}",
            r"^4\d\d\b.{0,60}authentication rate",
        ),
        "The server saw too many logins within a short time.",
        "It is tried again by itself. If it comes back: look for other programs that log in with this account.",
        stages=AUTH,
    ),
    Rule(
        "login-passing",
        Blame.UPSTREAM,
        (r"^4\d\d\b",),
        "The server could not check the login just now; that says nothing of the password.",
        passes("ask the provider."),
        stages=AUTH,
        unless=r"\b(?:IP|ip|IPLIST|SPAMHAUS|helo|ehlo)\b|(?:black|block|deny)[ -]?list",
    ),
    Rule(
        "login-place",
        Blame.LOGIN,
        (r"(?:unauthori[sz]ed|not (?:allowed|authori[sz]ed)|forbidden)\b.{0,20}\b(?:ip|IP|address|country|location)\b",),
        "The account may not log in from the address of this internet line.",
        "Look on the provider's web page for a list of allowed addresses, or a block on foreign ones.",
        stages=AUTH,
    ),
    Rule(
        "wants-tls",
        Blame.LOGIN,
        (
            r"must issue a starttls|\b(?:use|with) (?:tls|ssl|starttls|encryption)\b|plain ?text connection",
            r"(?:starttls|tls|ssl|encrypt\w{0,12})\b.{0,40}\b(?:is |are )?(?:required|needed|mandatory|necessary"
            r"|erforderlich|obligatoire"
            r"|requis|requerido|richiest\w)",
            r"(?:requires?|must use|wants?|need|needs|without) (?:all senders to use |an? ){0,4}(?:(?:ssl|tls)\b"
            r"|encrypt\w{0,12}|starttls)",
            r"^538\b|\bciphers?\b",
            r"^\d{3} 5\.7\.(?:29|7|10)\b.{0,60}(?:tls|ssl|encrypt)",
        ),
        "The server wants an encrypted connection.",
        "Set `tls: starttls` with port 587, or `tls: implicit` with port 465.",
        stages=_ASKED,
    ),
    Rule(
        "submission-client",
        Blame.LOGIN,
        (r"client host rejected: (?:access denied|not logged in)", r"client was not authenticated"),
        "The submission port takes mail only after a login; this is its way to say so.",
        "Set `username` and `password_file` for this upstream.",
        stages=TRANSACTION,
    ),
    Rule(
        "wants-login",
        Blame.LOGIN,
        (
            r"^530\b",
            r"\bauth\w{0,12} (?:is )?(?:required|needed|necessary|mandatory|first|requise?|erforderlich|richiesta|requerida"
            r"|obligatoire)",
            r"(?:requires?|needs?|without|proper|valid|turn on|enable|use|please|must) (?:smtp |proper |valid |an? ){0,4}"
            r"(?:auth(?:entication|enticate)?|authentification|log ?in)\b",
            r"authenticate (?:yourself|first|before)|log ?(?:in|on) (?:before|first|to your)|only logged"
            r"|no (?:smtp )?auth(?:entication)?\b",
            r"\banonymous\b|(?:authenticate|log ?in) again",
            r"must (?:first |be ){0,4}(?:authenticate|log ?in|logged in|authenticated)",
            r"unauthenticated (?:senders?|users?|clients?|connections?|commands?)",
            r"not (?:yet )?(?:authenticated|logged[- ]in)\b|fail\w{0,3} to (?:authenticate|log ?in)",
            r"smtp auth\w{0,12}\b.{0,40}(?:required|mail client|settings)",
            r"\bauth (?:required|first|needed)|authenticated (?:senders?|users?) only|only authenticated",
            r"anmeldung (?:ist )?(?:erforderlich|notwendig)|nicht angemeldet|anmelden",
            r"\b(?:authentifi\w{1,20}|autentic\w{1,20}|autentifi\w{1,20}|аутентифи\w{1,20}|авториз\w{1,20})|認証|登录|인증",
        ),
        "The upstream takes mail only after a login.",
        "Set `username` and `password_file` for this upstream.",
        stages=_ASKED,
    ),
    Rule(
        "login-late",
        Blame.LOGIN,
        (
            r"^53[45]\b",
            r"\b(?:auth\w{0,12}|log ?in|credentials?|password)\b.{0,30}\b(?:failed|failure|unsuccessful|invalid\w{0,12}"
            r"|incorrect|rejected|denied"
            r"|fehlgeschlagen|invalide|errat\w)",
            r"(?:invalid|incorrect|wrong|bad) (?:authentication|log ?in|credentials?|password|user ?name)",
        ),
        "The upstream does not accept the login.",
        _CORRECT,
        stages=TRANSACTION,
    ),
)

LOGIN_NUMBERS: tuple[Rule, ...] = (
    Rule(
        "mechanism",
        Blame.LOGIN,
        (r"^50[0-4]\b",),
        "The server does not know the way we logged in.",
        "Remove `auth` of this upstream where it stands, so that the relay takes what the server offers; or set it to what the "
        "provider's help page names: plain, login or cram-md5.",
        stages=AUTH,
    ),
    Rule(
        "login-number",
        Blame.LOGIN,
        (r"^5\d\d 5\.7\.(?:3|8|9)\b",),
        "The upstream does not accept the login.",
        _CORRECT,
        stages=ENVELOPE,
    ),
    Rule(
        "login",
        Blame.LOGIN,
        (r"^5\d\d\b",),
        "The upstream does not accept the user name and password. Gmail, Yahoo, iCloud and others want an app password; it "
        "may end when the account gets a new password. Some also answer so for an hour or so after several wrong tries.",
        "Correct `username` (with or without @domain) or the password in `password_file`. Where the provider has app "
        f"passwords, make a new one. {_RETRY.capitalize()}",
        stages=AUTH,
    ),
)
