"""Every scaler and executor has its page, and every page tells what the code tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scaler.plugins import EXECUTORS, SCALERS
from scaler.wire.metadata import describe
from tests.docs.parameter_tables import MARKS, table
from tests.docs.tree import ROOT

SCALER_PAGES = ROOT / "docs" / "scalers"
EXECUTOR_PAGES = ROOT / "docs" / "executors"
INDEX = ROOT / "docs" / "index.md"


def stems(folder: Path) -> list[str]:
    return sorted(page.stem for page in folder.glob("*.md"))


def test_every_scaler_has_a_page_and_every_page_a_scaler() -> None:
    assert stems(SCALER_PAGES) == SCALERS.known()


def test_every_executor_has_a_page_and_every_page_an_executor() -> None:
    assert stems(EXECUTOR_PAGES) == EXECUTORS.known()


@pytest.mark.parametrize("name", SCALERS.known())
def test_a_scalers_page_has_every_parameter_as_the_code_has_it(name: str) -> None:
    page = (SCALER_PAGES / f"{name}.md").read_text()
    assert page.partition(MARKS[0])[2].partition(MARKS[1])[0] == table(name)


@pytest.mark.parametrize("name", SCALERS.known())
def test_every_parameter_has_an_example_and_every_example_a_parameter(name: str) -> None:
    model = SCALERS.load(name).metadata
    assert model.examples.keys() <= model.parameters().keys()
    without = {row["parameter"] for row in describe(model) if row["example"] in ("", "(text)")}
    assert without == set()


@pytest.mark.parametrize("name", SCALERS.known())
def test_a_scalers_page_has_the_sections_that_all_have(name: str) -> None:
    titles = re.findall(r"^## (.*)$", (SCALER_PAGES / f"{name}.md").read_text(), re.MULTILINE)
    assert {"What the number means", "Parameters", "Minimal example", "Faults"} <= set(titles)
    assert any(title.startswith("Full example") for title in titles)
    assert "Differences from KEDA" in titles


@pytest.mark.parametrize("name", EXECUTORS.known())
def test_an_executors_page_has_every_setting_with_its_default(name: str) -> None:
    page = (EXECUTOR_PAGES / f"{name}.md").read_text()
    missing = [key for key in EXECUTORS.load(name).settings if f"| `{key}` |" not in page]
    assert missing == []


def test_the_index_names_every_page_or_its_folder() -> None:
    index = INDEX.read_text()
    pages = [path.relative_to(INDEX.parent) for path in INDEX.parent.rglob("*.md") if path != INDEX]
    missing = [page for page in pages if f"({page})" not in index and f"({page.parent}/)" not in index]
    assert missing == []
