"""Reading a kept or growing log file, with real files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from executors._docker_logs import _Partial, note_lost_log
from executors._docker_pod_logs import _create as _create_merged
from executors._docker_rotation import Measure, whole_below
from executors._logfile import read_log
from executors._logparts import compress, compressed, cut_line


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


def turned_over(path: Path, *pieces: bytes) -> None:
    """Write a log of which only the last two files are kept."""
    written = 0
    for number, piece in enumerate(pieces):
        if path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        count = b"" if number == 0 else f"{cut_line(written)}\n".encode()
        path.write_bytes(count + piece)
        written += len(piece)


@pytest.mark.parametrize(
    ("pieces", "tail", "lines"),
    [
        ((b"a\nb\n", b"c\nd\n"), None, ["a", "b", "c", "d"]),
        ((b"a\nb", b"c\nd\n"), None, ["a", "bc", "d"]),
        ((b"a\nb\n", b"c\nd\n", b"e\n"), None, ["[scaler: 4 bytes of this log were cut]", "c", "d", "e"]),
        ((b"a\nb\n", b"c\nd\n", b"e\n"), 3, ["[scaler: 4 bytes of this log were cut]", "c", "d", "e"]),
        ((b"a\nb\n", b"c\nd\n", b"e\n"), 2, ["d", "e"]),
        ((b"a\nb\n", b"c\nd\n"), 2, ["c", "d"]),
        ((b"a\nb\n", b"c\nd\n"), 3, ["b", "c", "d"]),
        ((b"a\nb\n", b"c\nd\n"), 0, []),
        ((b"a\n", b""), 5, ["a"]),
    ],
)
async def test_a_log_of_several_files_reads_as_one_and_tells_what_is_missing(
    tmp_path: Path, pieces: tuple[bytes, ...], tail: int | None, lines: list[str]
) -> None:
    path = tmp_path / "r.log"
    turned_over(path, *pieces)
    assert await read(path, tail=tail) == lines
    whole = ["head", *await read(path)]
    for _ in range(2):
        compress(path, head="head")
        assert [one.name for one in tmp_path.iterdir()] == ["r.log.gz"]
    assert await read(path, tail=tail) == (
        whole if tail is None else whole[len(whole) - min(tail, len(whole)) :]
    )


async def test_a_reader_goes_on_when_the_log_is_compressed_under_its_hands(tmp_path: Path) -> None:
    path, done = tmp_path / "r.log", asyncio.Event()
    turned_over(path, b"a\n" * 3000)
    lines: list[str] = []

    async def end() -> None:
        while not lines:
            await asyncio.sleep(0.01)
        turned_over(path, b"b\n" * 3000)
        path.write_bytes(b"[scaler: 6000 bytes of this log were cut]\n" + b"b\n" * 3000)
        compress(path)
        done.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(end())
        async for line in read_log(path, tail=None, follow=True, ended=done.is_set):
            lines.append(line)
            await asyncio.sleep(0)
    assert lines == ["a"] * 3000 + ["b"] * 3000


async def test_no_kept_log_can_be_read_by_everybody(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "r.log"
        await note_lost_log(path, "why")
        _Partial(tmp_path / "of-one.log").finish(None)
        _create_merged(tmp_path / "of-several.log").close()
        long = tmp_path / "long.log"
        long.write_bytes(b"x" * 5000)
        compressed(long).with_name("long.log.gz.part").touch(0o666)
        compress(long)
    finally:
        os.umask(before)
    modes = {one.name: oct(one.stat().st_mode & 0o777) for one in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("r.log", "of-one.log", "of-several.log", "long.log.gz"), "0o640")


def test_a_log_that_cannot_be_compressed_is_kept_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.log"
    path.write_bytes(b"x" * 5000)
    (tmp_path / "r.log.gz.part").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        compress(path)
    assert (path.read_bytes(), compressed(path).exists()) == (b"x" * 5000, False)


async def test_a_line_without_an_end_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "r.log"
    path.write_bytes(b"x" * (5 << 20))
    lines = await read(path)
    assert (len(lines) >= 4, sum(map(len, lines))) == (True, 5 << 20)


@pytest.mark.parametrize(
    ("config", "whole"),
    [
        ({"max-size": "10m", "max-file": "2"}, 10 << 20),
        ({"max-size": "100K", "max-file": "3"}, 200 << 10),
        ({"max-size": "5"}, 0),
        ({}, None),
    ],
)
def test_a_log_is_whole_below_what_the_older_files_hold(config: dict[str, str], whole: int | None) -> None:
    assert whole_below({"HostConfig": {"LogConfig": {"Type": "json-file", "Config": config}}}) == whole


def test_what_the_engine_may_have_dropped_is_told_by_the_room_its_files_take() -> None:
    short, long, loud = Measure(6000), Measure(6000), Measure(6000)
    for _ in range(80):
        short.add(b"y\n")
    for _ in range(100):
        long.add(b"y\n")
    loud.add(b"\0" * 4000)
    assert short.note() is None
    assert "the engine kept 200 bytes" in (long.note() or "")
    assert loud.note() is not None, "what is escaped takes more room than it has bytes"
    assert Measure(None).note() is None


@pytest.mark.parametrize("note", [None, "[scaler: cut]"])
def test_a_disk_without_room_for_compressing_costs_no_log_and_no_note(
    tmp_path: Path, note: str | None
) -> None:
    path = tmp_path / "r.log"
    log = _Partial(path)
    assert log.add(b"x" * 5000) is False
    (tmp_path / "r.log.gz.part").mkdir()
    if note is None:
        log.finish(note)
    else:
        with pytest.raises(OSError, match="Is a directory"):
            log.finish(note)
    assert path.read_bytes() == b"x" * 5000
