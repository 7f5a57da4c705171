"""The wheel holds all that the program needs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from tests.docs.tree import ROOT, files

PACKAGED = ("scaler/", "executors/")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the wheel holds."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_both_packages(names: set[str]) -> None:
    tree = {str(path.relative_to(ROOT)) for path in files()}
    assert {name for name in tree if name.startswith(PACKAGED)} - names == set()
    assert {"scaler/py.typed", "executors/py.typed", "scaler/store/sql/queries.sql"} <= names


def test_the_wheel_holds_no_tests_and_no_pages(names: set[str]) -> None:
    about = {name for name in names if ".dist-info/" in name}
    assert {name for name in names - about if not name.startswith(PACKAGED)} == set()
    assert any(name.endswith("licenses/LICENSE") for name in about)
