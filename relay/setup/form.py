"""What set-up asks for by provider, and a draft of what was typed, or what is wrong with it.  Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relay.config import hosts
from relay.setup import answers
from relay.setup.draft import INLINE, Draft
from relay.upstream.provider import Preset, SenderRule, UserForm
from relay.upstream.providers import GENERIC, preset_for
from relay.upstream.settings import TlsMode

SHORTEST = 8
"""Characters of a password that is chosen for the page."""

EMPTY = "empty"
"""What is wrong with a field that must have something in it."""

SHORT = "short"

DOTLESS = "dotless"
"""A server's name that is more likely a provider's; who says it again means it."""

_WITH_PORT = re.compile(r"([^\s,;:、，：]+)[\s,;:、，：]+(?:(?:port|ポート(?:番号)?)[\s:：=]*)?([0-9]{1,5})", re.IGNORECASE)

_BOUND = 4096  # characters of one field


@dataclass(frozen=True, slots=True)
class TypedSecrets:
    """What was typed and is never shown again; "" is nothing."""

    password: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    web_password: str = field(default="", repr=False)

    def of(self, draft: Draft) -> dict[str, str]:
        """By the names of the files that the draft has for them."""
        by_key = {key: getattr(self, key.removesuffix("_file")) for key in INLINE}
        return {getattr(draft, key): text for key, text in by_key.items() if text and getattr(draft, key)}

    def variables(self) -> dict[str, str]:
        """By the variables that stand for the files while a draft is tried."""
        return {variable: getattr(self, key.removesuffix("_file")) for key, (_, variable) in INLINE.items()}


Wrongs = dict[str, str]
"""By field what is wrong with it: EMPTY, SHORT, DOTLESS, or words."""


def wants(preset: Preset) -> tuple[str, ...]:
    """What a provider wants in place of the account's password: keys of the page's words."""
    found = []
    if not preset.password:
        found.append("setup_wants_sign_in")
    elif preset.sender is SenderRule.VERIFIED:
        found.append("setup_wants_key")
    elif preset.app_link:
        found.append("setup_wants_app_password")
    else:
        found.append("setup_wants_password")
    if preset.password and preset.oauth_first:
        found = ["setup_wants_sign_in"]
    if preset.sender is SenderRule.VERIFIED:
        found.append("setup_wants_verified")
    if preset.sender is SenderRule.DOMAINS:
        found.append("setup_wants_domain")
    return tuple(found)


def fields_of(draft: Draft, *, own_password: bool) -> frozenset[str]:
    """What is asked for on the second page.  `own_password`: the page has its password already."""
    preset = draft.preset
    found = {"notices_to"} | (set() if own_password else {"web_password"})
    if preset is None:
        return frozenset(found | {"username", "password", "sender"})
    found |= set() if preset.fixed_user else {"username"}
    bare = preset.user in (UserForm.LOCAL, UserForm.DOTTED) and not preset.mail_domain
    if draft.wants_sender or bare or preset.user in (UserForm.ANY, UserForm.FIXED):
        found.add("sender")
    if preset.password:
        found.add("password")
    if preset.oauth:
        found |= {"client_id", "client_secret"}
        found |= {"sign_in"} if preset.password else set()
        found |= {"tenant"} if preset.oauth == "microsoft" else set()
    if preset.graph:
        found.add("graph")
    return frozenset(found)


def server(draft: Draft, said: Mapping[str, str]) -> tuple[Draft, Wrongs]:
    """The first page: a provider of the list, or any server by its name."""
    (host, port), name = _place(_text(said, "host")), _text(said, "provider")
    if preset_for(host):  # who types `gmail.com` means Gmail
        name, host, port = host, "", ""
    if host and (wrong := answers.host(host) or (port and answers.port(port))):
        return draft, {"host": wrong}
    if host and host not in (draft.host, _text(said, "sure")) and _is_dotless(host):
        return draft, {"host": DOTLESS}
    if name and (wrong := answers.provider(name)):
        return draft, {"provider": wrong}
    preset = preset_for(name)
    if not host and (preset is None or not preset.host):
        return replace(draft, provider=name), {"host": EMPTY} if name else {"provider": EMPTY}
    key = preset.key if preset else GENERIC
    if key == draft.provider and host == draft.host:
        return replace(draft, port=port or draft.port), {}
    kept = Draft(listen=draft.listen, spool=draft.spool, web=draft.web, notices_to=draft.notices_to)
    return replace(kept, provider=key, host=host, port=port, web_password_file=draft.web_password_file), {}


def account(
    draft: Draft, secrets: TypedSecrets, said: Mapping[str, str], *, own_password: bool = False
) -> tuple[Draft, TypedSecrets, Wrongs]:
    """The second page.  A secret that is left empty stays as it was typed before."""
    asked, preset, wrong = fields_of(draft, own_password=own_password), draft.preset, Wrongs()
    token_only = preset is not None and not preset.password
    oauth = token_only or ("sign_in" in asked and bool(said.get("sign_in")))
    host, port = _place(_text(said, "host"))
    new = replace(
        draft,
        oauth=oauth,
        username=_text(said, "username") or (preset.fixed_user if preset else ""),
        sender=_text(said, "sender") if "sender" in asked else "",
        notices_to=_text(said, "notices_to"),
        host=host if "host" in said else draft.host,
        port=port or _text(said, "port"),
        tls=_text(said, "tls"),
        api="graph" if oauth and "graph" in asked and said.get("graph") else "",
        client_id=_text(said, "client_id") if oauth else "",
        tenant=_text(said, "tenant") if oauth and "tenant" in asked else "",
        token_url=_text(said, "token_url") if oauth else "",
    )
    typed = TypedSecrets(
        password=_secret(said, "password") or secrets.password,
        client_secret=_secret(said, "client_secret") or secrets.client_secret,
        web_password=_secret(said, "web_password") or secrets.web_password,
    )
    typed = replace(typed, password="") if oauth else replace(typed, client_secret="")
    by_application = bool(new.api and typed.client_secret)
    new = replace(
        new,
        password_file=f"{new.name}.secret" if typed.password and new.username else "",
        client_secret_file=f"{new.name}.client.secret" if typed.client_secret else "",
        web_password_file="" if own_password else "web.secret",
        grant="client-credentials" if by_application else "",
    )
    checks = {"host": answers.host, "port": answers.port, "tls": answers.tls, "sender": answers.mailbox}
    for key, fits in {**checks, "notices_to": answers.mailbox}.items():
        if getattr(new, key) and (words := fits(getattr(new, key))):
            wrong[key] = words
    if new.host not in ("", draft.host) and "host" not in wrong and _is_dotless(new.host):
        wrong["host"] = DOTLESS
    wrong |= dict.fromkeys(_lacking(new, typed, asked), EMPTY)
    if typed.web_password and len(typed.web_password) < SHORTEST:
        wrong["web_password"] = SHORT
        typed = replace(typed, web_password="")
    return new, typed, wrong


def _lacking(draft: Draft, secrets: TypedSecrets, asked: frozenset[str]) -> list[str]:
    """The fields that must have something in them and have not."""
    preset = draft.preset
    needed = {
        "username": draft.oauth or bool(preset and preset.needs_login) or bool(secrets.password),
        "password": not draft.oauth and bool(draft.username),
        "client_id": draft.oauth,
        "notices_to": True,
        "sender": "sender" in asked and (draft.wants_sender or not draft.address),
        "host": not (preset and preset.host),
    }
    got = {**vars(draft), "password": secrets.password}
    return [key for key, must in needed.items() if must and not got[key]]


def field_of(path: str) -> str:
    """The field that a mistake of the configuration is about; "" if none is."""
    last = path.rpartition(".")[2]
    known = {"password_file": "password", "client_secret_file": "client_secret", "to": "notices_to"}
    last = known.get(last, last)
    fields = (*vars(Draft()), "password", "client_secret")
    return ("web_password" if path.startswith("web.") else last) if last in fields else ""


def tls_modes() -> list[str]:
    return [mode.value for mode in TlsMode]


def _place(said: str) -> tuple[str, str]:
    """A server's name, and the port that stands behind it, if any: `mail.example.jp:587`, `mail.example.jp, port 587`."""
    found = _WITH_PORT.fullmatch(said)
    return (found[1], found[2]) if found and answers.host(said) else (said, "")


def _is_dotless(host: str) -> bool:
    """Of a host that fits: whether it is a bare name, as no provider's server has."""
    name = hosts.host(host).lower()
    return name != "localhost" and not set(name) & set(".:")


def _text(said: Mapping[str, str], key: str) -> str:
    return said.get(key, "").strip()[:_BOUND]


def _secret(said: Mapping[str, str], key: str) -> str:
    """As it was typed, but for what copying leaves at its ends."""
    return said.get(key, "").strip("\r\n\t ")[:_BOUND]
