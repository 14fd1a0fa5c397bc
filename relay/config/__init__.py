"""The settings: read, typed, checked, every mistake with its place."""

from relay.config.config_values import Config
from relay.config.loader import Loaded, find, load, missing, state_dir
from relay.config.located import Mistake

__all__ = ["Config", "Loaded", "Mistake", "find", "load", "missing", "state_dir"]
