"""Bench `baselines`: what the engine and the system can do without us. The other benches measure theirs anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scaler.bench.report import Figure, figure, percentile, ratios
from scaler.bench.spawn import Spawned, spawn
from scaler.bench.stage import Stage
from scaler.bench.yard import Bout, Yard, best_of, check_done, open_yard
from scaler.rig.daemon import Daemon

AT_ONCE: Final = (1, 2, 4, 8, 16)
NETWORKS: Final = ("bridge", "none", "host")
CONTAINERS: Final = 30
PROCESSES: Final = 400
STARTS: Final = 15


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs an engine."""
    with open_yard(stage) as yard:
        daemon = Daemon(yard.plan(stage.folder / "daemon"), stage.connect)
        with daemon.running():
            yard.learn(daemon)
        numbers = AT_ONCE[:2] if stage.options.quick else AT_ONCE
        processes: dict[int, list[Spawned]] = {at_once: [] for at_once in numbers}
        containers: dict[int, list[Bout]] = {at_once: [] for at_once in numbers}
        networks: dict[str, list[Bout]] = {network: [] for network in NETWORKS}
        for number in range(stage.options.repeat):
            for at_once in numbers:
                processes[at_once].append(_spawned(yard, stage.options.size(PROCESSES), at_once))
                size = stage.options.size(CONTAINERS)
                containers[at_once].append(yard.drained(size, at_once=at_once))
            for network, bouts in networks.items():
                bouts.append(_started(yard, network, stage.options.size(STARTS)))
            rates = {at_once: bouts[-1].rate for at_once, bouts in containers.items()}
            stage.options.say(
                f"baselines {number + 1}/{stage.options.repeat}: {max(rates.values()):.2f} containers/s, "
                f"{best_of(rates)} at once"
            )
    return [*_container_figures(containers), *_process_figures(processes), *_network_figures(networks)]


def _spawned(yard: Yard, total: int, at_once: int) -> Spawned:
    spool = yard.spool(total)
    spawned = yard.do(spawn(spool, total, at_once=at_once))
    check_done(spool, total)
    return spawned


def _started(yard: Yard, network: str, total: int) -> Bout:
    spool = yard.spool(total)
    return yard.bout(yard.body(spool, NetworkMode=network), total, at_once=1)


def _container_figures(found: dict[int, list[Bout]]) -> list[Figure]:
    size = len(found[1][0].lives)
    how = f"create, start, wait, remove by the engine's API as the daemon makes them; {size} of 0 s"
    best = [max(bouts[turn].rate for bouts in found.values()) for turn in range(len(found[1]))]
    figures = [
        figure("containers, best", best, "1/s", f"the best of those below; {how}"),
        *(
            figure(
                f"containers, {at_once} at once",
                [bout.rate for bout in bouts],
                "1/s",
                "the same, so many at once",
            )
            for at_once, bouts in found.items()
        ),
    ]
    for at_once in (1, best_of({one: bouts[-1].rate for one, bouts in found.items()})):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            values = [percentile(bout.starts_s, share) for bout in found[at_once]]
            title = f"container start {name}, {at_once} at once"
            figures.append(figure(title, values, "s", "from sending create to the answer of start"))
    return figures


def _process_figures(found: dict[int, list[Spawned]]) -> list[Figure]:
    size = len(found[1][0].starts_s)
    how = f"the same worker spawned and awaited, {size} of 0 s"
    figures = [
        figure(f"processes, {at_once} at once", [one.rate for one in spawned], "1/s", how)
        for at_once, spawned in found.items()
    ]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        values = [percentile(one.starts_s, share) * 1e3 for one in found[1]]
        figures.append(
            figure(f"process start {name}, 1 at once", values, "ms", "until the system has made it")
        )
    return figures


def _network_figures(found: dict[str, list[Bout]]) -> list[Figure]:
    medians = {network: [percentile(b.starts_s, 0.5) for b in bouts] for network, bouts in found.items()}
    how = f"container start p50, 1 at once, {len(found['none'][0].lives)} of them"
    return [
        *(figure(f"network {network}", values, "s", how) for network, values in medians.items()),
        figure(
            "network bridge to none", ratios(medians["bridge"], medians["none"]), "x", "what a network costs"
        ),
    ]
