"""Every regular expression of `relay/`, how it is used, and what makes a bad one slow: pumps made of its own pieces."""

import ast
import gc
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from itertools import islice, product
from re import _constants as op
from re import _parser as parser
from time import thread_time
from typing import Any

import relay

_FUNCTIONS = frozenset({"match", "search", "fullmatch", "sub", "subn", "findall", "finditer", "split"})
_ANCHORED = frozenset({"match", "fullmatch"})
_MOST_PIECES = 6
_LONGEST_SAMPLE = 60


@dataclass
class Expression:
    """A pattern, the places it stands in, and the functions it is used with (empty: not known)."""

    pattern: re.Pattern[Any]
    places: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"{self.places[0]}: {self.pattern.pattern!r:.100}"

    def run(self, text: Any) -> None:
        """As the code does, at its most costly: through the whole text, unless it is only ever used at the start."""
        if self.functions and self.functions <= {"match"}:
            self.pattern.match(text)
        elif self.functions and self.functions <= _ANCHORED:
            self.pattern.fullmatch(text)
            if "match" in self.functions:
                self.pattern.match(text)
        else:
            for _ in self.pattern.finditer(text):
                pass


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(relay.__path__, "relay."):
        if found.name != "relay.__main__":
            yield importlib.import_module(found.name)


@cache
def expressions() -> tuple[list[Expression], list[str]]:
    """All that are found, and the calls whose expression is made of values that are known only when it runs."""
    found: dict[tuple[Any, int], Expression] = {}
    unknown: list[str] = []
    names: dict[int, Expression] = {}

    def add(pattern: re.Pattern[Any], place: str) -> Expression:
        one = found.setdefault((pattern.pattern, pattern.flags), Expression(pattern))
        one.places.append(place)
        names[id(pattern)] = one
        return one

    loaded = list(modules())
    for module in loaded:
        for name, value in vars(module).items():
            if not name.startswith("__"):
                for pattern in _held(value, set()):
                    add(pattern, f"{module.__name__}.{name}")
    direct: set[int] = set()
    for module in loaded:
        tree = ast.parse(_source(module))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id == "re" and node.func.attr in _FUNCTIONS | {"compile"}:
                    pattern = _literal(node, module)
                    if pattern is None:
                        unknown.append(f"{module.__name__}:{node.lineno}")
                    elif node.func.attr != "compile":
                        add(pattern, f"{module.__name__}:{node.lineno}").functions.add(node.func.attr)
                    else:
                        add(pattern, f"{module.__name__}:{node.lineno}")
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in _FUNCTIONS:
                value = getattr(module, node.value.id, None)
                if isinstance(value, re.Pattern) and id(value) in names:
                    names[id(value)].functions.add(node.attr)
                    direct.add(id(node.value))
        for node in ast.walk(tree):  # handed on, so that anything may be done with it
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in direct:
                value = getattr(module, node.id, None)
                if isinstance(value, re.Pattern) and id(value) in names:
                    names[id(value)].functions.add("search")
    return list(found.values()), unknown


def _source(module: Any) -> str:
    with open(module.__file__, encoding="utf-8") as file:
        return file.read()


def _literal(call: ast.Call, module: Any) -> re.Pattern[Any] | None:
    try:
        given = [_value(arg, module) for arg in call.args[:1]]
        place = {"compile": 1, "match": 2, "search": 2, "fullmatch": 2, "findall": 2, "finditer": 2}.get(call.func.attr)  # type: ignore[attr-defined]
        flags = call.args[place] if place and len(call.args) > place else None
        flags = next((word.value for word in call.keywords if word.arg == "flags"), flags)
        number = _value(flags, module) if flags is not None else 0
        return re.compile(given[0], number)
    except (NameError, AttributeError, TypeError, IndexError):
        return None


def _value(node: ast.expr, module: Any) -> Any:
    """What an expression of our own source stands for."""
    return eval(compile(ast.Expression(node), "", "eval"), dict(vars(module)))  # noqa: S307


