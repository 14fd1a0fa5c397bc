"""Postfix's lookup tables in text form; regular expressions become globs.

postmap(1), regexp_table(5), pcre_table(5), aliases(5).  Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.importers.maincf import MainCf, logical_lines
from relay.importers.plan import Find, Plan, Source

TEXT = frozenset({"hash", "btree", "dbm", "sdbm", "cdb", "lmdb", "texthash"})
PATTERNS = frozenset({"regexp", "pcre"})
_MOST = 16  # globs that one expression may stand for


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One entry of a table: `key` in lower case, or for a pattern `globs` over whole addresses."""

    key: str
    value: str
    where: str
    globs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one setting, in the order of their search.  `fixed` is the value that a static: table has for all."""

    entries: tuple[TableEntry, ...] = ()
    fixed: TableEntry | None = None
    exact: dict[str, TableEntry] = field(default_factory=dict)

    def get(self, key: str) -> TableEntry | None:
        """The entry for this key; patterns are not searched."""
        return self.exact.get(key.lower())

    @property
    def patterns(self) -> list[TableEntry]:
        return [entry for entry in self.entries if entry.globs]


def specs(text: str) -> list[str]:
    """`hash:/a, regexp:/b inline:{x=y, z=w}` one by one."""
    return re.findall(r"(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[^\s,{}])+", text)


def read_tables(main: MainCf, setting: str, find: Find, plan: Plan, *, colons: bool = False) -> Tables:
    """The tables that a setting names; what cannot be read is told."""
    where = main.where(setting)
    entries: list[TableEntry] = []
    fixed: TableEntry | None = None
    for spec in specs(main.get(setting)):
        kind, path = _kind(spec, main)
        if kind == "static":
            fixed = fixed or TableEntry("", path.strip("{} "), where)
        elif kind == "inline":
            entries += _inline(path, where)
        elif kind in TEXT or kind in PATTERNS:
            entries += _from_file(kind, path, setting, find, plan, where, colons=colons)
        else:
            plan.drop(where, f"{setting}: a {kind} table is looked up in another program; put what it says into a text table")
    exact: dict[str, TableEntry] = {}
    for entry in entries:
        if not entry.globs:
            exact.setdefault(entry.key, entry)
    return Tables(tuple(entries), fixed, exact)


def _kind(spec: str, main: MainCf) -> tuple[str, str]:
    bare = spec.removeprefix("proxy:").removeprefix("proxy:")
    kind, colon, path = bare.partition(":")
    return (kind, path) if colon else (main.get("default_database_type"), bare)


def _from_file(kind: str, path: str, setting: str, find: Find, plan: Plan, where: str, *, colons: bool) -> list[TableEntry]:
    source = find(path)
    if source is None:
        hint = ""
        if path.endswith((".db", ".lmdb")):
            hint = " (the text that it was made from is needed, not the database)"
        plan.drop(where, f"{setting}: {path} was not found{hint}; name the file too, or put it beside main.cf")
        return []
    plan.read += [source.name] if source.name not in plan.read else []
    if kind in PATTERNS:
        return list(_patterns(source, setting, plan))
    return list(_aliases(source) if colons else _lines(source))


def _lines(source: Source) -> Iterator[TableEntry]:
    for number, text in logical_lines(source):
        key, _, value = text.replace("\t", " ").strip().partition(" ")
        yield TableEntry(key.lower(), value.strip(), source.at(number))


def _aliases(source: Source) -> Iterator[TableEntry]:
    for number, text in logical_lines(source):
        match = re.match(r'\s*("[^"]*"|[^\s:]+)\s*:\s*(.*)', text)
        if match:
            yield TableEntry(match[1].strip('"').lower(), match[2].strip(), source.at(number))


def _inline(text: str, where: str) -> Iterator[TableEntry]:
    inner = text.strip().removeprefix("{").removesuffix("}")
    braced = re.findall(r"\{([^{}]*)\}", inner)
    for pair in braced or re.split(r"[\s,]+", inner.strip()):
        key, equals, value = pair.partition("=")
        if equals:
            yield TableEntry(key.strip().lower(), value.strip(), where)


def _patterns(source: Source, setting: str, plan: Plan) -> Iterator[TableEntry]:
    for number, text in unconditional_lines(source, setting, plan):
        where = source.at(number)
        negated, expression, result = pattern_line(text)
        globs = () if negated or not result else expression_as_globs(expression)
        if not globs or re.search(r"\$[\d{(]", result):
            plan.drop(where, f"{setting}: this pattern says more than a glob can; write a rule for what it is meant for")
            continue
        yield TableEntry("", result, where, globs)


def pattern_line(text: str) -> tuple[bool, str, str]:
    """A line `/expression/flags result`: whether it is for what does not match, then expression and result.

    What is no such line has an expression that nothing matches.
    """
    text = text.strip()
    begin = _PATTERN_BEGINS.match(text)
    if begin is None:
        return False, "(?!)", ""
    end = start = begin.end()
    while end < len(text) and text[end] != begin[2]:
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        return False, "(?!)", ""
    result = re.match(r"[A-Za-z]*\s+(\S.*)", text[end + 1 :], re.DOTALL)
    return bool(begin[1]), text[start:end], result[1] if result else ""


def unconditional_lines(source: Source, setting: str, plan: Plan) -> Iterator[tuple[int, str]]:
    """The lines of a table of patterns that no `if` is around; of the others it is told."""
    depth = 0
    for number, text in logical_lines(source):
        word = _CONDITION.match(text)
        if word is None:
            if not depth:
                yield number, text
        elif word[1].lower() == "endif":
            depth = max(0, depth - 1)
        else:
            depth += 1
            plan.drop(source.at(number), f"{setting}: if ... endif is not carried over; write the patterns in it one by one")


_PATTERN_BEGINS = re.compile(r"(!?)\s*([^A-Za-z0-9\s!])")
_CONDITION = re.compile(r"\s*(if|endif)(?![A-Za-z0-9])", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?P<any>\.\*|\(\.\*\)|\[\^@\]\*|\(\[\^@\]\*\))|(?P<some>\.\+|\(\.\+\)|\[\^@\]\+|\(\[\^@\]\+\)|\\S\+)|(?P<choice>\((?:\?:)?[\w@\\.|-]+\))"
    r"|\[(?P<one>[.@_+-])\]|\\(?P<escaped>[^\w])|(?P<dot>\.)|(?P<char>[\w@%&'/ =~#!-])"
)


def expression_as_globs(expression: str) -> tuple[str, ...]:
    """The globs over whole addresses that match what the expression matches; none if no few of them do."""
    start, end = expression.startswith("^"), bool(re.search(r"(?<!\\)\$\Z", expression))
    rest = expression[1 if start else 0 : -1 if end else None]
    globs = ["" if start else "*"]
    place = 0
    while place < len(rest):
        token = _TOKEN.match(rest, place)
        after = rest[token.end() : token.end() + 1] if token else ""
        if not token or (after in tuple("*+?{") and after):
            return ()
        place = token.end()
        globs = [glob + text for glob in globs for text in _as_glob(token)]
        if len(globs) > _MOST:
            return ()
    globs = [re.sub(r"\*{2,}", "*", glob + ("" if end else "*")) for glob in globs]
    usable = all(re.fullmatch(r"[^\s,;<>]+", glob) and ("@" in glob or "*" in glob) for glob in globs)
    return tuple(dict.fromkeys(globs)) if usable else ()


def _as_glob(token: re.Match[str]) -> tuple[str, ...]:
    if token["any"]:
        return ("*",)
    if token["some"]:
        return ("?*",)
    if token["dot"]:
        return ("?",)
    if token["choice"]:
        inner = token["choice"].strip("()").removeprefix("?:")
        return tuple(re.sub(r"\\(.)", r"\1", one) for one in inner.split("|"))
    return (token["one"] or token["escaped"] or token["char"],)
