"""The one decision every service shares: which way to get it, and what its absence means.

The order is the caller's: environment, container, local process. When no way works, tests that need the
service are skipped with all reasons; `REQUIRE=all` or `REQUIRE=docker,rabbitmq` makes that a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

import pytest

T = TypeVar("T")


class Unavailable(Exception):
    """This way of getting the service is not open here; the next one may be."""


class Broken(Exception):
    """The service was pointed at or started, but does not serve. Never a reason to try something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(Generic[T]):
    """One way to get a service: its name for the reason, and the attempt, which may raise `Unavailable`."""

    name: str
    attempt: Callable[[], T]


def is_required(service: str) -> bool:
    """Tell whether `REQUIRE` names the service, or all of them."""
    wanted = {part.strip() for part in os.environ.get("REQUIRE", "").split(",")}
    return "all" in wanted or service in wanted


def obtain(service: str, ways: Sequence[Way[T]]) -> T:
    """Return the service by the first way that works; skip or fail the test when none does."""
    reasons: list[str] = []
    for way in ways:
        try:
            return way.attempt()
        except Unavailable as exc:
            reasons.append(f"{way.name}: {exc}")
    absent(service, "; ".join(reasons))


def absent(service: str, reason: str) -> NoReturn:
    """End the test for want of a service: a failure if `REQUIRE` names it, a skip otherwise."""
    if is_required(service):
        pytest.fail(f"{service} is required (REQUIRE) and not available: {reason}", pytrace=False)
    pytest.skip(f"{service} is not available: {reason}")
