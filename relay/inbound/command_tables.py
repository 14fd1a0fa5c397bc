"""What aiosmtpd collects anew at each connection, by searching all names of its two objects: found once for each class."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from aiosmtpd import smtp


class _NoHooks:
    def __dir__(self) -> Iterable[str]:
        return ()


NO_HOOKS = _NoHooks()
"""For aiosmtpd's own search."""


@lru_cache(maxsize=16)
def tables(kind: type[Any], handler: object) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The commands (functions, not bound), the AUTH mechanisms, and the hooks of the handler, each by its name."""
    names = dir(kind)
    commands = {name.removeprefix("smtp_"): getattr(kind, name) for name in names if name.startswith("smtp_")}
    mechanisms = {
        name.removeprefix("auth_").replace("__", "-"): smtp._AuthMechAttr(_unbound(getattr(kind, name)), True)
        for name in names
        if name.startswith("auth_")
    }
    hooks = {name.removeprefix("handle_"): getattr(handler, name) for name in dir(handler) if name.startswith("handle_")}
    return commands, mechanisms, hooks


def _unbound(method: Any) -> Any:
    """aiosmtpd calls a mechanism as `method(server, arguments)`; its own are methods, so the server is `self` as well."""
    return lambda server, arguments: method(server, server, arguments)
