"""Every broken file of the table gives exactly its faults, by line and column, and never an exception."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaler.config.load import load_paths
from tests.config.toys import EXECUTORS, SCALERS

BROKEN = Path(__file__).parent / "broken"
ENV = {"SECRET_WORD": "correct-horse-battery-staple"}


def _expected() -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for line in (BROKEN / "expected.txt").read_text().splitlines():
        table.setdefault(line.split(":")[0], []).append(line)
    return table


EXPECTED = _expected()


@pytest.mark.parametrize("name", sorted(path.name for path in BROKEN.glob("*.yaml")))
def test_a_broken_file_gives_exactly_these_lines(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    result = load_paths([name], env=ENV, scalers=SCALERS, executors=EXECUTORS)
    assert [str(fault) for fault in result.faults] == EXPECTED[name]
    assert not [fault for fault in result.faults if "\n" in str(fault)]


def test_there_are_many_different_faults() -> None:
    assert len(EXPECTED) > 100
    assert set(EXPECTED) == {path.name for path in BROKEN.glob("*.yaml")}


def test_no_secret_of_a_broken_file_is_shown() -> None:
    lines = (BROKEN / "expected.txt").read_text()
    assert "hunter2" not in lines
    assert "horse" not in lines
