"""Tests of what measuring stands on."""
