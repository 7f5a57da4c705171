"""Log lines that nobody can take are dropped and counted; nothing hangs and nothing is raised."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.observability.lines import PatientLines

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def lines_to(descriptor: int) -> PatientLines:
    return PatientLines(descriptor, lambda number: f"dropped {number}\n")


def test_lines_arrive_whole(pipe: Pipe) -> None:
    lines = lines_to(pipe[1])
    lines.write("one\n")
    lines.write("ö" * 9000 + "\n")
    assert os.read(pipe[0], 60000).decode() == "one\n" + "ö" * 9000 + "\n"


def test_what_a_full_disk_drops_is_counted_and_told_when_it_works_again(tmp_path: Path) -> None:
    full, place = os.open("/dev/full", os.O_WRONLY), tmp_path / "log"
    good = os.open(place, os.O_WRONLY | os.O_CREAT)
    target = os.dup(full)
    lines = lines_to(target)
    lines.write("one\n")
    lines.write("two\n")
    os.dup2(good, target)
    lines.write("three\n")
    lines.write("four\n")
    for descriptor in (full, good, target):
        os.close(descriptor)
    assert place.read_text() == "dropped 2\nthree\nfour\n"


def test_a_reader_that_is_gone_raises_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = lines_to(writing)
    assert lines.write("one\n") == 4
    os.close(writing)


def test_a_reader_that_stopped_reading_holds_up_one_line_only(pipe: Pipe) -> None:
    lines = lines_to(pipe[1])
    begin = time.monotonic()
    for _ in range(2000):
        lines.write("x" * 199 + "\n")
    assert time.monotonic() - begin < 5
    arrived = os.read(pipe[0], 1 << 20)
    lines.write("again\n")
    told = os.read(pipe[0], 1 << 20).decode().splitlines()
    assert told[-1] == "again"
    assert told[-2] == f"dropped {2000 - len(arrived) // 200}"
