"""The settings: read, typed, checked, every mistake with its place."""

from relay.config.loader import Loaded, find, load
from relay.config.located import Mistake
from relay.config.settings import Config

__all__ = ["Config", "Loaded", "Mistake", "find", "load"]
