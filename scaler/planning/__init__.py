"""Pure deciders: no I/O, no clock, no randomness. The same inputs give the same answer."""
