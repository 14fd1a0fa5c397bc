"""How to log in at an upstream: mechanism, secret, POP before SMTP, OAuth 2.0."""

import re
from dataclasses import replace

from relay.config import hosts, scalars
from relay.config.fields import Fields
from relay.config.scalars import Wrong, choice, duration, one_of
from relay.upstream.graph_rights import scope_for, token_url_for
from relay.upstream.oauth.authorities import AUTHORITIES
from relay.upstream.provider import Preset, UserForm
from relay.upstream.settings import Auth, Grant, Login, OAuth, Pop, TlsMode

_BY_PASSWORD = (Auth.PLAIN, Auth.LOGIN, Auth.CRAM_MD5, Auth.SCRAM, Auth.POP)
_HIDING = (Auth.CRAM_MD5, Auth.SCRAM)


def read_login(at: Fields, preset: Preset | None, username: str, mode: TlsMode) -> Login:
    """The login of one upstream; whatever cannot work together is a mistake."""
    auth = at.get("auth", choice(Auth), preset.auth if preset and mode is preset.tls else Auth.AUTO)
    password = at.secret("password")
    oauth = _oauth(at, preset)
    pop = _pop(at)
    if preset and preset.user is UserForm.FIXED and auth is Auth.NONE and not at.said("username"):
        username = ""
    _check_methods(at, auth, oauth, pop)
    _check_names(at, preset, auth, username)
    if auth is not Auth.NONE:
        _check_password(at, auth, username, oauth)
    login = Login(auth, username, password, oauth, pop)
    _remark_on(at, preset, login, mode)
    return login


def read_graph_login(at: Fields, preset: Preset | None, username: str, url: str) -> Login:
    """The login of a mailbox at Microsoft Graph: OAuth 2.0, at the token server and with the scopes of its cloud."""
    if not at.given("oauth"):
        at.mistake("oauth", "expected client_id and the like, since api is graph, found nothing")
    if not username and not at.said("username"):
        at.mistake("username", "expected the mailbox that sends, found nothing")
    oauth = _oauth(at, preset)
    if oauth is not None and oauth.provider not in ("", "microsoft"):
        at.mistake("oauth", f"expected provider: microsoft in it, since api is graph, found {oauth.provider}")
    if oauth is not None:
        scope = oauth.scope or scope_for(url, oauth.grant)
        oauth = replace(oauth, scope=scope, token_url=oauth.token_url or token_url_for(url, oauth.tenant))
    return Login(Auth.XOAUTH2, username, None, oauth)


def _has_password(at: Fields) -> bool:
    """Whether one is said; it may be one that could not be read, which has been told already."""
    return at.said("password") or at.said("password_file")


def _check_methods(at: Fields, auth: Auth, oauth: OAuth | None, pop: Pop | None) -> None:
    if auth is Auth.POP and not at.given("pop"):
        at.mistake("pop", "expected where to log in first, such as {host: pop.isp.example}, since auth is pop, found nothing")
    if pop is not None and auth is not Auth.POP:
        at.mistake("pop", f"expected auth: pop beside it, found auth: {auth.value}")
    if auth is Auth.XOAUTH2 and not at.given("oauth"):
        at.mistake("oauth", "expected client_id and the like, since auth is xoauth2, found nothing")
    if oauth is not None and auth not in (Auth.AUTO, Auth.XOAUTH2):
        at.mistake("oauth", f"expected auth: auto or xoauth2 beside it, found auth: {auth.value}")


def _check_names(at: Fields, preset: Preset | None, auth: Auth, username: str) -> None:
    if username or at.said("username"):
        return
    if auth in (*_BY_PASSWORD, Auth.XOAUTH2) and at.said("auth"):
        at.mistake("username", f"expected a user name, since auth is {auth.value}, found nothing")
    elif auth is not Auth.NONE and preset and preset.needs_login:
        at.mistake("username", f"expected {preset.user.value} ({preset.name} takes no mail without a login), found nothing")
    elif auth is not Auth.NONE and (_has_password(at) or at.given("oauth")):
        at.mistake("username", "expected a user name beside the password or oauth, found nothing")


def _check_password(at: Fields, auth: Auth, username: str, oauth: OAuth | None) -> None:
    if username and not _has_password(at) and oauth is None and auth is not Auth.XOAUTH2:
        words = f"{at.word('password')} or {at.word('password_file')}"
        at.mistake("password", f"expected {words} beside the user name, found nothing")


