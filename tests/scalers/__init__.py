"""Tests of the built-in scalers."""
