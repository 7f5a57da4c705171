"""A Docker engine: the one that is there, else our own `dockerd`, which is left running for the next test run.

A second, disposable engine exists for tests that stop and restart it under load. It shares the network
namespace with the first and therefore gets a bridge of its own: with `--bridge=none` it would delete the
bridge of the first engine. Its containers use the host network.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker  # type: ignore[import-untyped]
import requests
from docker.errors import DockerException  # type: ignore[import-untyped]

from tests.infra.choose import Broken, Unavailable, Way, obtain
from tests.infra.host import DOWN
from tests.infra.install import debian_package
from tests.infra.paths import cache_dir, locked
from tests.infra.process import is_alive, tail, wait_until

DEFAULT_SOCKET = Path("/var/run/docker.sock")
_ADD_BRIDGE = 0x89A0  # SIOCBRADDBR of linux/sockios.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerd:
    """Where one `dockerd` of ours keeps its things, and the bridge it uses (None: docker0)."""

    name: str
    socket: Path
    exec_root: Path
    bridge: str | None = None
    live_restore: bool = False

    @property
    def data_root(self) -> Path:
        """Images and containers."""
        return cache_dir() / self.name

    @property
    def pid_file(self) -> Path:
        """Written by the daemon; left behind by a killed one."""
        return cache_dir() / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """Everything the daemon prints."""
        return cache_dir() / f"{self.name}.log"

    def command(self) -> list[str]:
        """Return the daemon's command line."""
        line = ["dockerd", "--host", f"unix://{self.socket}", "--pidfile", str(self.pid_file)]
        line += ["--data-root", str(self.data_root), "--exec-root", str(self.exec_root)]
        if self.bridge is not None:
            line += ["--bridge", self.bridge, "--iptables=false", "--ip6tables=false", "--ip-masq=false"]
        if self.live_restore:
            line += ["--live-restore"]
        return line

    def pid(self) -> int | None:
        """Return the process id of the living daemon, or None."""
        return _living(self.pid_file, "dockerd")


MAIN = Dockerd(name="docker", socket=DEFAULT_SOCKET, exec_root=Path("/var/run/docker"))
SPARE = Dockerd(
    name="docker-spare",
    socket=Path("/var/run/scaler-test-docker.sock"),
    exec_root=Path("/var/run/scaler-test-docker"),
    bridge="scalertest0",
)


class Engine:
    """One Docker engine at `url` (the form of DOCKER_HOST); `own` tells how it is started if it is ours."""

    def __init__(self, url: str, *, own: Dockerd | None = None) -> None:
        self.url = url
        self._own = own

    @property
    def is_ours(self) -> bool:
        """Whether the engine may be stopped and restarted by tests."""
        return self._own is not None

    @contextlib.contextmanager
    def client(self, *, timeout_s: float = 60.0) -> Iterator[docker.DockerClient]:
        """Yield a new client with the API version agreed, and close it."""
        client = docker.DockerClient(base_url=self.url, version="auto", timeout=timeout_s)
        try:
            yield client
        finally:
            client.close()

    def answers(self) -> bool:
        """Tell whether the engine answers a ping within 2 seconds."""
        try:
            with self.client(timeout_s=2.0) as client:
                return bool(client.ping())
        except (DockerException, requests.RequestException):
            return False

    def start(self) -> None:
        """Start the daemon as a session of its own, so that it outlives the test run; no-op when it answers."""
        own = self._must_own()
        with locked(own.name):
            if not self.answers():
                _forget_the_dead(own)
                if own.pid() is None:
                    _spawn(own)
                self.wait_ready()
        DOWN.discard(self)

    def wait_ready(self, *, timeout_s: float = 40.0) -> None:
        """Block until the engine answers; raise `Broken` with the end of its log otherwise."""
        try:
            wait_until(self.answers, timeout_s=timeout_s, what=f"Docker engine {self.url}", interval_s=0.05)
        except Broken as exc:
            raise Broken(f"{exc}\n{tail(self._own.log) if self._own else ''}") from exc

    def stop(self) -> None:
        """End the daemon politely (SIGTERM); it stops its containers, unless it was told to keep them."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the daemon at once (SIGKILL); its containers run on until the next start."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        """Stop or kill the daemon and start it again; returns when it answers."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the daemon still (SIGSTOP) while the block runs: it takes connections and answers nothing."""
        pid = self._must_own().pid()
        if pid is None:
            raise Broken(f"the engine at {self.url} does not run")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        own = self._must_own()
        DOWN.add(self)
        pid = own.pid()
        if pid is not None:
            os.kill(pid, number)
            wait_until(lambda: own.pid() is None, timeout_s=30, what=f"end of dockerd {pid}", interval_s=0.02)

    def _must_own(self) -> Dockerd:
        if self._own is None:
            raise Unavailable(f"the engine at {self.url} is not ours to start or stop")
        return self._own


