"""Gives tests on real services a second try, says so, and bounds how many may need it.

Brokers, engines and daemons of a run share two slow cores. What fails by that once passes the second time; what
fails twice is a fault. A second try is never silent: each is listed at the end with its first failure, and more
than a few turn the run red, so that a race cannot hide behind it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

MOST = 5
"""Tests of one run that may need their second try."""

ON_REAL_SERVICES = frozenset(
    {"compose", "conformance", "e2e", "executors", "faults", "guard", "infra", "load", "scalers"}
)
"""Folders of tests that run brokers, engines or daemons."""

_TESTS = Path(__file__).resolve().parents[1]


def is_on_real_services(path: Path) -> bool:
    """Tell whether a test file stands in one of those folders."""
    return path.is_relative_to(_TESTS) and path.relative_to(_TESTS).parts[0] in ON_REAL_SERVICES


def too_many(second_tries: int) -> bool:
    """Tell whether so many second tries turn a run red."""
    return second_tries > MOST


class SecondTry:
    """The pytest plugin: marks the tests, counts the second tries, and lists them."""

    def __init__(self) -> None:
        self._tried: list[str] = []

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark what may be tried twice."""
        for item in items:
            if is_on_real_services(item.path):
                item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a first try that failed."""
        if report.outcome == "rerun":  # type: ignore[comparison-overlap]
            self._tried.append(f"{report.nodeid}\n{report.longreprtext}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run when too many needed a second try."""
        if too_many(len(self._tried)) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests were tried twice, and how their first try failed."""
        terminalreporter.write_line(f"second tries: {len(self._tried)}, at most {MOST}")
        for text in self._tried:
            terminalreporter.write_line(f"tried twice: {text}", yellow=True)
