"""One smarthost: everything that is said to it."""
