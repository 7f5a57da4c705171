"""The command line of the inner benches: `python -m tests.bench [NAME...] [--repeat N] [--quick] [-o json]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from scaler.bench import report
from scaler.bench.report import Figure
from scaler.bench.stage import Options
from tests.bench import adopt, history, rules, store, ticks
from tests.infra.choose import Broken, Unavailable

BENCHES: dict[str, Callable[[Options], Coroutine[Any, Any, Sequence[Figure]]]] = {
    "ticks": ticks.run,
    "rules": rules.run,
    "store": store.run,
    "history": history.run,
    "adopt": adopt.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benches, or all; 1 if one could not be run, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--repeat", type=int, default=1, help="repetitions, baseline and product in turn")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench '{unknown[0]}'; there are {', '.join(BENCHES)}")
    options = Options(repeat=max(1, given.repeat), quick=given.quick, say=_say)
    found: dict[str, Sequence[Figure]] = {}
    failed = False
    for name in given.names or BENCHES:
        try:
            found[name] = asyncio.run(BENCHES[name](options))
        except (Unavailable, Broken, pytest.skip.Exception, pytest.fail.Exception) as exc:
            _say(f"{name}: not run: {exc}")
            failed = True
            continue
        if given.output == "table":
            print(report.table(name, found[name]), flush=True)
    if given.output == "json":
        print(json.dumps(report.body({}, found), indent=2))
    return int(failed)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
