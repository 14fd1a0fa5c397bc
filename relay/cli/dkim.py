"""`relay dkim DOMAIN`: the record to publish, in the forms that DNS panels take; makes the key where there is none."""

import argparse
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.cli.common import complain, configured, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config.dkim import in_ascii
from relay.other_user import as_other_user

if TYPE_CHECKING:
    from relay.upstream.settings import DkimKey


def call(asked: argparse.Namespace) -> int:
    config = configured(asked)
    domain = in_ascii(asked.domain.strip().rstrip("."))
    keys = [key for key in config.dkim if not domain or domain == key.domain]
    if not keys:
        known = ", ".join(dict.fromkeys(key.domain for key in config.dkim))
        what = f"no entry of `dkim` is for {domain}; there are: {known}" if known else f"there is no `dkim` in {config.source}"
        complain(f"relay dkim: {what}.  It needs: dkim: {{domain: {domain or 'own.example'}}}")
        return USAGE
    from relay.outbound.dkim_keys import KeyUnusable

    _make_home(config.spool.home)
    try:
        found = [_described(key) for key in keys]
    except KeyUnusable as error:
        ours = os.access(config.spool.home, os.R_OK | os.W_OK | os.X_OK)
        complain(f"relay dkim: {error}{'' if ours else as_other_user(config.spool.home)}")
        return PROBLEM
    if asked.json:
        print_json({"keys": found})
    else:
        print("\n\n".join(map(_in_words, found)))
    return FINE


def _make_home(home: Path) -> None:
    """The spool's folder, as the relay makes it when it starts.  Root's own would be closed to the relay's user."""
    if os.geteuid():
        with suppress(OSError):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)


def _described(key: "DkimKey") -> dict[str, Any]:
    from relay.mail.dkim_record import name_of, strings, zone_line
    from relay.outbound.dkim_keys import is_there, ready

    there = is_there(Path(key.key_file))
    public, name = ready(key), name_of(key.domain, key.selector)
    return {
        "domain": key.domain,
        "selector": key.selector,
        "kind": public.kind,
        "bits": public.bits,
        "key_file": key.key_file,
        "made": not there,
        "via": list(key.via),
        "name": name,
        "record": public.record,
        "strings": strings(public.record),
        "zone": zone_line(name, public.record),
    }


def _in_words(found: dict[str, Any]) -> str:
    short = found["name"].removesuffix("." + found["domain"])
    size = f"RSA, {found['bits']} bits" if found["kind"] == "rsa" else "Ed25519"
    lines = [
        f"{found['domain']}, selector {found['selector']}: {size}, in {found['key_file']}"
        + (" (made just now)" if found["made"] else ""),
        "",
        f"Publish this TXT record of {found['name']}",
        f"(most panels add the domain by themselves: then the name is {short})",
        "",
        found["record"],
    ]
    if len(found["strings"]) > 1:
        parts = [f'"{part}"' for part in found["strings"]]
        lines += ["", "Where a panel takes at most 255 characters, as several strings of one record:", "", *parts]
    lines += [
        "",
        "As a zone file has it:",
        "",
        found["zone"],
        "",
        "Then `relay doctor` compares what is published with the key.",
    ]
    return "\n".join(lines)
