"""Bench `drain`: a full queue of messages without work. How near does the daemon come to the engine's best?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scaler.bench.feed import first_look
from scaler.bench.report import Figure, figure, ratios
from scaler.bench.spawn import spawn
from scaler.bench.stage import Options, Stage
from scaler.bench.yard import LABEL, PATIENCE_S, RESOURCES, Yard, best_of, check_done, open_yard, rates_of
from scaler.rig.daemon import Daemon, RigError, process_container, spool_job
from scaler.rig.spool import MOUNT, WORKER

MESSAGES: Final = 120
WORKING: Final = 30
WORK_S: Final = 0.5
PROCESSES: Final = 200
ROUNDS: Final = 3
AT_ONCE: Final = (1, 2, 4, 8, 16)
SEARCHED: Final = 24
INTERVAL_S: Final = 30
LOOK_S: Final = 0.2
REST_S: Final = 1.5  # what a daemon still does after the last end is not to disturb the next one


@dataclass(slots=True, kw_only=True)
class Rates:
    """Messages a second, round by round."""

    bare: list[float] = field(default_factory=list)
    xargs: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    executions: list[float] = field(default_factory=list)

    def turn(self, *sides: Callable[[], None]) -> None:
        """Let every side have its turn; every other round begins with the last one."""
        for side in sides if len(self.bare) % 2 == 0 else reversed(sides):
            side()


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs an engine."""
    options = stage.options
    with open_yard(stage) as yard:
        daemon = Daemon(yard.plan(stage.folder / "daemon"), stage.connect)
        with daemon.running():
            yard.learn(daemon)
            best = best_at_once(yard, options)
            options.say(f"drain: the engine's best is {best} at once")
            bench = _Bench(stage, yard, daemon)
            empty, working, local = Rates(), Rates(), Rates()
            for number in range(options.repeat * (1 if options.quick else ROUNDS)):
                bench.containers(empty, options.size(MESSAGES), at_once=best, think_s=0)
                bench.containers(working, options.size(WORKING), at_once=best, think_s=WORK_S)
                bench.processes(local, options.size(PROCESSES), at_once=os.cpu_count() or 1)
                options.say(
                    f"drain {number + 1}: ours {empty.ours[-1]:.2f}/s, bare {empty.bare[-1]:.2f}/s, "
                    f"xargs {empty.xargs[-1]:.2f}/s"
                )
    return _figures(options, best, empty, working, local)


def best_at_once(yard: Yard, options: Options) -> int:
    """Find how many bare containers at once the engine gets through fastest."""

    def rate(at_once: int) -> float:
        return yard.drained(options.size(SEARCHED), at_once=at_once).rate

    return best_of(rates_of(rate, AT_ONCE[:2] if options.quick else AT_ONCE))


