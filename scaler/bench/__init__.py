"""Measures the product beside baselines of the same run: the bare engine, bare processes, bare timers."""
