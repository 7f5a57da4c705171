"""Which benches there are, and how one after the other is run; each is imported when it is asked for."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from scaler.bench.report import Figure
from scaler.bench.stage import Options, Stage
from scaler.errors import ScalerError
from scaler.rig.daemon import Api

BENCHES: Final = {
    "baselines": "the bare engine and bare processes, without us",
    "detect": "a message written to its container started",
    "launch": "the daemon's part between decision and start",
    "drain": "a burst of messages, to the engine at its best and to xargs",
    "slow": "workers that take their message late: executions a message",
    "poison": "messages that always fail, beside good ones",
    "recovery": "kill -9 in the middle of a burst",
    "poll": "how many rules one core polls each second, and how late",
    "footprint": "memory, and the time until the daemon is ready",
    "network": "what of a container's start goes into its network",
}
"""Names, each of a module beside this one with the function `run`; in the order in which all are run."""

Bench = Callable[[Stage], Sequence[Figure]]


def run_all(
    names: Sequence[str], options: Options, connect: Callable[[Path], Api]
) -> tuple[dict[str, Sequence[Figure]], dict[str, str]]:
    """Run the benches and give the figures of those that worked, and why the others did not."""
    found: dict[str, Sequence[Figure]] = {}
    failed: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        options.say(f"{name} ({number} of {len(names)}): {BENCHES[name]}")
        bench = cast(Bench, importlib.import_module(f"scaler.bench.{name}").run)
        with tempfile.TemporaryDirectory(prefix="scaler-bench-") as folder:
            try:
                found[name] = bench(Stage(options=options, folder=Path(folder), connect=connect))
            except ScalerError as exc:
                failed[name] = str(exc)
                options.say(f"{name}: not run: {exc}")
    return found, failed
