"""What `relay init` has been told, and the configuration that it makes of it.  Pure."""

from dataclasses import dataclass

from relay.mail.address import BadAddress, parse_address
from relay.upstream.provider import Preset, SenderRule
from relay.upstream.providers import GENERIC, preset_for
from relay.yaml_text import quoted


@dataclass
class Draft:
    """The answers so far; "" is not said.  `oauth`: tokens instead of a password."""

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
    grant: str = ""
    notices_to: str = ""
    listen: str = ""
    spool: str = ""
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


def as_yaml(draft: Draft) -> str:
    """The configuration file: only what differs from the defaults, with a word on each."""
    lines = [
        "# Written by `relay init`.  config.example.yaml has every setting; `relay check` finds mistakes.",
        *([f"listen: [{{address: {quoted(draft.listen)}}}]", ""] if draft.listen else []),
        "upstreams:",
        f"  {draft.name}:",
        f"    provider: {quoted(draft.preset.key if draft.preset else draft.provider or GENERIC)}",
        *_settings(draft, "api", "host", "port", "tls", "username", "sender"),
    ]
    if draft.oauth:
        keys = ("client_id", "tenant", "client_secret_file", "grant")
        lines += ["    oauth:", *("  " + line for line in _settings(draft, *keys))]
    else:
        lines += _settings(draft, "password_file")
    lines += ["", "routes:", f"  - {{via: [{draft.name}]}}"]
    if draft.notices_to:
        lines += ["", f"notices: {{to: {quoted(draft.notices_to)}}}   # who is told when mail fails"]
    if draft.spool:
        lines += ["", f"spool: {{url: {quoted(f'sqlite:{draft.spool}')}}}"]
    return "\n".join(lines) + "\n"


def _settings(draft: Draft, *keys: str) -> list[str]:
    return [f"    {key}: {_written(key, getattr(draft, key))}" for key in keys if getattr(draft, key)]


def _written(key: str, text: str) -> str:
    return text if key == "port" and text.isascii() and text.isdigit() else quoted(text)
