"""Makes one log of those of several containers: in order of time, each line behind its container's name."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO

from aiodocker import Docker, DockerError

from executors._docker_logs import note_lost_log, timed_lines
from executors._docker_members import Members
from executors._docker_rotation import Measure, whole_below
from executors._docker_settings import Limits
from executors._docker_watch import inspect
from executors._logparts import compress, is_there, private
from scaler.errors import ExecutorUnavailable

_LOOK_S = 0.5
_WRITE_LINES = 1024

Line = tuple[str, str, str]
"""Time, container, text."""


def spell(members: Members, line: Line) -> str:
    """Write a line as people read it; where there is but one container, without its name."""
    return line[2] if len(members.named) == 1 else f"[{line[1]}] {line[2]}"


async def merged(
    client: Docker, members: Members, limits: Limits, after: Mapping[str, str]
) -> AsyncIterator[Line]:
    """Give the lines of all containers that were started, in order of time.

    Args:
        client: of the engine.
        members: the replica's containers.
        limits: bounds of the engine's answers.
        after: by container, the time of the last line that is not wanted any more.
    """
    sources = {
        name: _timed(client, one.id, limits, after.get(name, ""))
        for name, one in members.named.items()
        if not one.is_unstarted
    }
    heads: dict[str, tuple[str, str]] = {}
    try:
        for name, source in sources.items():
            await _step(heads, name, source)
        while heads:
            name = min(heads, key=lambda one: heads[one][0])
            at, text = heads.pop(name)
            yield at, name, text
            await _step(heads, name, sources[name])
    finally:
        for source in sources.values():
            await source.aclose()  # type: ignore[attr-defined]


async def _step(heads: dict[str, tuple[str, str]], name: str, source: AsyncIterator[tuple[str, str]]) -> None:
    head = await anext(source, None)
    if head is not None:
        heads[name] = head


async def _timed(
    client: Docker, container: str, limits: Limits, after: str
) -> AsyncIterator[tuple[str, str]]:
    at = after
    try:
        measure = Measure(None if after else whole_below(await inspect(client, container, limits) or {}))
        async with aclosing(timed_lines(client, container, limits)) as lines:  # type: ignore[type-var]
            async for at, text in lines:
                measure.add(f"{text}\n".encode("utf-8", "replace"))
                if at > after:
                    yield at, text
        if note := measure.note():
            yield at, note
    except DockerError as exc:
        if exc.status != 404:
            yield after, f"[log not kept: {exc.message}]"


async def pod_lines(
    client: Docker,
    look: Callable[[], Awaitable[Members]],
    limits: Limits,
    *,
    tail: int | None,
    follow: bool,
) -> AsyncIterator[str]:
    """Give lines of a replica that the engine still has; with `follow` until its holder has ended."""
    after: dict[str, str] = {}
    members = await look()
    first: deque[str] = deque(maxlen=tail)
    async with aclosing(merged(client, members, limits, after)) as lines:  # type: ignore[type-var]
        async for line in lines:
            after[line[1]] = line[0]
            first.append(spell(members, line))
    for text in first:
        yield text
    while follow:
        is_last = members.holder is None or not members.holder.is_live
        members = await look()
        async with aclosing(merged(client, members, limits, after)) as lines:  # type: ignore[type-var]
            async for line in lines:
                after[line[1]] = line[0]
                yield spell(members, line)
        if is_last:
            return
        await asyncio.sleep(_LOOK_S)


async def keep_pod_log(client: Docker, members: Members, path: Path, limits: Limits) -> None:
    """Write the whole log to `path`; a half-written file never bears that name.

    Raises:
        ExecutorUnavailable: the engine does not answer, or the disk does not take it: call again.
    """
    if not members.named or await asyncio.to_thread(is_there, path):
        return  # kept before: since then containers may have been deleted
    partial = path.with_name(f"{path.name}.part")
    try:
        async with asyncio.timeout(limits.log_s):
            await _copy(client, members, partial, limits)
            await asyncio.to_thread(partial.replace, path)
            with suppress(OSError):  # no room for it: the log stays as it is
                await asyncio.to_thread(compress, path)
    except TimeoutError as exc:
        raise ExecutorUnavailable(f"docker: log {path}: not read within {limits.log_s:g} s") from exc
    except DockerError as exc:
        await note_lost_log(path, exc.message)
    except OSError as exc:
        raise ExecutorUnavailable(f"docker: log {path}: {exc.strerror or exc}") from exc


async def _copy(client: Docker, members: Members, partial: Path, limits: Limits) -> None:
    file = await asyncio.to_thread(_create, partial)
    try:
        waiting: list[str] = []
        async with aclosing(merged(client, members, limits, {})) as lines:  # type: ignore[type-var]
            async for line in lines:
                waiting.append(spell(members, line))
                if len(waiting) >= _WRITE_LINES:
                    await asyncio.to_thread(_write, file, waiting)
                    waiting = []
        await asyncio.to_thread(_write, file, waiting)
    finally:
        file.close()


def _create(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w", encoding="utf-8", errors="replace", opener=private)


def _write(file: IO[str], lines: list[str]) -> None:
    file.writelines(f"{line}\n" for line in lines)
