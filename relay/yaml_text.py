"""Values as YAML, for configuration files that we write.  Pure."""

import json
from collections.abc import Iterable


def quoted(text: str) -> str:
    """A double-quoted scalar; `${` means itself, since what others wrote names no variables of ours."""
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False)


def listed(values: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, values))}]"
