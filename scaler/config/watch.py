"""Sees edits of job files by comparing their contents.

Contents and not change times or notifications: those miss bind mounts, editors that rename, and the
symbolic links of a mounted ConfigMap. A few hundred files are read in milliseconds; where a pass takes longer,
the next one comes later.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from scaler.config.files import find_files, read_files
from scaler.config.load import LoadResult, load_paths

INTERVAL_S = 0.5
READ_S = 30.0
"""How long one pass over the files may take (a network file system that hangs), seconds."""
REST = 20.0
"""Rest after a look at the files, in times of what it took: thousands of files shall cost 5 % of a core, no more."""
LONGEST_REST_S = 5.0
Load = Callable[[Sequence[str]], LoadResult]


async def watch(
    paths: Sequence[str | os.PathLike[str]],
    clock_sleep: Callable[[float], Awaitable[None]],
    *,
    env: Mapping[str, str],
    executor_settings: Mapping[str, Mapping[str, Any]] | None = None,
    interval: float = INTERVAL_S,
    load: Load | None = None,
    known: tuple[str, LoadResult] | None = None,
) -> AsyncGenerator[LoadResult, None]:
    """Give what the paths hold now, and again whenever a job file or a file with a secret has changed.

    A file caught half-written gives a faulty result, and a good one soon after; keep the old job meanwhile.
    Cancel the consumer, or close the iterator, to end it.

    Args:
        paths: as for `load_paths`.
        clock_sleep: waits that many seconds.
        env: as for `load_paths`.
        executor_settings: as for `load_paths`.
        interval: seconds between two looks.
        load: what reads the paths; `load_paths` when left out.
        known: what they held once, with the fingerprint of before they were read: they are not read again for nothing.
    """
    names = [os.fspath(path) for path in paths]
    load = load or partial(load_paths, env=env, executor_settings=executor_settings)
    clock = asyncio.get_running_loop().time
    seen, held = known or (None, None)
    last: LoadResult | None = None
    while True:
        secret_files, began = last.secret_files if last else (), clock()
        try:
            async with asyncio.timeout(READ_S):
                now = await asyncio.to_thread(fingerprint, names, secret_files)
                took = clock() - began
                result = held if now == seen else await asyncio.to_thread(load, names)
                seen, held = now, result
        except TimeoutError:
            result, took = last, READ_S
        if result is not None and result != last:
            if result.secret_files != secret_files:
                seen = None  # newly named files may have changed since they were read: look once more
            last = result
            yield result
        await clock_sleep(max(interval, min(took * REST, LONGEST_REST_S)))


def fingerprint(paths: Sequence[str], secret_files: Sequence[str] = ()) -> str:
    """Give a text that changes whenever a job file or a named secret file does."""
    digest = hashlib.sha256()
    found = find_files(paths)
    for fault in found.faults:
        digest.update(f"fault {fault}\0".encode())
    for file in read_files([*found.files, *secret_files]):
        state = str(file.fault) if file.fault else hashlib.sha256(file.raw).hexdigest()
        digest.update(f"{file.name}\0{state}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
