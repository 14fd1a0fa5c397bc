"""Ends a process whose event loop hangs, with a traceback of every thread, so that its manager restarts it.

It needs no interpreter lock: `faulthandler` writes the traceback in C, at a signal of the kernel's timer or in its own
thread; after it the kernel's timer sends SIGALRM, which nothing handles.  Each beat puts all of them off.  So a hanging
process ends even if it cannot handle SIGTERM.

A hang uses the processor, so processor time is counted.  A process that is stopped by a debugger or Ctrl-Z, frozen with
its container or virtual machine, or gets no time on a busy board, does not hang.
"""

import faulthandler
import os
import signal

HANG = 30.0
"""Seconds of processor time without a beat; nothing that the loop does takes even one."""

STILL = 4
"""Times as long by the clock, for what waits for ever without using the processor; no pause should last so long."""

STOP = 40.0
"""Seconds from the order to stop to the end, whatever is still under way (an attempt has 30)."""

BEAT = 5.0
_LATER = 5.0  # seconds from the traceback to the SIGALRM


class Watchdog:
    """Sleeps until the first `beat`."""

    def __init__(self) -> None:
        # tests cannot wait for half a minute; nothing else sets this variable
        self.hang = float(os.environ.get("RELAY_TEST_HANG_SECONDS", HANG))
        self._file = _unblocking_stderr()
        self._stopping = False
        faulthandler.register(signal.SIGPROF, file=self._file, chain=True)  # writes, and then the signal ends the process

    def beat(self) -> None:
        """A sign of life.  Ignored after `stopping`."""
        if not self._stopping:
            signal.setitimer(signal.ITIMER_PROF, self.hang)
            self._arm(self.hang * STILL)

    def stopping(self) -> None:
        """The process must end within STOP seconds."""
        self._stopping = True
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._arm(STOP)

    def _arm(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)
        signal.setitimer(signal.ITIMER_REAL, seconds + _LATER)


def _unblocking_stderr() -> int:
    """A pipe that nobody reads must not keep a hanging process alive: then only the traceback is lost."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:  # a socket, as the journal has, cannot be opened anew
        return 2
