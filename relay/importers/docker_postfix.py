"""Turns the environment variables of bokysan/docker-postfix (boky/postfix) into the main.cf that its start script makes.

From an env file or a compose file.  Names and defaults are those of its README and its functions.sh, version 6.  Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import yaml

from relay.importers.device_users import read_pairs
from relay.importers.plan import Find, NothingToMove, Plan, RulePlan, Source
from relay.importers.postfix import move_postfix
from relay.secret import Secret

_TELLING = re.compile(r"(RELAYHOST|ALLOWED_SENDER_DOMAINS|ALLOW_EMPTY_SENDER_DOMAINS|POSTFIX_\w+)\Z")
_NETWORKS = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
_LOGIN = "environment/sasl_passwd"

NOT_KEPT = {
    "MASQUERADED_DOMAINS": "the relay strips no subdomains; senders that an account may not use become its `sender`",
    "SMTP_HEADER_CHECKS": "header lines are not matched against patterns; what is broken in them is repaired",
    "AUTOSET_HOSTNAME": "`hostname` is not looked up; set it",
    "ANONYMIZE_EMAILS": "addresses stand in the log as they are",
}
_DEPRECATED = {
    "MYNETWORKS": "POSTFIX_mynetworks",
    "MESSAGE_SIZE_LIMIT": "POSTFIX_message_size_limit",
    "RELAYHOST_TLS_LEVEL": "POSTFIX_smtp_tls_security_level",
}


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of one container, and where each is set."""

    values: Mapping[str, str]
    places: Mapping[str, str]

    def where(self, name: str) -> str:
        return self.places.get(name, "")


def is_compose(source: Source) -> bool:
    return source.name.lower().endswith((".yml", ".yaml"))


def is_env_file(source: Source) -> bool:
    """Whether a file has lines `NAME=value` with names of that image."""
    return not is_compose(source) and any(_TELLING.match(name) for name, _, _ in _env_lines(source))


def move_docker_postfix(source: Source, find: Find) -> Plan:
    """The plan of an env file or compose file.  Raises NothingToMove."""
    environment = _of_compose(source, find) if is_compose(source) else _of_env_file(source)
    values = dict(environment.values)
    for old, new in _DEPRECATED.items():
        if values.get(old):
            values[new] = values[old]
    _read_files(values, find)
    settings = _settings(values)
    login = _login(values)
    main_cf = Source(source.name, "".join(f"{name} = {value}\n" for name, value in settings.items()))

    def found(path: str) -> Source | None:
        return Source(source.name, login) if path == _LOGIN else find(path)

    plan = move_postfix(main_cf, found)
    plan.listen, plan.read = ("0.0.0.0:587",), [source.name]
    _relabel(plan, source, environment, list(settings))
    _allowed(plan, values, environment)
    _oauth(plan, values, environment)
    if values.get("SMTPD_SASL_USERS"):
        read_pairs(values["SMTPD_SASL_USERS"], plan)
        text = "whoever is in listen.networks needs no login, and any will do; `auth: required` and the users stand behind a #"
        plan.warn(environment.where("SMTPD_SASL_USERS"), f"SMTPD_SASL_USERS: {text}")
    for name, text in NOT_KEPT.items():
        if values.get(name):
            plan.drop(environment.where(name), f"{name}: {text}")
    if any(re.match(r"DKIM_|OPENDKIM_|RSPAMD_", name) for name in values):
        plan.drop(
            source.name,
            "DKIM_*: write `dkim` with domain, selector, the key's file, and in `via` the upstreams on whose way it is signed",
        )
    plan.log_format = "json" if values.get("LOG_FORMAT", "").lower() == "json" else ""
    return plan


# ---- the files -------------------------------------------------------------------------------------------------------


