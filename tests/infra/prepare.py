"""Installs and builds everything ahead of a test run, in parallel: `python -m tests.infra.prepare`.

Optional, since each fixture does its own part on demand; but then the first tests wait for it one after the other,
and a slow download counts as a test's time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.infra import images, install
from tests.infra.choose import Broken, Unavailable
from tests.infra.compose import docker_config, standins
from tests.infra.engine import docker_engine
from tests.infra.kafka_install import kafka_home
from tests.infra.rabbitmq import SERVER


def engine_and_images() -> None:
    """Start the engine and build the worker image."""
    images.worker_image(docker_engine())


def rabbitmq() -> None:
    """Install the broker's package."""
    install.debian_package("rabbitmq-server", SERVER)


def azurite() -> None:
    """Install the emulator."""
    install.azurite_queue()


def kafka() -> None:
    """Fetch the JARs, format a data folder and archive the classes."""
    kafka_home()


def compose() -> None:
    """Get docker compose, and build stand-ins of the images that its project names."""
    docker_config()
    standins(docker_engine())


def timed(step: Callable[[], None]) -> bool:
    """Run one step, print its time or the reason of its failure; tell whether it went well."""
    started = time.monotonic()
    try:
        step()
    except (Unavailable, Broken, pytest.fail.Exception, pytest.skip.Exception) as exc:
        print(f"{step.__name__}: {exc}", file=sys.stderr, flush=True)
        return False
    print(f"{step.__name__}: {time.monotonic() - started:.1f} s", flush=True)
    return True


def main() -> int:
    """Run all steps; the exit code is 1 if any failed."""
    with ThreadPoolExecutor() as pool:
        return 0 if all(list(pool.map(timed, (engine_and_images, rabbitmq, azurite, kafka, compose)))) else 1


if __name__ == "__main__":
    sys.exit(main())
