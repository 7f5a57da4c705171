"""Watches running containers while a test goes on: the highest number at once, and everything that was seen."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import requests
from docker.errors import DockerException  # type: ignore[import-untyped]

from tests.infra.engine import Engine


class ContainerSampler:
    """A context manager that lists the running containers with a label some 20 times a second.

    Attributes:
        peak: Highest number of running containers in one listing.
        seen: Ids of all containers ever listed.
        samples: Number of listings; a test should assert it is not tiny.
        failures: Listings the engine did not answer, as while it restarts.
    """

    def __init__(self, engine: Engine, label: str, *, interval_s: float = 0.05) -> None:
        self._engine = engine
        self._label = label
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler {label}", daemon=True)
        self.peak = 0
        self.seen: set[str] = set()
        self.samples = 0
        self.failures = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=15)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._watch()
            except (DockerException, requests.RequestException):
                self.failures += 1
                self._ended.wait(self._interval_s)

    def _watch(self) -> None:
        with self._engine.client(timeout_s=10) as client:
            while not self._ended.is_set():
                started = time.monotonic()
                ids = {row["Id"] for row in client.api.containers(filters={"label": self._label})}
                self.samples += 1
                self.peak = max(self.peak, len(ids))
                self.seen |= ids
                self._ended.wait(max(0.0, self._interval_s - (time.monotonic() - started)))
