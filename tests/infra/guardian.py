"""Ends our processes even when the test run itself is killed and no `finally` or `atexit` runs.

A small process reads our process groups from a pipe. The pipe ends when we end, however that came about, and the
guardian then kills what is still on its list.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import IO

_SCRIPT = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    sign, group = line[0], int(line[1:])
    groups.add(group) if sign == "+" else groups.discard(group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def watch(group: int) -> None:
    """Have the process group killed when this process is gone."""
    _tell(f"+{group}\n")


def forget(group: int) -> None:
    """Take a group off the list: it has ended, and its number may be used again."""
    _tell(f"-{group}\n")


def _tell(line: str) -> None:
    try:
        _pipe().write(line)
    except BrokenPipeError:
        pass  # somebody ended the guardian; the ordinary ways of ending remain


@functools.cache
def _pipe() -> IO[str]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        start_new_session=True,
        text=True,
        bufsize=1,
    )
    process.returncode = 0  # it ends after us: nobody waits for it, and Popen must not warn
    assert process.stdin is not None
    return process.stdin