def _held(value: Any, seen: set[int]) -> Iterator[re.Pattern[Any]]:
    """The patterns in a value: itself, in tables, in attributes of classes and of our own values."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for each in (*value.keys(), *value.values()):
            yield from _held(each, seen)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _held(each, seen)
    elif is_dataclass(value) and not isinstance(value, type) and type(value).__module__.startswith("relay"):
        for name in ("pattern", "unless"):  # of a table whose rows are compiled when they are first needed
            if isinstance(text := getattr(value, name, None), str) and text:
                yield re.compile(text, re.IGNORECASE)
        for each in fields(value):
            yield from _held(getattr(value, each.name, None), seen)
    elif isinstance(value, type) and value.__module__.startswith("relay"):
        for each in list(vars(value).values()):
            yield from _held(each, seen)


# --- what it is pumped with ---


def pumps(pattern: re.Pattern[Any]) -> list[Callable[[int], Any]]:
    """Makers of texts of about n characters: each piece of the expression again and again, each pair of them, odd ends."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    pieces = list(dict.fromkeys(piece for piece in _pieces(tree) if piece))[:_MOST_PIECES]
    starts = list(dict.fromkeys(["", *[start for start in _starts(tree) if start]]))[:6]
    end = "\n\x00!"
    made: list[Callable[[int], str]] = []
    for piece in pieces:
        made += [lambda n, p=piece, s=start: s + p * (n // len(p)) + end for start in starts]
        made += [lambda n, p=piece, g=gap: (p + g) * (n // (len(p) + 1)) + end for gap in (" ", "\n", "x")]
    for one, two in product(pieces, pieces):
        if one != two:
            made.append(lambda n, a=one, b=two: (a + b) * (n // (len(a) + len(b))) + end)
            made.append(lambda n, a=one, b=two: a * (n // 2 // len(a)) + b * (n // 2 // len(b)) + end)
            made.append(
                lambda n, a=one, b=two, s=starts[-1]: (
                    s + (a + " ") * (n // 2 // (len(a) + 1)) + (b + " ") * (n // 2 // (len(b) + 1))
                )
            )
    if isinstance(pattern.pattern, bytes):
        return [lambda n, make=make: make(n).encode("latin-1", "replace") for make in made]
    return list(made)


def _pieces(tree: Any) -> Iterator[str]:
    """Samples of the whole, of what is repeated, of each literal run, and of each class."""
    yield _sample(tree)
    yield _sample(tree, least=2)
    run = ""
    for code, value in tree:
        if code is op.LITERAL:
            run += chr(value)
            continue
        if run:
            yield run
            run = ""
        for inner in _inner(code, value):
            yield from _pieces(inner)
        if code in (op.IN, op.NOT_LITERAL, op.ANY, op.CATEGORY):
            yield from islice(_characters(code, value), 2)
    if run:
        yield run


def _starts(tree: Any) -> Iterator[str]:
    """What gets a matcher as far as each repeat, from the start of the whole."""
    before = ""
    for place, (code, value) in enumerate(tree):
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            yield before
            for inside in _starts(value[2]):
                yield before + inside
        elif inner := _inner(code, value):
            for each in inner:
                for inside in _starts(each):
                    yield before + inside
        before += _sample(tree[place : place + 1])


def _inner(code: Any, value: Any) -> list[Any]:
    if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        return [value[2]]
    if code is op.SUBPATTERN:
        return [value[3]]
    if code is op.BRANCH:
        return list(value[1])
    if code in (op.ASSERT, op.ASSERT_NOT):
        return [value[1]]
    if code is op.ATOMIC_GROUP:
        return [value]
    return []


def _sample(tree: Any, least: int = 1) -> str:
    """One text that the expression takes, or nearly."""
    said = ""
    for code, value in tree:
        if code is op.LITERAL:
            said += chr(value)
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            low, high, inner = value
            said += _sample(inner, least) * min(max(low, least), int(high), 30)
        elif code is op.BRANCH:
            said += _sample(value[1][0], least)
        elif code in (op.SUBPATTERN, op.ATOMIC_GROUP):
            said += _sample(_inner(code, value)[0], least)
        elif code in (op.IN, op.NOT_LITERAL, op.ANY, op.CATEGORY):
            said += next(_characters(code, value), "")
    return said[:_LONGEST_SAMPLE]


_CANDIDATES = "a0 .-=\"<(@:;,\\/?&%+_\t\r\n'ZF>)[]{}|\x01\x80\xff"


def _characters(code: Any, value: Any) -> Iterator[str]:
    """Characters that a class takes: of its own first, then others, so that neighbours in the expression overlap."""
    if code is op.IN:
        positive = [item for item in value if item[0] is not op.NEGATE]
        negated = len(positive) != len(value)
        own = [chr(arg[0] if kind is op.RANGE else arg) for kind, arg in positive if kind in (op.RANGE, op.LITERAL)]
        for char in (*(() if negated else own), *_CANDIDATES):
            if any(_takes(kind, arg, char) for kind, arg in positive) != negated:
                yield char
    elif code is op.NOT_LITERAL:
        yield from (char for char in _CANDIDATES if ord(char) != value)
    elif code is op.CATEGORY:
        yield from (char for char in _CANDIDATES if _takes(op.CATEGORY, value, char))
    else:
        yield from "a0 "


def _takes(kind: Any, arg: Any, char: str) -> bool:
    if kind is op.LITERAL:
        return ord(char) == arg
    if kind is op.RANGE:
        return arg[0] <= ord(char) <= arg[1]
    word = char.isalnum() or char == "_"
    return {
        op.CATEGORY_DIGIT: char.isdigit(),
        op.CATEGORY_NOT_DIGIT: not char.isdigit(),
        op.CATEGORY_SPACE: char.isspace(),
        op.CATEGORY_NOT_SPACE: not char.isspace(),
        op.CATEGORY_WORD: word,
        op.CATEGORY_NOT_WORD: not word,
    }.get(arg, False)


# --- what it costs ---

_LARGEST = 1_000_000
_RANKED = 2_000  # characters at which all pumps of an expression are compared, to find the dearest
_FAR = 3  # so many of these go on; the first of them as far as there is
_MIDDLE = 64_000
_SMALL = (22, 24, 72, 400)
_MUCH = 0.05  # seconds, for so few: a hundred times what any expression needs that is linear
_STEP = 4
_GROWTH = (30, 70)
"""What four times, and sixteen times the text may cost: 4 and 16 are linear, 16 and 256 quadratic, 64 and 4,096 cubic."""

_FLOOR = 50e-6  # seconds: below, a clock says nothing
_SURE = 2e-3


def cost(run: Callable[[Any], object], text: Any, tries: int) -> float:
    """Seconds of this thread's own time, the least of some tries: a busy machine only ever adds."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(tries):
            start = thread_time()
            run(text)
            best = min(best, thread_time() - start)
    finally:
        gc.enable()
    return best


def growth(run: Callable[[Any], object], make: Callable[[int], Any], largest: int = _LARGEST) -> str:
    """ "" if the cost keeps in proportion up to `largest` characters; else where it did not.

    Who seems to be out of proportion is measured again, several times, and so is what it is compared with.
    """
    size, known = 1_000, [float("inf")]
    while size <= largest:
        known.append(cost(run, make(size), 1))
        for steps, most in enumerate(_GROWTH, 1):
            now, before = known[-1], max(known[max(-1 - steps, -len(known))], _FLOOR)
            if now > _SURE and now > most * before:
                before = max(cost(run, make(size // _STEP**steps), 6), _FLOOR)
                now = min(now, cost(run, make(size), 1 if now > 0.3 else 5))
                if now > most * before:
                    return (
                        f"{size // _STEP**steps:,} characters {before * 1000:.2f} ms, {size:,} characters {now * 1000:.1f} ms"
                    )
        size *= _STEP
    return ""


def out_of_proportion(run: Callable[[Any], object], makers: Iterable[Callable[[int], Any]]) -> str:
    """The first pump, of the dearest ones, that costs more than in proportion, and how much; "" if none does."""
    priced = []
    for place, make in enumerate(makers):
        for size in _SMALL:  # what is exponential, or cubic, would never come back from four thousand
            if cost(run, make(size), 1) > _MUCH and cost(run, make(size), 3) > _MUCH:
                return f"{size} characters cost more than {_MUCH * 1000:g} ms: {make(60)!r}"
        priced.append((cost(run, make(_RANKED), 1), place, make))
    priced.sort(key=lambda each: -each[0])
    for rank, (_, _, make) in enumerate(priced[:_FAR]):
        if said := growth(run, make, _MIDDLE if rank else _LARGEST):
            return f"{said}: {make(60)!r}"
    return ""


if __name__ == "__main__":
    for one in expressions()[0]:
        if all(word in one.name for word in sys.argv[1:]) and (found := out_of_proportion(one.run, pumps(one.pattern))):
            print(one.name, found, sep="\n    ", flush=True)
