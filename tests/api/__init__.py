"""Tests of the REST API, over a real unix socket."""
