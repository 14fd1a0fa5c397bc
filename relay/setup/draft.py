"""What has been answered, and the configuration that is made of it.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from relay.mail.address import BadAddress, parse_address
from relay.upstream.provider import Preset, SenderRule
from relay.upstream.providers import GENERIC, preset_for
from relay.yaml_text import quoted


@dataclass
class Draft:
    """The answers so far; "" is not said.  `oauth`: tokens instead of a password.

    `listen` may be several addresses.  `web` is where the page answers.
    """

    provider: str = ""
    api: str = ""
    host: str = ""
    port: str = ""
    tls: str = ""
    username: str = ""
    password_file: str = ""
    sender: str = ""
    client_id: str = ""
    tenant: str = ""
    client_secret_file: str = ""
    token_url: str = ""
    grant: str = ""
    notices_to: str = ""
    listen: str = ""
    spool: str = ""
    web: str = ""
    web_password_file: str = ""
    oauth: bool = False

    @property
    def preset(self) -> Preset | None:
        return preset_for(self.provider)

    @property
    def wants_sender(self) -> bool:
        """Whether the provider takes verified senders only, whatever the user name is."""
        return self.preset is not None and self.preset.sender is SenderRule.VERIFIED

    @property
    def name(self) -> str:
        """What the upstream is called."""
        return self.preset.key if self.preset else "isp"

    @property
    def address(self) -> str:
        """The address that the account stands for; "" if its user name does not tell."""
        preset = self.preset
        for name in (self.username, f"{self.username}@{preset.mail_domain}" if preset and preset.mail_domain else ""):
            try:
                if name and parse_address(name).qualified:
                    return name
            except BadAddress:
                continue
        return ""


_NONE: Mapping[str, str] = MappingProxyType({})

INLINE = {
    "password_file": ("password", "SETUP_PASSWORD"),
    "client_secret_file": ("client_secret", "SETUP_CLIENT_SECRET"),
    "web_password_file": ("password", "SETUP_WEB_PASSWORD"),
}
"""For each secret's file the setting and the variable that stand for it while a draft is tried and no file is written."""


def as_yaml(draft: Draft, also: Mapping[str, str] = _NONE, *, by: str = "`relay init`", inline: bool = False) -> str:
    """The configuration file: only what differs from the defaults, with a word on each.

    `also` is further YAML by the paths of settings, and comes before what the draft says.  `inline`: see INLINE.
    """
    listen, notices, spool, web, rest = _sections(draft, also, inline=inline)
    lines = [
        f"# Written by {by}.  config.example.yaml has every setting; `relay check` finds mistakes.",
        *(f"{path}: {text}" for path, text in also.items() if "." not in path),
        *([f"listen: [{', '.join(listen)}]", ""] if listen else []),
        "upstreams:",
        f"  {draft.name}:",
        f"    provider: {quoted(draft.preset.key if draft.preset else draft.provider or GENERIC)}",
        *_settings(draft, "api", "host", "port", "tls", "username", "sender"),
    ]
    if draft.oauth:
        keys = ("client_id", "tenant", "client_secret_file", "token_url", "grant")
        lines += ["    oauth:", *("  " + line for line in _settings(draft, *keys, inline=inline))]
    else:
        lines += _settings(draft, "password_file", inline=inline)
    lines += ["", "routes:", f"  - {{via: [{draft.name}]}}"]
    if notices:
        lines += ["", f"notices: {notices}   # who is told when mail fails"]
    for name, section in {"spool": spool, "web": web, **rest}.items():
        lines += ["", f"{name}: {section}"] if section else []
    return "\n".join(lines) + "\n"


def _sections(draft: Draft, also: Mapping[str, str], *, inline: bool) -> tuple[list[str], str, str, str, dict[str, str]]:
    """What is said beside upstreams and routes: the listeners, notices, spool, web, and the rest by name."""
    found: dict[str, dict[str, str]] = {"listen": {}, "notices": {}, "spool": {}, "web": {}}
    if draft.notices_to:
        found["notices"]["to"] = quoted(draft.notices_to)
    if draft.spool:
        found["spool"]["url"] = quoted(f"sqlite:{draft.spool}")
    if draft.web:
        found["web"]["address"] = quoted(draft.web)
    if draft.web_password_file:
        key, text = _secret("web_password_file", draft.web_password_file, inline=inline)
        found["web"][key.removeprefix("web_")] = text
    for path, text in also.items():
        section, dot, key = path.partition(".")
        if dot:
            found.setdefault(section, {})[key] = text
    listen = found.pop("listen")
    listeners = [_flow({"address": quoted(one), **listen}) for one in draft.listen.split()] or [_flow(listen)]
    notices, spool, web = (_flow(found.pop(name)) for name in ("notices", "spool", "web"))
    return [one for one in listeners if one], notices, spool, web, {name: _flow(one) for name, one in found.items()}


def _flow(section: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {text}' for key, text in section.items())}}}" if section else ""


def _settings(draft: Draft, *keys: str, inline: bool = False) -> list[str]:
    said = {key: getattr(draft, key) for key in keys if getattr(draft, key)}
    return [f"    {name}: {text}" for name, text in (_secret(key, one, inline=inline) for key, one in said.items())]


def _secret(key: str, text: str, *, inline: bool) -> tuple[str, str]:
    """The setting and its YAML; of a secret's file, what stands for it."""
    if inline and key in INLINE:
        name, variable = INLINE[key]
        return name, f'"${{{variable}}}"'
    return key, text if key == "port" and text.isascii() and text.isdigit() else quoted(text)
