"""Pipes and devices in the place of job files: nobody is kept waiting."""

from __future__ import annotations

import os
from pathlib import Path

from scaler.config.load import load_paths
from tests.config.test_load import MANUAL
from tests.config.toys import EXECUTORS, SCALERS


def test_a_pipe_in_a_folder_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "job.yaml").write_text(MANUAL.format(name="orders"))
    result = load_paths([tmp_path], env={}, executors=EXECUTORS)
    assert ([loaded.job.name for loaded in result.jobs], result.faults) == (["orders"], ())


def test_a_pipe_that_the_caller_has_open_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"name: Orders\n")
    os.close(writing)
    faults = load_paths([f"/dev/fd/{reading}"], env={}, scalers=SCALERS, executors=EXECUTORS).faults
    os.close(reading)
    assert any("use lower-case letters" in str(fault) for fault in faults)


def test_a_pipe_that_is_named_by_itself_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    for name in (str(pipe), "/dev/zero"):
        (fault,) = load_paths([name], env={}).faults
        assert str(fault).startswith(f"{name}: is a pipe, a device or a folder, not a file")
