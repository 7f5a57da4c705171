"""The table: one row for each sentence of the reference on the job resource and its executions.

A row is written as a test: the decorator holds the sentence and the verdict, the function proves it. A row without a
function says why nothing can be proven, or names the test that proves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

EXECUTORS = ("process", "docker")

Check = TypeVar("Check", bound=Callable[..., None])


class Verdict(StrEnum):
    """How this engine stands to a sentence."""

    SAME = "as the service"
    DIFFERS = "differs"
    NOT_YET = "not yet"
    ELSEWHERE = "proven elsewhere"
    UNSEEN = "cannot be observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sentence.

    Attributes:
        section: of the reference, `1` to `2`.
        sentence: what the service does.
        verdict: how this engine stands to it.
        why: what is different and why, or where it is proven; empty where it is the same.
        check: the proof; it takes a `Place` if the row is to hold on executors, else nothing.
        executors: on which executors the proof runs; empty where executors do not matter.
    """

    section: str
    sentence: str
    verdict: Verdict
    why: str = ""
    check: Callable[..., None] | None = None
    executors: tuple[str, ...] = ()


ROWS: list[Row] = []


def row(
    section: str,
    sentence: str,
    *,
    differs: str = "",
    not_yet: str = "",
    executors: tuple[str, ...] = (),
) -> Callable[[Check], Check]:
    """Enter a sentence that the decorated function proves; `differs` and `not_yet` say what holds instead."""
    verdict = Verdict.DIFFERS if differs else Verdict.NOT_YET if not_yet else Verdict.SAME

    def enter(check: Check) -> Check:
        ROWS.append(
            Row(
                section=section,
                sentence=sentence,
                verdict=verdict,
                why=differs or not_yet,
                check=check,
                executors=executors,
            )
        )
        return check

    return enter


def elsewhere(section: str, sentence: str, test: str) -> None:
    """Enter a sentence that a test of another folder proves: `tests/…/test_x.py::test_y`."""
    ROWS.append(Row(section=section, sentence=sentence, verdict=Verdict.ELSEWHERE, why=test))


def unseen(section: str, sentence: str, why: str) -> None:
    """Enter a sentence that nobody can observe here."""
    ROWS.append(Row(section=section, sentence=sentence, verdict=Verdict.UNSEEN, why=why))