def _env_lines(source: Source) -> Iterator[tuple[str, str, int]]:
    for number, line in enumerate(source.text.splitlines(), 1):
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)", line)
        if match:
            yield match[1], _unquoted(match[2].strip()), number


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return re.split(r"(?<!\s)\s+#", value, maxsplit=1)[0]


def _of_env_file(source: Source) -> Environment:
    lines = list(_env_lines(source))
    return Environment({name: value for name, value, _ in lines}, {name: source.at(number) for name, _, number in lines})


def _of_compose(source: Source, find: Find) -> Environment:
    try:
        document = yaml.safe_load(source.text)
    except yaml.YAMLError as bad:
        raise NothingToMove(f"{source.name} is no YAML: {' '.join(str(bad).split())[:200]}") from None
    services = document.get("services") if isinstance(document, dict) else None
    for service in services.values() if isinstance(services, dict) else ():
        if isinstance(service, dict) and (found := _of_service(service, source, find)):
            return found
    raise NothingToMove(f"{source.name} has no service with variables of boky/postfix, such as RELAYHOST")


def _of_service(service: Mapping[str, object], source: Source, find: Find) -> Environment | None:
    outside = find(".env")
    known = {name: value for name, value, _ in _env_lines(outside)} if outside else {}
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    files = service.get("env_file") or []
    for one in files if isinstance(files, list) else [files]:
        path = one.get("path", "") if isinstance(one, dict) else str(one)
        if (beside := find(str(path))) is not None:
            said = _of_env_file(beside)
            values |= said.values
            places |= said.places
    environment = service.get("environment") or {}
    pairs = (
        [(str(name), "" if value is None else str(value)) for name, value in environment.items()]
        if isinstance(environment, dict)
        else [(name, value) for name, _, value in (str(line).partition("=") for line in environment)]  # type: ignore[attr-defined]
    )
    for name, value in pairs:
        values[name] = _interpolated(value, known)
        places[name] = source.at(_line_of(name, source))
    if "hostname" in service:
        values.setdefault("HOSTNAME", str(service["hostname"]))
    if not any(_TELLING.match(name) for name in values):
        return None
    return Environment(values, places)


def _interpolated(value: str, known: Mapping[str, str]) -> str:
    """`${NAME}` and `${NAME:-default}` by the .env beside the compose file."""

    def fill(match: re.Match[str]) -> str:
        return known.get(match["name"] or match["bare"] or "", match["default"] or "")

    return re.sub(r"\$\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\}|\$(?P<bare>[A-Za-z_]\w*)", fill, value).replace("$$", "$")


def _line_of(name: str, source: Source) -> int:
    pattern = re.compile(rf"[\s\"'-]{re.escape(name)}[\s\"']*[:=]")
    return next((number for number, line in enumerate(source.text.splitlines(), 1) if pattern.search(f" {line}")), 1)


def _read_files(values: dict[str, str], find: Find) -> None:
    """RELAYHOST_PASSWORD_FILE and the like name a file with the value."""
    for name in ("RELAYHOST_PASSWORD", "XOAUTH2_CLIENT_ID", "XOAUTH2_SECRET", "XOAUTH2_INITIAL_REFRESH_TOKEN"):
        path = values.get(f"{name}_FILE")
        if path and not values.get(name) and (source := find(path)) is not None:
            values[name] = source.text.strip("\r\n")


# ---- as its start script does ----------------------------------------------------------------------------------------