def running_engine() -> Engine | None:
    """Return an engine that already answers, without starting one."""
    url = os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
    engine = Engine(url, own=None if MAIN.pid() is None or "DOCKER_HOST" in os.environ else MAIN)
    return engine if engine.answers() else None


def docker_engine() -> Engine:
    """Return the engine for tests: DOCKER_HOST, the usual socket, or our own `dockerd`."""
    return obtain(
        "docker",
        [
            Way(name="DOCKER_HOST", attempt=_from_environment),
            Way(name=str(DEFAULT_SOCKET), attempt=_from_socket),
            Way(name="dockerd", attempt=lambda: _of_ours(MAIN)),
        ],
    )


def spare_engine() -> Engine:
    """Return the engine that tests may stop and restart; the caller stops it at the end."""
    return obtain("docker", [Way(name="second dockerd", attempt=lambda: _of_ours(SPARE))])


def remove_all(engine: Engine) -> None:
    """Remove every container of an engine that belongs to tests alone."""
    if not engine.is_ours:
        raise Unavailable(f"the engine at {engine.url} is not ours to clean")
    with engine.client() as client:
        for container in client.containers.list(all=True, ignore_removed=True):
            container.remove(force=True, v=True)


def _from_environment() -> Engine:
    url = os.environ.get("DOCKER_HOST")
    if not url:
        raise Unavailable("not set")
    engine = Engine(url)
    if not engine.answers():
        raise Broken(f"DOCKER_HOST={url}: no Docker engine answers; start it or unset the variable")
    return engine


def _from_socket() -> Engine:
    engine = running_engine()
    if engine is None:
        raise Unavailable("no engine answers")
    return engine


def _of_ours(own: Dockerd) -> Engine:
    if os.geteuid() != 0:
        raise Unavailable("only root can start dockerd")
    if shutil.which("dockerd") is None:
        debian_package("docker.io", "dockerd")
    engine = Engine(f"unix://{own.socket}", own=own)
    engine.start()
    return engine


def _spawn(own: Dockerd) -> None:
    if own.bridge is not None:
        _make_bridge(own.bridge)
    with own.log.open("ab") as out:
        daemon = subprocess.Popen(
            own.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", start_new_session=True
        )
    daemon.returncode = 0  # it is meant to outlive us: nobody waits for it, and Popen must not warn


def _make_bridge(name: str) -> None:
    if not Path(f"/sys/class/net/{name}").exists():
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, _ADD_BRIDGE, name.encode() + b"\0")


def _forget_the_dead(own: Dockerd) -> None:
    """Clear what a killed dockerd, or a machine that is gone, left: dockerd trusts any pid that exists.

    Its containerd is ended too: it dies with its parent, but maybe only after the next daemon relied on it.
    """
    runtime = own.exec_root / "containerd" / "containerd.pid"
    if own.pid() is None:
        own.pid_file.unlink(missing_ok=True)
        orphan = _living(runtime, "containerd")
        if orphan is not None:
            os.kill(orphan, signal.SIGKILL)
            wait_until(lambda: not is_alive(orphan, "containerd"), timeout_s=10, what="end of containerd")
        runtime.unlink(missing_ok=True)


def _living(pid_file: Path, program: str) -> int | None:
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if is_alive(pid, program) else None