def _remark_on(at: Fields, preset: Preset | None, login: Login, mode: TlsMode) -> None:
    auth, password, oauth = login.auth, login.password, login.oauth
    if auth is Auth.NONE and (_has_password(at) or at.said("username")):
        at.remark("auth", "auth is none: user name and password are not used to log in")
    if mode is TlsMode.NONE and password and auth not in (Auth.NONE, *_HIDING):
        at.remark("tls", "tls is none: the password is sent without TLS, and can be read on the network")
    elif mode is TlsMode.NONE and password and auth in _HIDING:
        at.remark("tls", f"tls is none: {auth.value.upper()} hides the password, but the mail can be read on the network")
    if preset and not preset.password and password and oauth is None:
        at.remark("password", f"{preset.name} takes no password any more; set oauth and run relay oauth login")
    elif preset and preset.oauth_first and password and oauth is None:
        at.remark("password", f"{preset.note}; set oauth and run relay oauth login")
    if oauth and password:
        at.remark("password", "oauth is set: the password is not used")


def _pop(at: Fields) -> Pop | None:
    if not at.given("pop"):
        return None
    with at.section("pop") as pop:
        mode = pop.get("tls", choice(TlsMode), None)
        port = pop.get("port", scalars.port, 995 if mode is TlsMode.IMPLICIT else 110)
        host = pop.get("host", hosts.host, "")
        if not pop.said("host"):
            pop.mistake("host", "expected the POP server's name, found nothing")
        mode = mode or (TlsMode.IMPLICIT if port == 995 else TlsMode.NONE)
        if mode is TlsMode.NONE:
            pop.remark("tls", "tls is none: the POP password is sent without TLS, and can be read on the network")
        return Pop(
            host=host,
            port=port,
            tls=mode,
            window=pop.get("window", duration(), Pop("").window),
        )


def _oauth(at: Fields, preset: Preset | None) -> OAuth | None:
    if not at.given("oauth"):
        return None
    with at.section("oauth") as oauth:
        provider = oauth.get("provider", one_of(*AUTHORITIES), preset.oauth if preset else "")
        found = OAuth(
            provider=provider,
            client_id=oauth.get("client_id", scalars.text, ""),
            client_secret=oauth.secret("client_secret", "a secret"),
            # an application for personal accounts only is not found under `common`
            tenant=oauth.get("tenant", _tenant, "consumers" if preset and preset.key == "outlook.com" else ""),
            refresh_token_file=oauth.file("refresh_token_file", must_exist=False),
            token_url=oauth.get("token_url", hosts.endpoint, ""),
            device_url=oauth.get("device_url", hosts.endpoint, ""),
            auth_url=oauth.get("auth_url", hosts.endpoint, ""),
            scope=oauth.get("scope", scalars.text, ""),
            grant=oauth.get("grant", choice(Grant), Grant.REFRESH_TOKEN),
            certificate_file=oauth.file("certificate_file"),
        )
        if not oauth.said("client_id"):
            oauth.mistake("client_id", "expected the id of the application that you registered, found nothing")
        if not found.provider and not oauth.said("provider") and not oauth.said("token_url"):
            oauth.mistake("provider", "expected google, microsoft or yahoo, or token_url, found nothing")
        _check_application(oauth, found)
    return found


def _check_application(oauth: Fields, found: OAuth) -> None:
    """Whether the application can prove itself, and to whom it belongs where no person stands behind it."""
    secret = oauth.said("client_secret") or oauth.said("client_secret_file")
    certificate = oauth.said("certificate_file")
    if secret and certificate:
        oauth.mistake("certificate_file", "expected client_secret or certificate_file, found both")
    if found.grant is not Grant.CLIENT_CREDENTIALS:
        return
    if not secret and not certificate:
        words = f"{oauth.word('client_secret_file')} or {oauth.word('certificate_file')}"
        oauth.mistake("grant", f"expected {words} beside grant: client-credentials, found neither")
    if found.provider == "microsoft" and not found.token_url and found.tenant in ("", "common", "organizations", "consumers"):
        oauth.mistake("tenant", "expected the id or domain of your own tenant beside grant: client-credentials, found none")
    if oauth.said("refresh_token_file"):
        oauth.mistake("refresh_token_file", "expected none beside grant: client-credentials, which asks no person")


def _tenant(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", value.strip()):
        raise Wrong("a tenant: its id, its domain, common, organizations or consumers")
    return value.strip()
