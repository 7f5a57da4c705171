"""The baseline of bench `poll`: the same timers on the same folders, which are listed and nothing more.

Runs as a process of its own, `python -m scaler.bench.bare_poll`: what to do comes as JSON on standard input, what was
measured goes to standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from scaler.bench.timers import measured


async def _list(folders: Sequence[str]) -> None:
    for folder in folders:
        os.listdir(folder)  # noqa: PTH208 - as the scaler does


async def main(asked: dict[str, Any]) -> dict[str, float]:
    """List as ordered, the jobs spread evenly over the interval."""
    return await measured(
        [partial(_list, folders) for folders in asked["jobs"]],
        interval_s=asked["interval_s"],
        warm_up_s=asked["warm_up_s"],
        seconds=asked["seconds"],
        is_spread=True,
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
