"""Joins the parts: relay.py answers devices at once; services.py, loaded meanwhile, relays mail and does all else."""

from relay.daemon.relay import Relay, StartFailed, subject_of, utcnow
from relay.daemon.watchdog import Watchdog

__all__ = ["Relay", "StartFailed", "Watchdog", "subject_of", "utcnow"]
