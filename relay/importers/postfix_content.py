"""Copies, recipients and header fields that Postfix changes for all mail: always_bcc, recipient_canonical_maps, header checks.

header_checks(5), canonical(5).  Pure.
"""

import re

from relay.importers.maincf import MainCf
from relay.importers.plan import Find, Plan
from relay.importers.postfix_local import move_virtual
from relay.importers.postfix_servers import as_address
from relay.importers.tables import PATTERNS, pattern_line, read_tables, specs, unconditional_lines
from relay.mail.device import OWN_FIELDS, is_prefix

_ANYBODY = re.compile(r"[*?]+(@[*?]+)?")
_ACTION = re.compile(r"(REPLACE|PREPEND)[ \t]+([^ \t].*)", re.IGNORECASE)
_SUBJECT = re.compile(r"\^subject:(?:\\s[*+]|\[\[:space:\]\][*+]| [*+]?)?\((?:\.[*+])\)\$?", re.IGNORECASE)
_IN_ALL = re.compile(r"\^(subject|from|date|message-id):(\.\*)?\$?", re.IGNORECASE)  # mail has each of them, once
_FIELDS = {"subject", "from", "date", "message-id"}
_EVERY = re.compile(r"\^?\(?(\.[*+]?)?\)?\$?")
_MATCHED = ("$1", "${1}", "$(1)")
_NEW_FIELD = re.compile(r"(X-[A-Za-z0-9-]{1,50}):\s*([^\s$][^$]*)")


def meant(said: str, plan: Plan) -> str:
    """The address that an alias leads to; the relay sends copies, and what is for everybody, to no alias."""
    seen = set[str]()
    while (key := said.lower()) not in seen and len(targets := plan.aliases.get(key, ())) == 1:
        seen.add(key)
        said = targets[0]
    return said


def move_copies(main: MainCf, plan: Plan) -> None:
    """always_bcc: a copy of everything."""
    if not main.said("always_bcc"):
        return
    where, said = main.where("always_bcc"), main.get("always_bcc")
    copy = as_address(meant(said, plan))
    if not copy:
        plan.drop(where, f"always_bcc: {said or 'it'} is no full address; write it into `copy_to`")
        return
    plan.copy_to = copy
    plan.say(where, f"{copy} gets a copy of all mail (`copy_to` of each rule)")


def move_canonical(main: MainCf, find: Find, plan: Plan) -> None:
    """recipient_canonical_maps: one address for everybody, or an alias."""
    setting = "recipient_canonical_maps"
    if not main.said(setting):
        return
    where, classes = main.where(setting), main.words("recipient_canonical_classes")
    if classes and "envelope_recipient" not in classes:
        plan.drop(where, f"{setting}: it is for the header alone, and the relay leaves the To field as it is")
        return
    tables = read_tables(main, setting, find, plan)
    for entry in (*tables.entries, *((tables.fixed,) if tables.fixed else ())):
        everybody = entry is tables.fixed or (entry.globs and all(_ANYBODY.fullmatch(glob) for glob in entry.globs))
        target = as_address(entry.value if "@" in entry.value else f"{entry.value}@{main.get('myorigin')}")
        if everybody and target:
            plan.everything_to = plan.everything_to or target
            plan.say(entry.where, f"all mail goes to {plan.everything_to} (recipients.everything_to)")
        else:
            move_virtual(entry, main, plan, setting)
    plan.warn(where, f"{setting}: the relay leaves the To field as it is")


def move_header_checks(main: MainCf, find: Find, plan: Plan) -> None:
    """Those that put a word before every Subject, or add a field to all mail."""
    for setting in ("header_checks", "smtp_header_checks"):
        taken: set[str] = set()  # fields of which an earlier line decides: the first that matches does
        for spec in specs(main.get(setting)) if main.said(setting) else ():
            kind, _, path = spec.partition(":")
            source = find(path) if kind in PATTERNS else None
            if source is None:
                text = "header lines are not matched against patterns; what is broken in them is repaired"
                plan.drop(main.where(setting), f"{setting}: {text}")
                continue
            plan.read += [source.name] if source.name not in plan.read else []
            for number, text in unconditional_lines(source, setting, plan):
                _check(source.at(number), text, taken, setting, plan)


def _check(where: str, text: str, taken: set[str], setting: str, plan: Plan) -> None:
    negated, expression, result = pattern_line(text)
    found = None if negated else _ACTION.fullmatch(result)
    action, value = (found[1].upper(), found[2]) if found else ("", "")
    field, new = "" if negated else _of_all(expression), _NEW_FIELD.fullmatch(value)
    prefix = _prefix(expression, value) + plan.subject_prefix if action == "REPLACE" and _SUBJECT.fullmatch(expression) else ""
    if field in taken:
        plan.drop(where, f"{setting}: an earlier line of the table is for every {field}, so this one never counted")
    elif prefix != plan.subject_prefix and is_prefix(prefix):
        plan.subject_prefix = prefix
        plan.say(where, f"every Subject begins with {prefix.strip()} (subject_prefix)")
    elif action == "PREPEND" and field and new and value.isprintable() and _may_add(new[1], plan):
        plan.header[new[1]] = new[2].strip()
        plan.say(where, f"all mail gets {new[1]}: {new[2].strip()} (header)")
    else:
        said = "only what puts a word before every Subject, or adds an X- field to all mail, is carried over"
        plan.drop(where, f"{setting}: {said}")
    taken |= _decided(expression, negated=negated)


def _decided(expression: str, *, negated: bool) -> set[str]:
    """The fields that all mail has of which nothing behind the line is asked any more."""
    field = _of_all(expression)
    matched = {field} if field else _FIELDS if _EVERY.fullmatch(expression) else set()
    return _FIELDS - matched if negated else matched


def _of_all(expression: str) -> str:
    """The field whose every line the expression matches; "" if there is none that all mail has."""
    found = _IN_ALL.fullmatch(expression)
    return found[1].lower() if found else "subject" if _SUBJECT.fullmatch(expression) else ""


def _may_add(name: str, plan: Plan) -> bool:
    return not OWN_FIELDS.fullmatch(name) and name.lower() not in map(str.lower, plan.header)


def _prefix(expression: str, value: str) -> str:
    """What stands before the old text in a new Subject; "" if there is more to it."""
    name, _, rest = value.strip().partition(":")
    end = next((end for end in _MATCHED if rest.endswith(end)), "")
    before = rest.removesuffix(end)
    if name.strip().lower() != "subject" or not end or "$" in before or not before.strip():
        return ""
    blank = before[-1].isspace() or ":(" in expression  # what stands behind the colon may be a part of what was matched
    return before.strip() + " " * blank
