"""docs/providers.md and a page for each provider, written from the preset table and what is known of refusals there."""

import re
from collections.abc import Iterator

from relay.outbound.replies import RULES, Rule
from relay.upstream.provider import Preset, SenderRule, UserForm
from relay.upstream.provider_rows import PRESETS
from relay.upstream.settings import Auth, TlsMode
from tools.pages.advice import evidence

HEAD = """# Providers

What `provider:` fills in, so that a user name and a secret are enough. Everything can be said otherwise in the settings, and
what you set wins. A `?` marks what rests on common knowledge and has not been checked against the provider: it may be wrong,
and the relay says what the server answered if it is. This page and those of the providers are made from
`relay/upstream/provider_rows.py` (`make pages`); a test keeps them true.

`relay check` uses the same table: a user name of the wrong form is a mistake, a port that the provider does not have is a
remark.

| `provider:` | name | server and port | login | user name | may send as | limits | in SPF |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

NOTES = """
## Notes, links and sources

"""


def overview() -> str:
    """The page with the table of all."""
    return HEAD + "".join(map(_row, PRESETS)) + NOTES + "\n".join(map(_note, PRESETS))


def _row(preset: Preset) -> str:
    cells = [
        " ".join((f"`{preset.key}`", *(f"`{alias}`" for alias in preset.aliases if " " not in alias))),
        f"[{preset.name}](providers/{preset.key}.md)",
        _server(preset),
        _login(preset),
        (f"`{preset.fixed_user}`" if preset.fixed_user else preset.user.value) + _doubt(preset, "user"),
        preset.sender.value + _doubt(preset, "sender"),
        _limits(preset),
        _spf(preset),
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
    ways = ways[::-1] if preset.oauth_first else ways
    ways += [] if preset.needs_login else ["none, by listed IP address"]
    how = f", {preset.auth.value}" if preset.auth is not Auth.AUTO else ""
    return f"{' or '.join(ways)}{how}{_doubt(preset, 'auth')}"


def _limits(preset: Preset) -> str:
    limits = preset.limits
    told = [f"{limits.connections} connection{'s' if limits.connections > 1 else ''}", f"{limits.recipients} recipients"]
    told += [f"{limits.per_minute} a minute"] if limits.per_minute else []
    told += [f"{limits.per_day:,} a day"] if limits.per_day else []
    told += [f"{limits.message / 1_000_000:g} MB"] if limits.message else []
    return ", ".join(told) + _doubt(preset, "limits")


def _spf(preset: Preset) -> str:
    return (f"`include:{preset.spf}`" if preset.spf else "not known") + _doubt(preset, "spf")


def _note(preset: Preset) -> str:
    note = f" {preset.note[0].upper()}{preset.note[1:]}." if preset.note else ""
    link = f" App password or key: <{preset.app_link}>." if preset.app_link else ""
    return f"- **[{preset.name}](providers/{preset.key}.md).**{note}{link} Source: {preset.source}.\n"


def each() -> Iterator[tuple[str, str]]:
    """A page for each provider: what to write, what it wants, what it says when it refuses."""
    for preset in PRESETS:
        yield f"providers/{preset.key}.md", _page(preset)


def _page(preset: Preset) -> str:
    parts = [f"# {preset.name}", _opening(preset)]
    if preset.graph:
        parts += [
            "By Microsoft Graph, which needs no SMTP AUTH ([how to](../microsoft-365.md)):",
            f"```yaml\n{example(preset, graph=True)}```",
            "By SMTP, where that is still allowed:",
        ]
    parts.append(f"```yaml\n{example(preset)}```")
    if not preset.password:
        parts.append("Then `relay oauth login` with the upstream's name, once ([how to](../oauth.md)).")
    elif preset.oauth_first:
        parts.append(
            "Then `relay oauth login` with the upstream's name, once ([how to](../oauth.md)). Where an administrator has "
            "allowed passwords, `password_file` can stand in place of `oauth`."
        )
    elif preset.oauth:
        parts.append("Or without a password, by [OAuth 2.0](../oauth.md).")
    parts.append(_facts(preset))
    said = list(_refusals(preset))
    if said:
        links = "\n".join(f"- [{row.name}](../advice.md#{row.name}): {row.cause}" for row in said)
        parts.append(f"## What it says when it refuses\n\n{links}")
    parts.append("`relay doctor` looks at name, port, TLS, login and sender right, and sends nothing.")
    doubts = f" Not checked against the provider: {', '.join(preset.doubts)}." if preset.doubts else ""
    made = "Made from `relay/upstream/provider_rows.py`; [all providers](../providers.md)."
    parts.append(f"Source: {preset.source}.{doubts} {made}")
    return "\n\n".join(parts) + "\n"


def _opening(preset: Preset) -> str:
    note = f"{preset.note[0].upper()}{preset.note[1:]}." if preset.note else f"Mail by the server of {preset.name}."
    return f"{note} App password or key: <{preset.app_link}>." if preset.app_link else note


def example(preset: Preset, *, graph: bool = False) -> str:
    """An upstream of this provider that passes `relay check`."""
    name = re.sub(r"\W", "-", preset.key)
    lines = [f"provider: {preset.key}", *(["api: graph"] if graph else [])]
    if not preset.host:
        host = preset.host_form.partition(" ")[0].replace("INITIALDOMAIN", "example").replace("REGION", "eu-west-1")
        lines.append(f"host: {host.replace('NNN', '1')}")
    domain = preset.mail_domain or "example.jp"
    user = {
        UserForm.ADDRESS: f"you@{domain}",
        UserForm.LOCAL: "you",
        UserForm.DOTTED: f"you.{domain}",
        UserForm.FIXED: preset.fixed_user,
        UserForm.ANY: "what-they-gave-you",
    }[preset.user]
    if preset.needs_login or preset.user is UserForm.ADDRESS:
        lines.append(f"username: {user}")
    if preset.password and not preset.oauth_first:
        lines.append(f"password_file: {name}.secret")
    else:
        lines.append("oauth: {client_id: 00000000-0000-0000-0000-000000000000}")
    named = preset.user is UserForm.ADDRESS or (preset.user is UserForm.LOCAL and preset.mail_domain)
    if not named or preset.sender is SenderRule.VERIFIED:
        lines.append(f"sender: you@{domain}")
    return f"upstreams:\n  {name}:\n" + "".join(f"    {line}\n" for line in lines)


def _facts(preset: Preset) -> str:
    rows = [
        ("Server and port", _server(preset)),
        ("Login", _login(preset)),
        ("User name", (f"`{preset.fixed_user}`" if preset.fixed_user else preset.user.value) + _doubt(preset, "user")),
        ("May send as", preset.sender.value + _doubt(preset, "sender")),
        ("Limits that the relay keeps", _limits(preset)),
        ("For the SPF record of a domain of yours", _spf(preset)),
        ("Other words for `provider:`", ", ".join(f"`{alias}`" for alias in preset.aliases) or "none"),
    ]
    table = "| | |\n| --- | --- |\n" + "".join(f"| {what} | {value} |\n" for what, value in rows)
    sender = {
        SenderRule.ACCOUNT: "Other senders become the account's address (`rewrite: foreign`); the original stays in Reply-To.",
        SenderRule.VERIFIED: "Verify the domain there, and set `sender` to an address in it.",
        SenderRule.DOMAINS: "Set `sender` to an address in a domain that is hosted there, and `sender_domains` to all of them.",
        SenderRule.FREE: "Senders need no rewriting here; `rewrite: never` leaves them all as devices write them.",
    }[preset.sender]
    return f"{table}\n{sender}"


def _refusals(preset: Preset) -> Iterator[Rule]:
    """The rows of the table whose evidence comes from this provider."""
    who = {name for name, said in evidence().items() if any(_is(preset, source) for _, source in said)}
    return (row for row in RULES if row.name in who)


_SAID_BY = {
    "outlook": ("Microsoft 365", "Microsoft Graph"),
    "outlook.com": ("Outlook.com",),
    "google-workspace": ("Google Workspace",),
    "coreserver": ("CORESERVER", "XREA"),
}


def _is(preset: Preset, source: str) -> bool:
    names = _SAID_BY.get(preset.key, (preset.name,))
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.!]| ?[A-Z])", source) for name in names)
