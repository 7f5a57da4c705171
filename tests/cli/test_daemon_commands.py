"""`run` and `plan` hand over to composition roots; here small modules stand in for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from scaler.errors import ConfigError
from scaler.model.decision import Decision
from tests.api.fakes import make_decision
from tests.cli.conftest import run_cli


@dataclass(frozen=True, kw_only=True)
class DaemonOptions:
    paths: tuple[Path, ...]
    settings: Path | None
    state_dir: Path | None
    record: Path | None
    standby: bool = False
    drain: bool | None = None


@dataclass(frozen=True)
class Planned:
    decision: Decision


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[DaemonOptions]:
    calls: list[DaemonOptions] = []

    async def run(options: DaemonOptions) -> int:
        calls.append(options)
        return 7

    async def plan_once(paths: tuple[Path, ...], _env: Mapping[str, str]) -> tuple[Planned, ...]:
        if paths == (Path("bad.yaml"),):
            raise ConfigError("bad.yaml:1:1: name: missing; add it")
        return (Planned(make_decision()),)

    daemon, preview = ModuleType("scaler.daemon"), ModuleType("scaler.preview")
    daemon.__dict__.update(DaemonOptions=DaemonOptions, run=run)
    preview.__dict__.update(plan_once=plan_once)
    monkeypatch.setitem(sys.modules, "scaler.daemon", daemon)
    monkeypatch.setitem(sys.modules, "scaler.preview", preview)
    monkeypatch.delenv("SCALER_STATE_DIR", raising=False)
    return calls


def test_run_hands_everything_over_and_ends_as_the_daemon_does(seen: list[DaemonOptions]) -> None:
    result = run_cli("run", "a", "b.yaml", "--settings", "s.yaml", "--state-dir", "state")
    assert result.exit_code == 7
    assert run_cli("run", "a").exit_code == 7
    assert seen == [
        DaemonOptions(
            paths=(Path("a"), Path("b.yaml")), settings=Path("s.yaml"), state_dir=Path("state"), record=None
        ),
        DaemonOptions(paths=(Path("a"),), settings=None, state_dir=None, record=None),
    ]


def test_plan_says_what_would_start_and_why(seen: list[DaemonOptions]) -> None:
    assert run_cli("plan", "a").stdout == (
        "orders: would start 3 executions (Launched)\n"
        "  Rule 'queue' (azure-queue) read 25: active; at 5 per execution that is 5 executions.\n"
        "  2 executions had not ended, 1 of them without a running replica.\n"
        "  Strategy auto: ceil(25 / 5) - 2 = 3\n"
    )
    body = json.loads(run_cli("plan", "a", "-o", "json").stdout)
    assert [(entry["job"], entry["launch"], entry["rules"][0]["error"]) for entry in body] == [
        ("orders", 3, None)
    ]
    assert seen == []


def test_a_faulty_file_ends_a_plan_with_2(seen: list[DaemonOptions]) -> None:
    result = run_cli("plan", "bad.yaml")
    assert (result.exit_code, result.stderr) == (2, "Error: bad.yaml:1:1: name: missing; add it\n")
    assert seen == []
