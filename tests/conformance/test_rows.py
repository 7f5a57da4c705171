"""Every sentence of the reference, proven; and the table that people read is the one that is proven."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance import rows_executions, rows_job, rows_pods, rows_template, rows_trigger
from tests.conformance.page import PAGE, page
from tests.conformance.place import Place
from tests.conformance.table import ROWS, Row, Verdict

MODULES = (rows_job, rows_trigger, rows_template, rows_pods, rows_executions)
ROOT = Path(__file__).parents[2]


def _cases(*, on_executors: bool) -> list[object]:
    cases: list[object] = []
    for number, one in enumerate(ROWS):
        if one.check is None or bool(one.executors) is not on_executors:
            continue
        name = f"{one.section}-{number}-{one.check.__name__}"
        if not on_executors:
            cases.append(pytest.param(one, id=name))
        cases += [pytest.param(one, executor, id=f"{name}-{executor}") for executor in one.executors]
    return cases


@pytest.mark.parametrize("one", _cases(on_executors=False))
def test_a_sentence_holds(one: Row) -> None:
    assert one.check is not None
    one.check()


@pytest.mark.parametrize(("one", "executor"), _cases(on_executors=True))
def test_a_sentence_holds_on_an_executor(one: Row, executor: str, place_of: Callable[[str], Place]) -> None:
    assert one.check is not None
    one.check(place_of(executor))


@pytest.mark.parametrize("one", [pytest.param(r, id=r.why) for r in ROWS if r.verdict is Verdict.ELSEWHERE])
def test_a_sentence_that_is_proven_elsewhere_names_a_test_that_is_there(one: Row) -> None:
    place, name = one.why.split("::")
    assert f"def {name}(" in (ROOT / place).read_text()


def test_no_sentence_stands_twice_and_each_says_why_it_is_not_the_same() -> None:
    sentences = [(one.section, one.sentence) for one in ROWS]
    assert len(sentences) == len(set(sentences))
    assert [one.sentence for one in ROWS if one.verdict is not Verdict.SAME and not one.why] == []
    there = {one.stem for one in Path(__file__).parent.glob("rows_*.py")}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == there


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == page(), "renew it by `make schema`"
