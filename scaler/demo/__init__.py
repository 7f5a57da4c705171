"""A story that proves itself: a queue is flooded, executions drain it, and every message is accounted for."""
