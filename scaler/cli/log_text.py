"""What the commands share that print logs: the options of a search, and printing as it comes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--search`, `--regex` and `--ignore-case`; the command gets them as one mapping `search` for the API."""

    @click.option("--search", metavar="TEXT", help="Only the lines that hold TEXT.")
    @click.option("--regex", is_flag=True, help="TEXT is a regular expression (RE2).")
    @click.option("-i", "--ignore-case", is_flag=True, help="Search in any letter case.")
    @functools.wraps(command)
    def searching(search: str | None, regex: bool, ignore_case: bool, **rest: Any) -> Any:
        if search is None and (regex or ignore_case):
            raise click.UsageError("--regex and --ignore-case say how to search; give --search TEXT")
        asked = {} if search is None else {"search": search}
        asked |= {"regex": "true"} if regex else {}
        asked |= {"ignoreCase": "true"} if ignore_case else {}
        return command(search=asked, **rest)

    return searching


def print_pieces(pieces: Iterable[bytes]) -> None:
    """Print pieces of text as they come."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
