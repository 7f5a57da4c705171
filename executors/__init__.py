"""Executors: one module is one backend that runs replicas, found by its file name and loaded on first use.

A module without a leading underscore is a plugin and has the constant `EXECUTOR`. Plugins know only
`scaler.ports`, `scaler.model`, `scaler.errors` and their own SDK, and never each other.
"""
