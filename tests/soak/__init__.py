"""Tests of `scaler soak`."""
