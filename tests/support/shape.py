"""Whether a JSON value has the shape that an OpenAPI 3.0 schema promises; as much of it as docs/openapi.yaml uses."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def faults(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any, path: str = "$") -> Iterator[str]:
    """Each place where the value is not what the schema says, and why."""
    if "$ref" in schema:
        yield from faults(document, resolved(document, schema["$ref"]), value, path)
        return
    for part in schema.get("allOf", ()):
        yield from faults(document, part, value, path)
    if value is None and schema.get("nullable"):
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{path}: {value!r} is no {kind}"
        return
    yield from _limits(schema, value, path)
    if isinstance(value, dict):
        yield from (f"{path}: no {key!r}" for key in schema.get("required", ()) if key not in value)
        for key, one in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            yield from faults(document, inner, one, f"{path}.{key}") if isinstance(inner, Mapping) else ()
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            yield from faults(document, schema["items"], one, f"{path}[{number}]")


def _limits(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not fit {schema['pattern']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{path}: {value!r} is below {schema['minimum']}"
    if len(value) < schema.get("minItems", 0) if isinstance(value, list) else False:
        yield f"{path}: too few"
    if schema.get("format") == "date-time":
        try:
            whole = datetime.fromisoformat(value).tzinfo is not None
        except ValueError:
            whole = False
        if not whole:
            yield f"{path}: {value!r} is no moment with a zone"


def resolved(document: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found
