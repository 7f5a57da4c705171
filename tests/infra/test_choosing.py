"""The rules of absence: which way is taken, and when a missing service or a skip makes a run red."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.choose import Broken, Unavailable, Way, obtain
from tests.infra.paths import REPOSITORY
from tests.infra.skip_guard import AllowedSkip, not_allowed, parse_allowed


def closed() -> str:
    """A way that is not open."""
    raise Unavailable("closed today")


def broken() -> str:
    """A way that is open and leads nowhere."""
    raise Broken("does not serve")


def test_the_first_open_way_is_taken() -> None:
    ways = [Way(name="one", attempt=closed), Way(name="two", attempt=lambda: "served")]

    assert obtain("thing", ways) == "served"


def test_a_broken_service_is_never_replaced_by_the_next_way() -> None:
    with pytest.raises(Broken, match="does not serve"):
        obtain("thing", [Way(name="one", attempt=broken), Way(name="two", attempt=lambda: "served")])


def test_an_absent_service_is_a_skip_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE", "other")

    with pytest.raises(pytest.skip.Exception) as caught:
        obtain("thing", [Way(name="one", attempt=closed), Way(name="two", attempt=closed)])

    assert str(caught.value) == "thing is not available: one: closed today; two: closed today"


@pytest.mark.parametrize("required", ["all", "thing", "docker, thing"])
def test_an_absent_required_service_is_a_failure(monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    monkeypatch.setenv("REQUIRE", required)

    with pytest.raises(pytest.fail.Exception) as caught:
        obtain("thing", [Way(name="one", attempt=closed)])

    assert str(caught.value) == "thing is required (REQUIRE) and not available: one: closed today"


def test_only_listed_skips_are_allowed() -> None:
    allowed = parse_allowed("# comment\n\ntests/a.py::test_*[x] # not on this kernel\n")

    assert allowed == [AllowedSkip(pattern="tests/a.py::test_*[x]", reason="not on this kernel")]
    assert not_allowed(["tests/a.py::test_one[x]", "tests/a.py::test_one[y]"], allowed) == [
        "tests/a.py::test_one[y]"
    ]


def test_an_allowed_skip_needs_a_reason() -> None:
    with pytest.raises(ValueError, match=r"allowed_skips.txt:1: 'tests/a.py::test_b' has no reason"):
        parse_allowed("tests/a.py::test_b\n")


@pytest.mark.parametrize(("require", "code"), [("", 0), ("docker", 0), ("all", 1)])
def test_a_skip_that_is_not_listed_turns_the_run_red_when_all_is_required(
    tmp_path: Path, require: str, code: int
) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_a():\n    pytest.skip('tired')\n\ndef test_b():\n    assert True\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.infra.skip_guard",
        "--rootdir",
        str(tmp_path),
    ]

    run = subprocess.run(
        [*command, "-c", os.devnull, str(tmp_path)],
        env={**os.environ, "REQUIRE": require, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.returncode == code
    assert f"skips: 1, not allowed: {code}" in run.stdout
    assert ("REQUIRE=all: skipped and not in allowed_skips.txt: test_it.py::test_a" in run.stdout) is (
        code == 1
    )
