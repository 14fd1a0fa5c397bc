"""The whole relay in deterministic simulation: virtual time, a network in memory, a world that a seed makes."""
