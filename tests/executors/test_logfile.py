"""Reading a kept or growing log file, with real files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from executors._docker_logs import note_lost_log
from executors._logfile import read_log


async def read(path: Path, *, tail: int | None = None) -> list[str]:
    return [line async for line in read_log(path, tail=tail, follow=False, ended=lambda: True)]


@pytest.mark.parametrize(
    ("content", "tail", "lines"),
    [
        (b"", None, []),
        (b"a\nb\n", None, ["a", "b"]),
        (b"a\r\n\nb", None, ["a", "", "b"]),
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc", 2, ["b", "c"]),
        (b"a\nb\n", 9, ["a", "b"]),
        (b"a\nb\n", 0, []),
        (b"\n\n", 1, [""]),
        (b"\xff\n", None, ["\N{REPLACEMENT CHARACTER}"]),
        (b"x" * 200_000 + b"\nlast\n", 1, ["last"]),
        (b"1234567\n" * 30_000, 20_000, ["1234567"] * 20_000),
    ],
)
async def test_lines_come_without_their_ends(
    tmp_path: Path, content: bytes, tail: int | None, lines: list[str]
) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    assert await read(path, tail=tail) == lines


@pytest.mark.parametrize("tail", [None, 3])
async def test_a_file_that_is_not_there_is_empty(tmp_path: Path, tail: int | None) -> None:
    assert await read(tmp_path / "none", tail=tail) == []


async def test_following_gives_all_that_was_written_before_the_end(tmp_path: Path) -> None:
    path, done = tmp_path / "log", asyncio.Event()

    async def write() -> None:
        for piece in (b"one\ntw", b"o\n", b"thr\xc3", b"\xa9\nfour"):
            await asyncio.sleep(0.05)
            with path.open("ab") as file:
                file.write(piece)
        done.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(write())
        lines = [line async for line in read_log(path, tail=None, follow=True, ended=done.is_set)]
    assert lines == ["one", "two", "thré", "four"]


async def test_a_note_about_a_lost_log_never_replaces_a_log_that_was_kept(tmp_path: Path) -> None:
    kept, missing = tmp_path / "kept.log", tmp_path / "missing.log"
    kept.write_text("a line\n")

    await note_lost_log(kept, "dead or marked for removal")
    await note_lost_log(missing, "dead or marked for removal")

    assert await read(kept) == ["a line"]
    assert await read(missing) == ["[log not kept: dead or marked for removal]"]