class _Bench:
    def __init__(self, stage: Stage, yard: Yard, daemon: Daemon) -> None:
        self._stage = stage
        self._yard = yard
        self._daemon = daemon

    def containers(self, rates: Rates, total: int, *, at_once: int, think_s: float) -> None:
        """Drain by bare containers, by the command line and by the daemon."""

        def bare() -> None:
            rates.bare.append(self._yard.drained(total, at_once=at_once, think_s=think_s).rate)

        def xargs() -> None:
            rates.xargs.append(total / self._xargs(total, at_once, think_s))

        def ours() -> None:
            seconds, executions = self._ours(total, at_once, think_s)
            rates.ours.append(total / seconds)
            rates.executions.append(executions / total)

        rates.turn(bare, ours, xargs)

    def processes(self, rates: Rates, total: int, *, at_once: int) -> None:
        """Drain by bare processes and by the daemon."""

        def bare() -> None:
            spool = self._yard.spool(total)
            rates.bare.append(self._yard.do(spawn(spool, total, at_once=at_once)).rate)
            check_done(spool, total)

        def ours() -> None:
            rates.ours.append(total / self._local(total, at_once))

        rates.turn(bare, ours)

    def _ours(self, total: int, at_once: int, think_s: float) -> tuple[float, int]:
        """Give the seconds from the daemon's first look at the queue to the last removal, and the executions."""
        spool = self._yard.spool(total, think_s=think_s)
        job = self._yard.job(spool, {"pollingInterval": INTERVAL_S, "maxExecutions": at_once})
        with self._yard.events(job) as events:
            self._daemon.write(job)
            self._until(lambda: spool.depth().done == total and events.are_gone(total), f"{total} messages")
            time.sleep(REST_S)
            self._until(lambda: events.are_gone(total), "the end of what came after")
            gone = events.moments("destroy")
        check_done(spool, total)
        self._all_well(job["name"])
        return max(gone.values()) - first_look(self._daemon, job["name"]), len(gone)

    def _local(self, total: int, at_once: int) -> float:
        spool = self._yard.spool(total)
        container, extension = process_container(spool.folder)
        scale = {"pollingInterval": INTERVAL_S, "maxExecutions": at_once}
        name = f"bench-{spool.folder.name}"
        self._daemon.write(
            spool_job(name, spool.folder, scale=scale, container=container, extension=extension)
        )

        def ends() -> list[float]:
            return [one["at"] for one in self._daemon.events("execution.ended") if one["job"] == name]

        self._until(lambda: spool.depth().done == total and len(ends()) >= total, f"{total} messages")
        time.sleep(REST_S)
        check_done(spool, total)
        self._all_well(name)
        return max(ends()) - first_look(self._daemon, name)

    def _until(self, look: Callable[[], object], what: str) -> None:
        self._daemon.until(look, timeout_s=PATIENCE_S, what=what, every_s=LOOK_S)

    def _all_well(self, job: str) -> None:
        counts = {name: number for name, number in self._daemon.api.counts(job)["counts"].items() if number}
        if counts.keys() != {"Succeeded"}:
            raise RigError(f"the daemon's executions ended as {counts}")

    def _xargs(self, total: int, at_once: int, think_s: float) -> float:
        spool = self._yard.spool(total, think_s=think_s)
        command = [
            "xargs",
            "-P",
            str(at_once),
            "-I",
            "{}",
            *docker_run(self._yard.body(spool), self._yard.mark),
        ]
        log = self._stage.folder / "xargs.log"
        began = time.perf_counter()
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - a program and arguments of our own
                command, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True
            )
            try:
                process.communicate("".join(f"{number}\n" for number in range(total)).encode(), PATIENCE_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        took = time.perf_counter() - began
        if process.returncode != 0:
            raise RigError(f"xargs ended with code {process.returncode}:\n{_end(log)}")
        check_done(spool, total)
        return took


def docker_run(body: dict[str, Any], mark: str) -> list[str]:
    """Give the command line that runs such a container. Pure."""
    host = body["HostConfig"]
    source = host["Mounts"][0]["Source"]
    memory = str(host["Memory"])
    return [
        *("docker", "run", "--rm", "--init", "--cpus", str(RESOURCES["cpu"]), "--label", f"{LABEL}={mark}"),
        *("--memory", memory, "--memory-swap", memory, "--pids-limit", str(host["PidsLimit"])),
        *("--security-opt", "no-new-privileges", "--mount", f"type=bind,source={source},target={MOUNT}"),
        *(
            part
            for name, value in host["LogConfig"]["Config"].items()
            for part in ("--log-opt", f"{name}={value}")
        ),
        *(part for pair in body["Env"] for part in ("--env", pair)),
        *(body["Image"], "/bin/sh", f"{MOUNT}/{WORKER}"),
    ]


def _end(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _figures(options: Options, best: int, empty: Rates, working: Rates, local: Rates) -> list[Figure]:
    size = f"{options.size(MESSAGES)} messages of 0 s, {best} at once, the engine's best"
    work = f"{options.size(WORKING)} messages of {WORK_S:g} s, {best} at once"
    lanes = f"{options.size(PROCESSES)} messages of 0 s, {os.cpu_count()} at once, as many as cores"
    return [
        figure(
            "to bare engine", ratios(empty.ours, empty.bare), "x",
            f"messages a second to those of bare containers; {size}", at_least=0.95,
        ),
        figure("to xargs", ratios(empty.ours, empty.xargs), "x", "to xargs -P docker run --rm of the same round"),
        figure("to bare engine, with work", ratios(working.ours, working.bare), "x", work),
        figure("to xargs, with work", ratios(working.ours, working.xargs), "x", work),
        figure("executions a message", empty.executions, "x", "those that found nothing included", goal=1.0),
        figure("ours", empty.ours, "1/s", "first look at the queue to the last removal, by the engine's clock"),
        figure("bare engine", empty.bare, "1/s", "create, start, wait, remove by API; the daemon's own settings"),
        figure("xargs", empty.xargs, "1/s", "the docker command, the same worker and limits"),
        figure("processes, to bare", ratios(local.ours, local.bare), "x", f"executor process; {lanes}"),
        figure("processes, ours", local.ours, "1/s", "first look at the queue to the last end recorded"),
        figure("processes, bare", local.bare, "1/s", "spawn and wait; no shim, no record, no log"),
    ]  # fmt: skip
