"""Push services by the library Apprise, which runs in a process of its own: the relay's memory does not grow."""
