"""Copies, recipients and header fields that Postfix changes for all mail: always_bcc, recipient_canonical_maps, header checks.

header_checks(5), canonical(5).  Pure.
"""

import re

from relay.importers.maincf import MainCf, logical_lines
from relay.importers.plan import Find, Plan, Source
from relay.importers.postfix_local import move_virtual
from relay.importers.postfix_servers import as_address
from relay.importers.tables import PATTERNS, read_tables, specs

_ANYBODY = re.compile(r"[*?]+(@[*?]+)?")
_ACTION = re.compile(r"[a-z]*[ \t]+(REPLACE|PREPEND)[ \t]+([^ \t].*)", re.IGNORECASE)
_SUBJECT = re.compile(r"\^subject:(?:\\s[*+]|\[\[:space:\]\][*+]| [*+]?)?\((?:\.[*+])\)\$?", re.IGNORECASE)
_IN_ALL = re.compile(r"\^(subject|from|date|message-id):(\.\*)?\$?", re.IGNORECASE)  # mail has each of them, once
_MATCHED = ("$1", "${1}", "$(1)")
_NEW_FIELD = re.compile(r"(X-[A-Za-z0-9-]{1,50}):\s*([^\s$][^$]*)")


def move_copies(main: MainCf, plan: Plan) -> None:
    """always_bcc: a copy of everything."""
    if not main.said("always_bcc"):
        return
    copy = as_address(main.get("always_bcc"))
    if not copy:
        plan.drop(main.where("always_bcc"), f"always_bcc: {main.get('always_bcc')} is no full address; write it into `copy_to`")
        return
    plan.copy_to = copy
    plan.say(main.where("always_bcc"), f"{copy} gets a copy of all mail (`copy_to` of each rule)")


def move_canonical(main: MainCf, find: Find, plan: Plan) -> None:
    """recipient_canonical_maps: one address for everybody, or an alias."""
    if not main.said("recipient_canonical_maps"):
        return
    tables = read_tables(main, "recipient_canonical_maps", find, plan)
    for entry in (*tables.entries, *((tables.fixed,) if tables.fixed else ())):
        everybody = entry is tables.fixed or (entry.globs and all(_ANYBODY.fullmatch(glob) for glob in entry.globs))
        if everybody and as_address(entry.value):
            plan.everything_to = plan.everything_to or as_address(entry.value)
            plan.say(entry.where, f"all mail goes to {plan.everything_to} (recipients.everything_to)")
        else:
            move_virtual(entry, main, plan, [], "recipient_canonical_maps")
    where = main.where("recipient_canonical_maps")
    plan.warn(where, "recipient_canonical_maps: the relay leaves the To field as it is")
    if plan.everything_to and plan.aliases:
        plan.warn(where, f"aliases do not count where everything goes to {plan.everything_to}")


def move_header_checks(main: MainCf, find: Find, plan: Plan) -> None:
    """Those that put a word before every Subject, or add a field to all mail."""
    for setting in ("header_checks", "smtp_header_checks"):
        for spec in specs(main.get(setting)) if main.said(setting) else ():
            kind, _, path = spec.partition(":")
            source = find(path) if kind in PATTERNS else None
            if source is None:
                text = "header lines are not matched against patterns; what is broken in them is repaired"
                plan.drop(main.where(setting), f"{setting}: {text}")
                continue
            plan.read += [source.name] if source.name not in plan.read else []
            _checks(source, setting, plan)


def _checks(source: Source, setting: str, plan: Plan) -> None:
    for number, text in logical_lines(source):
        where, (expression, action, value) = source.at(number), _read(text.strip())
        if action == "REPLACE" and _SUBJECT.fullmatch(expression) and (prefix := _prefix(expression, value)):
            plan.subject_prefix = plan.subject_prefix or prefix
            plan.say(where, f"every Subject begins with {prefix.strip()} (subject_prefix)")
        elif action == "PREPEND" and _IN_ALL.fullmatch(expression) and (field := _NEW_FIELD.fullmatch(value)):
            plan.header.setdefault(field[1], field[2].strip())
            plan.say(where, f"all mail gets {field[1]}: {field[2].strip()} (header)")
        else:
            said = "only what puts a word before every Subject, or adds an X- field to all mail, is carried over"
            plan.drop(where, f"{setting}: {said}")


def _read(text: str) -> tuple[str, str, str]:
    """Expression, action and value of a line `/expression/flags ACTION value`; the action is "" if it is none of ours."""
    expression, _, rest = text[1:].partition(text[:1])
    action = _ACTION.fullmatch(rest)
    usable = action and not text[:1].isalnum() and not expression.endswith("\\")
    return (expression, action[1].upper(), action[2]) if action and usable else ("", "", "")


def _prefix(expression: str, value: str) -> str:
    """What stands before the old text in a new Subject; "" if there is more to it."""
    name, _, rest = value.strip().partition(":")
    end = next((end for end in _MATCHED if rest.endswith(end)), "")
    before = rest.removesuffix(end)
    if name.strip().lower() != "subject" or not end or "$" in before or not before.strip():
        return ""
    blank = before[-1].isspace() or ":(" in expression  # what stands behind the colon may be a part of what was matched
    return before.strip() + " " * blank
