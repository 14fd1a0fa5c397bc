"""A plan as a configuration file and the files with its secrets.  Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay.importers.plan import Plan, RulePlan, ServerPlan, chain_names, reachable
from relay.secret import Secret
from relay.upstream.provider import Preset, SenderRule, UserForm
from relay.upstream.provider_rows import PRESETS
from relay.upstream.settings import DIRECT
from relay.yaml_text import listed, quoted


@dataclass(frozen=True, slots=True)
class Written:
    """`text` is the configuration; `secrets` and `certificates` are files beside it, by name.

    `names` has each upstream's host by its name; `rules` has a sentence for each rule.
    """

    text: str
    names: Mapping[str, str]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()


def written(plan: Plan) -> Written:
    """Writes only what differs from the defaults; each rule names its origin."""
    rules = reachable(plan.rules)
    names = _names(list(dict.fromkeys(hop for rule in rules for hop in rule.via if hop)))
    secrets: dict[str, Secret] = {}
    certificates: dict[str, str] = {}
    lines = [
        f"# Written by `{plan.command}` from {_comment(', '.join(plan.read)) or 'nothing'}.",
        "# `relay check` finds mistakes, `relay explain` tells which way a message would go, `relay doctor` tries the servers.",
        *([f"hostname: {quoted(plan.hostname)}"] if plan.hostname else []),
        *_listen(plan),
        *_recipients(plan),
        "",
        "upstreams:" if names else "upstreams: {}",
    ]
    owners = _owners(names)
    for server, name in names.items():
        lines += _upstream(server, name, owners[server], secrets, certificates)
    lines += ["", "routes:   # the first rule that matches wins"]
    lines += [_rule(rule, names, plan.copy_to) for rule in rules]
    lines += _everybody(plan)
    lines += _rest(plan)
    shown = {name: server.shown for server, name in names.items()}
    return Written("\n".join(lines) + "\n", shown, secrets, certificates, tuple(_sentence(rule, names) for rule in rules))


def _listen(plan: Plan) -> list[str]:
    networks = f"networks: {listed(plan.networks)}" if plan.networks else ""
    if not plan.listen:
        return ["listen:", f"  {networks}"] if networks else []
    lines = ["listen:"]
    for address in plan.listen:
        lines.append(f"  - address: {quoted(address)}")
        lines += [f"    {networks}"] if networks else []
    return lines


def _recipients(plan: Plan) -> list[str]:
    if not plan.default_domain and not plan.aliases and not plan.everything_to:
        return []
    lines = ["recipients:"]
    lines += [f"  default_domain: {quoted(plan.default_domain)}"] if plan.default_domain else []
    lines += [f"  everything_to: {quoted(plan.everything_to)}"] if plan.everything_to else []
    lines += ["  aliases:"] if plan.aliases else []
    lines += [f"    {quoted(name)}: {listed(targets)}" for name, targets in plan.aliases.items()]
    return lines


def _everybody(plan: Plan) -> list[str]:
    """What is done to the header of all mail, as of one device that every client is."""
    if not plan.subject_prefix and not plan.header:
        return []
    parts = [f"subject_prefix: {quoted(plan.subject_prefix)}"] if plan.subject_prefix else []
    fields = ", ".join(f"{name}: {quoted(value)}" for name, value in plan.header.items())
    parts += [f"header: {{{fields}}}"] if fields else []
    return ["", "devices:", f'  everybody: {{helo: "*", {", ".join(parts)}}}']


def _rest(plan: Plan) -> list[str]:
    lines = []
    if plan.notices_to:
        lines.append(f"notices: {{to: {quoted(plan.notices_to)}}}   # who is told when mail fails")
    times = [("give_up_after", plan.give_up_after), ("warn_after", plan.warn_after)]
    if any(value for _, value in times):
        lines.append(f"retry: {{{', '.join(f'{key}: {value}' for key, value in times if value)}}}")
    if plan.max_message:
        lines.append(f"spool: {{max_message: {plan.max_message}}}")
    if plan.log_format:
        lines.append(f"log: {{format: {plan.log_format}}}")
    return ["", *lines] if lines else []


# ---- upstreams -------------------------------------------------------------------------------------------------------

_COMMON = re.compile(r"(smtps?|mail|mx|relay|out(going|bound)?|smarthost|submission|email|auth)[0-9]*", re.IGNORECASE)


def _names(servers: Sequence[ServerPlan]) -> dict[ServerPlan, str]:
    """The name of each upstream: its provider or host, with its user or sender if two would be equal."""
    found: dict[ServerPlan, str] = {}
    for server in sorted(servers, key=lambda one: one.rewrite == "always"):  # the plain name is for the usual way
        base = _base_name(server)
        same = sum(_base_name(other) == base for other in servers) > 1
        who = (server.sender or server.username) if same and base in found.values() else ""
        name = f"{base}-{_slug(who.partition('@')[0])}" if who and _slug(who.partition("@")[0]) else base
        number = 2
        while name in found.values() or name == DIRECT:
            name, number = f"{base}-{number}", number + 1
        found[server] = name
    return found


def _base_name(server: ServerPlan) -> str:
    if preset := preset_of(server):
        return preset.key
    if ":" in server.host or re.fullmatch(r"[\d.]+", server.host):
        return _slug(f"host-{server.host}")
    labels = server.host.lower().split(".")
    telling = [label for label in labels[:-1] if not _COMMON.fullmatch(label)] or labels
    return _slug(telling[0]) or "upstream"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40]


def preset_of(server: ServerPlan) -> Preset | None:
    """The provider with this host, if the login has the form that it wants."""
    for preset in PRESETS:
        if preset.host and preset.host == server.host.lower() and _suits(preset, server):
            return preset
    return None


def _suits(preset: Preset, server: ServerPlan) -> bool:
    if not server.username:
        return False
    if server.client_id:
        return bool(preset.oauth)
    forms = {UserForm.ADDRESS: "@" in server.username, UserForm.FIXED: server.username == preset.fixed_user}
    return preset.password and forms.get(preset.user, True)


def _owners(names: Mapping[ServerPlan, str]) -> dict[ServerPlan, str]:
    """The upstream whose password file each upstream reads: one account has one file."""
    first: dict[tuple[str, str, Secret | None], str] = {}
    return {one: first.setdefault((one.host.lower(), one.username, one.password), name) for one, name in names.items()}


def _upstream(server: ServerPlan, name: str, owner: str, secrets: dict[str, Secret], certificates: dict[str, str]) -> list[str]:
    preset = preset_of(server)
    lines = [f"provider: {preset.key}"] if preset else [f"host: {quoted(server.host)}"]
    lines += [f"port: {server.port}", f"tls: {server.tls}"]
    lines += ["verify: false"] if not server.verify and not server.fingerprint else []
    lines += [f"fingerprint: {quoted(server.fingerprint)}"] if server.fingerprint else []
    if server.ca:
        certificates[f"{name}-ca.pem"] = server.ca
        lines.append(f"ca_file: {quoted(f'{name}-ca.pem')}")
    lines += [f"{key}: {quoted(value)}" for key, value in (("tls_min", server.tls_min), ("auth", server.auth)) if value]
    lines += [f"username: {quoted(server.username)}"] if server.username else []
    if server.password:
        secrets[f"{owner}.secret"] = server.password
        lines.append(f"password_file: {quoted(f'{owner}.secret')}")
    lines += _oauth(server, name, secrets) if server.client_id else []
    lines += [f"sender: {quoted(server.sender)}"] if server.sender else []
    lines += [f"sender_domains: {listed(server.sender_domains)}"] if server.sender_domains else []
    # where only verified senders are taken, `sender` must be said unless all stay as they are
    verified = preset is not None and preset.sender is SenderRule.VERIFIED
    rewrite = server.rewrite or ("never" if verified and not server.sender else "")
    lines += [f"rewrite: {rewrite}"] if rewrite else []
    return [f"  {name}:", *("    " + line for line in lines)]


def _oauth(server: ServerPlan, name: str, secrets: dict[str, Secret]) -> list[str]:
    lines = ["oauth:", f"  client_id: {quoted(server.client_id)}"]
    for key, secret in (("client_secret", server.client_secret), ("refresh_token", server.refresh_token)):
        if secret:
            secrets[f"{name}.{key}"] = secret
            lines.append(f"  {key}_file: {quoted(f'{name}.{key}')}")
    preset = preset_of(server)
    return [*lines, *([f"  token_url: {quoted(server.token_url)}"] if server.token_url and not preset else [])]


# ---- rules -----------------------------------------------------------------------------------------------------------


def _rule(rule: RulePlan, names: dict[ServerPlan, str], copy_to: str) -> str:
    parts = [f"{key}: {_one_or_list(value)}" for key, value in _conditions(rule) if value]
    if rule.via:
        parts.append(f"via: [{', '.join(chain_names(rule.via, names))}]")
    elif rule.discard:
        parts.append("discard: true")
    else:
        parts.append(f"reject: {quoted(rule.reject)}")
    if copy_to and not rule.reject:
        parts.append(f"copy_to: {quoted(copy_to)}")
    return f"  - {{{', '.join(parts)}}}" + (f"   # {_comment(rule.origin)}" if rule.origin else "")


def _sentence(rule: RulePlan, names: dict[ServerPlan, str]) -> str:
    conditions = [f"{key} {' or '.join(globs)}" for key, globs in _conditions(rule) if globs]
    way = f"by {', then '.join(chain_names(rule.via, names))}" if rule.via else "thrown away" if rule.discard else "refused"
    return f"{' '.join(conditions) or 'everything else'}: {way}" + (f"   ({rule.origin})" if rule.origin else "")


def _conditions(rule: RulePlan) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("to", rule.to), ("from", rule.sender), ("client", rule.client)


def _one_or_list(values: Sequence[str]) -> str:
    return quoted(values[0]) if len(values) == 1 else listed(values)


def _comment(text: str) -> str:
    """One line of what may stand in a file name."""
    return "".join(char if char.isprintable() else "?" for char in text)
