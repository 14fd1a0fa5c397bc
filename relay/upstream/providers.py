"""What is known about providers, so that a user name and a password are enough.  The rows are in provider_rows.py.  Pure."""

from relay.upstream.provider import Preset
from relay.upstream.provider_rows import PRESETS

GENERIC = "generic"
"""The provider that nothing is known about."""

NAMES: tuple[str, ...] = (GENERIC, *(preset.key for preset in PRESETS))

_BY_NAME = {name.lower(): preset for preset in PRESETS for name in (preset.key, preset.name, *preset.aliases)}


def preset_for(provider: str) -> Preset | None:
    """The preset of a provider by any of its names, in any case; None if it is not known."""
    return _BY_NAME.get(provider.strip().lower())
