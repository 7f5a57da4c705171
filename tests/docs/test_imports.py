"""Each import contract catches what it was made for: broken on purpose in a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from scaler.plugins import EXECUTORS, SCALERS
from tests.docs.tree import PACKAGES, ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["name"].split(":")[0]: contract for contract in SETTINGS["contracts"]}

LAYERS = "layers"
CASES = [
    ("scaler/errors.py", "import scaler.model.job", LAYERS),
    ("scaler/model/job.py", "import scaler.planning.plan", LAYERS),
    ("scaler/planning/plan.py", "import scaler.ports.clock", LAYERS),
    ("scaler/ports/clock.py", "import scaler.plugins", LAYERS),
    ("scaler/plugins.py", "import scaler.wire.base", LAYERS),
    ("scaler/wire/base.py", "import scaler.config.load", LAYERS),
    ("scaler/config/load.py", "import scaler.store.sqlite", LAYERS),
    ("scaler/store/sqlite.py", "import scaler.engine.clock", LAYERS),
    ("scaler/engine/ticker.py", "import scaler.api.app", LAYERS),
    ("scaler/api/app.py", "import scaler.observability.logs", LAYERS),
    ("scaler/api/app.py", "import scaler.daemon", LAYERS),
    ("scaler/daemon.py", "import scaler.cli.main", LAYERS),
    ("scaler/preview.py", "import scaler.daemon", LAYERS),
    ("scaler/simulation/run.py", "import scaler.daemon", LAYERS),
    ("scaler/bounds.py", "import scaler.simulation.run", LAYERS),
    ("scaler/trace/read.py", "import scaler.engine.clock", LAYERS),
    ("scaler/model/sample.py", "import asyncio", "deciders"),
    ("scaler/planning/advance.py", "import random", "deciders"),
    ("scaler/planning/strategies.py", "import pydantic", "deciders"),
    ("scaler/engine/ticker.py", "import scaler.config.load", "engine"),
    ("scaler/engine/ticker.py", "import scaler.plugins", "engine"),
    ("scaler/cli/render.py", "import scaler.store.sqlite", "store"),
    ("scaler/daemon.py", "import scaler.scalers.rabbitmq", "plugins"),
    ("scaler/daemon.py", "import executors.docker", "plugins"),
    ("scaler/scalers/rabbitmq.py", "import scaler.scalers.azure_queue", "scalers"),
    ("executors/docker.py", "import executors.process", "executors, apart"),
    ("executors/process.py", "import scaler.wire.base", "executors"),
    ("scaler/engine/crew.py", "import aiodocker", "SDKs of containers"),
    ("scaler/wire/base.py", "import azure.core", "SDKs of sources"),
    ("scaler/devbroker/sas.py", "import scaler.errors", "development broker"),
    ("scaler/engine/crew.py", "import scaler.devbroker.sas", "development broker, in use"),
    ("scaler/daemon.py", "import scaler.testing.fake_queue", "fakes and suites"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the contracts speak of."""
    root = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture
def broken(copy: Path, request: pytest.FixtureRequest) -> Iterator[set[str]]:
    """The names of the contracts that one bad import breaks."""
    file, statement = request.param
    path = copy / file
    good = path.read_text()
    path.write_text(f"{good}\n{statement}\n")
    yield verdicts(copy)["BROKEN"]
    path.write_text(good)


def verdicts(root: Path) -> dict[str, set[str]]:
    """Check the copy; names of contracts by verdict."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    env = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=60)
    found: dict[str, set[str]] = {"KEPT": set(), "BROKEN": set()}
    for name, verdict in re.findall(r"^([\w', ]+): .* (KEPT|BROKEN)", done.stdout, re.MULTILINE):
        found[verdict].add(name)
    assert found["KEPT"] | found["BROKEN"] == set(CONTRACTS), done.stdout + done.stderr
    return found


@pytest.mark.parametrize(
    ("broken", "name"),
    [((file, statement), name) for file, statement, name in CASES],
    ids=[f"{file}-{statement.split()[1]}" for file, statement, _name in CASES],
    indirect=["broken"],
)
def test_a_bad_import_breaks_its_contract(broken: set[str], name: str) -> None:
    assert name in broken


def test_every_contract_is_broken_once() -> None:
    assert {name for _file, _statement, name in CASES} == set(CONTRACTS)


def test_every_plugin_is_kept_apart_from_the_others() -> None:
    """The contracts name plugins that exist; this holds for those, too, that were not written into them yet."""
    scalers = [f"scaler.scalers.{name.replace('-', '_')}" for name in SCALERS.known()]
    executors = [f"executors.{name.replace('-', '_')}" for name in EXECUTORS.known()]
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    importers = {name: graph.find_modules_that_directly_import(name) for name in [*scalers, *executors]}
    assert {name: found for name, found in importers.items() if found} == {}
    assert set(CONTRACTS["scalers"]["modules"]) <= set(scalers)
    assert set(CONTRACTS["executors, apart"]["modules"]) == set(executors)
