"""The page of figures is the bench's own output, printed again from the JSON that lies beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaler.bench.report import page, read_body
from scaler.bench.run import BENCHES
from tests.docs.tree import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
JSON = ROOT / "docs" / "benchmarks.json"
SOAK = ROOT / "docs" / "soak.json"


def printed(path: Path) -> str:
    return page(*read_body(path.read_text(encoding="utf-8"), path.name))


def test_the_page_shows_the_recorded_run_and_nothing_else() -> None:
    assert f"\n```text\n{printed(JSON)}\n```\n" in PAGE.read_text(encoding="utf-8")


def test_the_recorded_run_is_whole() -> None:
    facts, found = read_body(JSON.read_text(encoding="utf-8"), JSON.name)
    assert list(found) == list(BENCHES)
    assert all(found.values())
    assert {"command", "begun", "machine", "system", "engine", "scaler"} <= set(facts)
    assert facts["command"].startswith("scaler bench")
    assert "--quick" not in facts["command"]


@pytest.mark.parametrize("change", ["value", "goal"])
def test_a_figure_that_is_not_the_recorded_one_is_found(change: str, tmp_path: Path) -> None:
    read: dict[str, Any] = json.loads(JSON.read_text(encoding="utf-8"))
    one = next(figure for figures in read["benches"].values() for figure in figures if figure["goal"])
    one[change] = one[change] * 2
    (tmp_path / "other.json").write_text(json.dumps(read), encoding="utf-8")
    assert printed(tmp_path / "other.json") not in PAGE.read_text(encoding="utf-8")


def test_the_page_shows_the_recorded_soak_as_it_was_judged() -> None:
    read: dict[str, Any] = json.loads(SOAK.read_text(encoding="utf-8"))
    assert (read["interrupted"], read["minutes"], read["executors"]) == (False, 30, ["process", "docker"])
    assert read["facts"]["command"].startswith("scaler soak --minutes 30")
    words = {True: "kept", False: "BROKEN", None: "not judged"}
    rows = [f"| {one['name']} | {words[one['ok']]} | {one['text']} |" for one in read["verdicts"]]
    text = PAGE.read_text(encoding="utf-8")
    assert len(rows) > 10
    assert [row for row in rows if row not in text] == []
    assert [row for row in text.splitlines() if row.startswith("| flat: ")] == [
        r for r in rows if r.startswith("| flat: ")
    ]
