"""Runs the real engine in virtual time, on queues and executions that are made up or recorded."""
