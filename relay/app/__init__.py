"""Joins the stations.  front.py answers devices at once; office.py, loaded meanwhile, relays, tells and watches."""

from relay.app.front import Relay, StartFailed, subject_of, utcnow
from relay.app.watchdog import Watchdog

__all__ = ["Relay", "StartFailed", "Watchdog", "subject_of", "utcnow"]
