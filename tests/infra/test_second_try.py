"""A second try is told, helps once, and cannot become a habit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.second_try import MOST, is_on_real_services, too_many

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGIN = """\
from pathlib import Path
from tests.infra import second_try
second_try.is_on_real_services = lambda path: path.name == 'test_real.py'
def pytest_configure(config):
    config.pluginmanager.register(second_try.SecondTry(), 'second-try')
"""
FAILS_ONCE = """\
import pytest
seen = set()
@pytest.mark.parametrize('n', range({count}))
def test_it(n):
    first = n not in seen
    seen.add(n)
    assert not first, 'the first time'
"""


def _run(folder: Path, plugin: str = PLUGIN) -> tuple[int, str]:
    (folder / "conftest.py").write_text(plugin)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(folder), str(folder)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout


def test_what_passes_the_second_time_is_told_with_its_first_failure(tmp_path: Path) -> None:
    (tmp_path / "test_real.py").write_text(FAILS_ONCE.format(count=1))
    code, said = _run(tmp_path)
    assert code == 0
    assert f"second tries: 1, at most {MOST}" in said
    assert "tried twice: test_real.py::test_it[0]" in said
    assert "the first time" in said


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    (tmp_path / "test_real.py").write_text("def test_it():\n    assert False\n")
    assert _run(tmp_path)[0] == 1


def test_tests_without_services_have_one_try(tmp_path: Path) -> None:
    (tmp_path / "test_pure.py").write_text(FAILS_ONCE.format(count=1))
    code, said = _run(tmp_path)
    assert (code, f"second tries: 0, at most {MOST}" in said) == (1, True)


def test_many_second_tries_turn_the_run_red(tmp_path: Path) -> None:
    (tmp_path / "test_real.py").write_text(FAILS_ONCE.format(count=2))
    assert _run(tmp_path, f"{PLUGIN}second_try.MOST = 1\n")[0] == 1
    assert (too_many(MOST), too_many(MOST + 1)) == (False, True)


@pytest.mark.parametrize(
    ("name", "real"), [("e2e/test_floods.py", True), ("planning/test_plan.py", False), ("conftest.py", False)]
)
def test_the_folder_tells_which_tests_run_on_services(name: str, real: bool) -> None:
    assert is_on_real_services(REPOSITORY / "tests" / name) is real
