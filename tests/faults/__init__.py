"""Faults at every moment: the engine killed, its outside gone; what the records say afterwards."""
