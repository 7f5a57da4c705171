"""Tests of the command line, against a server of the real API."""
