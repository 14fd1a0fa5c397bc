"""docs/providers.md, written from the preset table.

python -m tests.support.providers_page > docs/providers.md
"""

from relay.upstream.providers import PRESETS, Preset
from relay.upstream.settings import Auth, TlsMode

HEAD = """# Providers

What `provider:` fills in, so that a user name and a secret are enough. Everything can be said otherwise in the settings, and
what you set wins. A `?` marks what rests on common knowledge and has not been checked against the provider: it may be wrong,
and the relay says what the server answered if it is. This page is written from `relay/upstream/providers.py`; a test keeps
it true.

`relay check` uses the same table: a user name of the wrong form is a mistake, a port that the provider does not have is a
remark.

| `provider:` | name | server and port | login | user name | may send as | limits |
| --- | --- | --- | --- | --- | --- | --- |
"""

NOTES = """
## Notes, links and sources

"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_row, PRESETS)) + NOTES + "\n".join(map(_note, PRESETS))


def _row(preset: Preset) -> str:
    cells = [
        " ".join((f"`{preset.key}`", *(f"`{alias}`" for alias in preset.aliases if " " not in alias))),
        preset.name,
        _server(preset),
        _login(preset),
        (f"`{preset.fixed_user}`" if preset.fixed_user else preset.user.value) + _doubt(preset, "user"),
        preset.sender.value + _doubt(preset, "sender"),
        _limits(preset),
    ]
    return f"| {' | '.join(cells)} |\n"


def _doubt(preset: Preset, *fields: str) -> str:
    return " ?" if set(fields) & set(preset.doubts) else ""


def _server(preset: Preset) -> str:
    words = {TlsMode.STARTTLS: "STARTTLS", TlsMode.IMPLICIT: "TLS", TlsMode.NONE: "no TLS"}
    others = f", also {', '.join(map(str, preset.other_ports))}" if preset.other_ports else ""
    host = f"`{preset.host}`" if preset.host else f"set `host`: {preset.host_form}"
    return f"{host} {preset.port} {words[preset.tls]}{others}{_doubt(preset, 'host', 'port', 'tls')}"


def _login(preset: Preset) -> str:
    ways = ["password"] if preset.password else []
    ways += [f"OAuth 2.0 ({preset.oauth})"] if preset.oauth else []
    ways += [] if preset.needs_login else ["none, by listed IP address"]
    how = f", {preset.auth.value}" if preset.auth is not Auth.AUTO else ""
    return f"{' or '.join(ways)}{how}{_doubt(preset, 'auth')}"


def _limits(preset: Preset) -> str:
    limits = preset.limits
    told = [f"{limits.connections} connections", f"{limits.recipients} recipients"]
    told += [f"{limits.per_minute} a minute"] if limits.per_minute else []
    told += [f"{limits.per_day:,} a day"] if limits.per_day else []
    told += [f"{limits.message / 1_000_000:g} MB"] if limits.message else []
    return ", ".join(told) + _doubt(preset, "limits")


def _note(preset: Preset) -> str:
    note = f" {preset.note[0].upper()}{preset.note[1:]}." if preset.note else ""
    link = f" App password or key: <{preset.app_link}>." if preset.app_link else ""
    return f"- **{preset.name}.**{note}{link} Source: {preset.source}.\n"


if __name__ == "__main__":
    print(page(), end="")
