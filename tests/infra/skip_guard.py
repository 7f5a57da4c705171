"""Keeps a skipped test from passing for a green one: under REQUIRE=all each skip must be allowed by name.

`tests/allowed_skips.txt` holds the allowed ones, a line each: a node id (`*` stands for anything), then ` # ` and
the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.choose import is_required

ALLOWED_SKIPS = Path(__file__).resolve().parents[1] / "allowed_skips.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSkip:
    """One line of the list: which tests may be skipped, and why."""

    pattern: str
    reason: str

    def covers(self, nodeid: str) -> bool:
        """Tell whether the pattern matches the whole node id; only `*` is special."""
        return re.fullmatch(".*".join(map(re.escape, self.pattern.split("*"))), nodeid) is not None


def parse_allowed(text: str) -> list[AllowedSkip]:
    """Read the list.

    Raises:
        ValueError: a line has no reason.
    """
    allowed: list[AllowedSkip] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, reason = (part.strip() for part in line.partition(" # "))
        if not reason:
            raise ValueError(
                f"{ALLOWED_SKIPS.name}:{number}: {pattern!r} has no reason; write 'node id # reason'"
            )
        allowed.append(AllowedSkip(pattern=pattern, reason=reason))
    return allowed


def not_allowed(skipped: Iterable[str], allowed: Iterable[AllowedSkip]) -> list[str]:
    """Return the skipped node ids that no line covers, sorted."""
    lines = list(allowed)
    return sorted({nodeid for nodeid in skipped if not any(line.covers(nodeid) for line in lines)})


class SkipGuard:
    """The pytest plugin: collects skips and turns the run red for those that are not allowed."""

    def __init__(self, allowed: list[AllowedSkip]) -> None:
        self._allowed = allowed
        self._skipped: list[str] = []

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skipped test; an expected failure is no skip."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.append(report.nodeid)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that skipped itself."""
        if report.skipped:
            self._skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run for skips that are not allowed."""
        if is_required("all") and self._offending() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests were skipped, and which must not be."""
        offending = self._offending() if is_required("all") else []
        terminalreporter.write_line(f"skips: {len(self._skipped)}, not allowed: {len(offending)}")
        for nodeid in offending:
            terminalreporter.write_line(
                f"REQUIRE=all: skipped and not in allowed_skips.txt: {nodeid}", red=True
            )

    def _offending(self) -> list[str]:
        return not_allowed(self._skipped, self._allowed)


def guard_skips(config: pytest.Config) -> None:
    """Register the guard with the list of this repository."""
    config.pluginmanager.register(SkipGuard(parse_allowed(ALLOWED_SKIPS.read_text())), "skip-guard")


def pytest_configure(config: pytest.Config) -> None:
    """Let this module be a plugin of its own (`-p`), as its test runs it."""
    if not config.pluginmanager.has_plugin("skip-guard"):
        guard_skips(config)
