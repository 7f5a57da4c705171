"""`scaler bench` as a stranger runs it: the real command on the real engine. How fast anything is, no test says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scaler.bench.report import read_body
from tests.infra.engine import Engine
from tests.infra.process import wait_until

LOCAL = ("poll", "poison", "recovery", "footprint")
NAMES = ("baselines", "detect", "launch", "drain", "slow")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "scaler", "bench", *words]


def settings(engine: str, folder: Path) -> dict[str, str]:
    """Variables with which everything that a bench makes is below `folder`."""
    return {**os.environ, "DOCKER_HOST": engine, "TMPDIR": str(folder)}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("b")


def left(engine: Engine, folder: Path) -> list[str]:
    """Name what is left of a bench: files, containers that mount its folders, daemons that run on them."""
    with engine.client() as client:
        containers = client.api.containers(all=True)
    found = [one["Names"][0] for one in containers if any(str(folder) in m["Source"] for m in one["Mounts"])]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found + [path.name for path in folder.iterdir()]


@contextmanager
def begun(engine: Engine, folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*words), env=settings(engine.url, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.timeout(400)
def test_every_bench_gives_its_figures_and_leaves_nothing(docker_engine: Engine, folder: Path) -> None:
    with begun(docker_engine, folder, *NAMES, "--quick", "-o", "json") as bench:
        out, told = bench.communicate(timeout=360)
    assert bench.returncode == 0, told
    facts, found = read_body(out, "stdout")
    assert facts["command"].endswith("--quick -o json")
    assert tuple(found) == NAMES
    assert all(one.value >= 0 and one.how and one.runs for figures in found.values() for one in figures)
    goals = {
        f"{bench}: {one.name}"
        for bench, figures in found.items()
        for one in figures
        if one.is_met is not None
    }
    assert goals == {
        "detect: p50 to half an interval and a bare start",
        "launch: steady, p99",
        "launch: burst, p99",
        "drain: to bare engine",
        "drain: executions a message",
        "slow: executions a message",
    }
    assert left(docker_engine, folder) == []


@pytest.mark.timeout(400)
def test_the_benches_of_processes_give_their_figures_and_leave_nothing(
    docker_engine: Engine, folder: Path
) -> None:
    with begun(docker_engine, folder, *LOCAL, "--quick", "-o", "json") as bench:
        out, told = bench.communicate(timeout=360)
    assert bench.returncode == 0, told
    _, found = read_body(out, "stdout")
    assert tuple(found) == LOCAL
    assert all(one.value >= 0 and one.how and one.runs for figures in found.values() for one in figures)
    given = {bench: {one.name for one in figures} for bench, figures in found.items()}
    assert {"500: lateness p99", "500: CPU per poll to bare", "10: ticks served"} <= given["poll"]
    assert {"good messages, to none poison", "to strict"} <= given["poison"]
    assert {"ready to empty", "ready to bare", "containers: ready"} <= given["recovery"]
    assert {"idle memory", "memory a job", "ready to bare", "idle CPU"} <= given["footprint"]
    assert left(docker_engine, folder) == []


def test_a_bench_of_processes_that_is_interrupted_leaves_nothing(docker_engine: Engine, folder: Path) -> None:
    with begun(docker_engine, folder, "recovery") as bench:
        wait_until(
            lambda: any(folder.glob("*/burst-0/spool/done/*")), timeout_s=120, what="a first message done"
        )
        os.killpg(bench.pid, signal.SIGINT)
        out, _ = bench.communicate(timeout=120)
    assert (bench.returncode, out) == (130, "")
    assert left(docker_engine, folder) == []


@pytest.mark.parametrize(
    ("number", "is_daemons"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)],
    ids=["by-ctrl-c-while-its-daemon-has-a-container", "by-term-while-bare-ones-run", "with-its-terminal"],
)
def test_an_interrupted_bench_leaves_nothing(
    docker_engine: Engine, folder: Path, number: signal.Signals, *, is_daemons: bool
) -> None:
    def is_there() -> bool:
        with docker_engine.client() as client:
            containers = client.api.containers()
        ours = [one for one in containers if any(str(folder) in m["Source"] for m in one["Mounts"])]
        return any(("io.scaler.job" in one["Labels"]) is is_daemons for one in ours)

    with begun(docker_engine, folder, "drain") as bench:
        wait_until(is_there, timeout_s=120, what="a container of the bench")
        os.killpg(bench.pid, number)  # a terminal tells the whole group
        out, _ = bench.communicate(timeout=120)
    assert (bench.returncode, out) == (130, "")
    assert left(docker_engine, folder) == []


@pytest.mark.parametrize("image", ["", "no image/../"])
def test_what_is_no_image_is_refused(image: str) -> None:
    done = subprocess.run(
        command("detect", "--image", image), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "which is no image" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("engine", "words", "told"),
    [
        ("unix:///nowhere/docker.sock", (), "is Docker running, and may you use its socket?"),
        ("tcp://127.0.0.1:9", (), "measure on its own machine, by its unix socket"),
        (None, ("--image", "scaler-bench:nobody-has-it"), "docker pull scaler-bench:nobody-has-it"),
    ],
    ids=["no-engine", "an-engine-elsewhere", "no-such-image"],
)
def test_what_is_missing_is_told_and_the_other_benches_run(
    docker_engine: Engine, folder: Path, engine: str | None, words: tuple[str, ...], told: str
) -> None:
    done = subprocess.run(
        command("drain", "footprint", "--quick", "-o", "json", *words),
        env=settings(engine or docker_engine.url, folder), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert told in done.stderr
    body: Any = json.loads(done.stdout)
    assert list(body["benches"]) == ["footprint"]
    assert left(docker_engine, folder) == []
