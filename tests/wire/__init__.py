"""Tests of the shapes that people and clients write."""
