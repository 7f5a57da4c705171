"""Tests of job files and settings."""
