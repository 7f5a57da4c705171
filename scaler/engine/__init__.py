"""Polls, decides, launches, tracks: the hands around the three brains. Knows no files and no HTTP."""