def _settings(values: Mapping[str, str]) -> dict[str, str]:
    settings = {
        "mynetworks": _NETWORKS,
        "smtp_tls_security_level": "may",
        "message_size_limit": "0",
        "mydestination": "",
        "relay_domains": "",
    }
    host = values.get("POSTFIX_myhostname") or values.get("HOSTNAME", "")
    settings |= {"myhostname": host} if host else {}
    if values.get("RELAYHOST"):
        settings["relayhost"] = values["RELAYHOST"]
    if _login(values):
        settings |= {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": f"texthash:{_LOGIN}"}
    settings |= {name.removeprefix("POSTFIX_"): value for name, value in values.items() if name.startswith("POSTFIX_")}
    return settings


def _login(values: Mapping[str, str]) -> str:
    user, password = values.get("RELAYHOST_USERNAME"), values.get("RELAYHOST_PASSWORD")
    if not (user and password) or not values.get("RELAYHOST") or values.get("XOAUTH2_CLIENT_ID"):
        return ""
    return f"{values.get('SASL_RELAYHOST') or values['RELAYHOST']} {user}:{password}\n"


def _relabel(plan: Plan, source: Source, environment: Environment, settings: list[str]) -> None:
    """Replaces the places in our own main.cf by those of the variables."""
    by_line: dict[str, str] = {}
    for number, setting in enumerate(settings, 1):
        names = (f"POSTFIX_{setting}", *(old for old, new in _DEPRECATED.items() if new == f"POSTFIX_{setting}"))
        names += ("RELAYHOST",) if setting == "relayhost" else ("HOSTNAME",) if setting == "myhostname" else ()
        places = [environment.where(name) for name in names if environment.where(name)]
        by_line[f"{source.name}:{number}"] = places[0] if places else source.name
    for sentences in (plan.done, plan.look, plan.left):
        sentences[:] = [_moved(sentence, by_line) for sentence in sentences]
    plan.rules = [replace(rule, origin=_moved(rule.origin, by_line)) for rule in plan.rules]


def _moved(text: str, by_line: Mapping[str, str]) -> str:
    for old, new in by_line.items():
        if text == old or text.startswith((f"{old}:", f"{old} ", f"{old},")):
            return new + text[len(old) :]
    return text


def _allowed(plan: Plan, values: Mapping[str, str], environment: Environment) -> None:
    """Only these domains could send; a last rule refuses all others, and senders in these domains stay as they are."""
    domains = values.get("ALLOWED_SENDER_DOMAINS", "").lower().split()
    domains = [name for name in domains if re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name)]
    if not domains:
        return
    where = environment.where("ALLOWED_SENDER_DOMAINS")
    globs = tuple(glob for name in domains for glob in (f"*@{name}", f"*@*.{name}"))
    rules = []
    for rule in plan.rules:
        via = tuple(
            replace(hop, sender_domains=tuple(dict.fromkeys((*hop.sender_domains, *domains)))) if hop else None
            for hop in rule.via
        )
        rules.append(replace(rule, via=via, sender=globs) if via and not rule.sender else replace(rule, via=via))
    text = f"senders of this domain may not send here; allowed are {', '.join(domains)}"
    plan.rules = [*rules, RulePlan(reject=text, origin=f"{where} ALLOWED_SENDER_DOMAINS")]
    plan.say(where, f"only senders in {', '.join(domains)} may send; take the last rule out to let devices send under any name")


def _oauth(plan: Plan, values: Mapping[str, str], environment: Environment) -> None:
    client = values.get("XOAUTH2_CLIENT_ID")
    if not client:
        return
    secret, token = values.get("XOAUTH2_SECRET"), values.get("XOAUTH2_INITIAL_REFRESH_TOKEN")
    said = {
        "username": values.get("RELAYHOST_USERNAME", ""),
        "client_id": client,
        "client_secret": Secret(secret) if secret else None,
        "refresh_token": Secret(token) if token else None,
        "token_url": values.get("XOAUTH2_TOKEN_ENDPOINT") or "https://accounts.google.com/o/oauth2/token",
    }
    for place, rule in enumerate(plan.rules):
        via = tuple(replace(hop, **said) if hop else None for hop in rule.via)  # type: ignore[arg-type]
        plan.rules[place] = replace(rule, via=via)
    text = "OAuth 2.0 by your application; `relay oauth status` tells whether the consent still holds"
    plan.warn(environment.where("XOAUTH2_CLIENT_ID"), text)
