"""What the engine tells of containers, with the moment by its own clock: the same for ours and for bare ones."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import urlencode

from scaler.rig.bare_engine import engine_socket
from scaler.rig.daemon import RigError

_CONNECT_S: Final = 10.0
_ALREADY_S: Final = 2  # what happened while the stream was being opened is told from the engine's memory
_NANO: Final = 1e-9
_LOOK_S: Final = 0.01


class EngineEvents:
    """Follows the containers that bear a label (`name=value`) for as long as the context is open."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._told: list[Mapping[str, Any]] = []
        self._connection = _Connection(engine_socket())
        self._reader = threading.Thread(target=self._read, name="engine-events", daemon=True)
        self._response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Self:
        filters = json.dumps({"label": [self._label], "type": ["container"]})
        query = urlencode({"filters": filters, "since": int(time.time()) - _ALREADY_S})
        try:
            self._connection.request("GET", f"/events?{query}")
            self._response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as exc:
            raise RigError(f"the engine tells no events: {exc}") from exc
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()

    def moments(self, action: str) -> dict[str, float]:
        """Give when each container (by name) did what `action` says (`start`, `destroy` …), seconds since 1970."""
        return {
            event["Actor"]["Attributes"]["name"]: event["timeNano"] * _NANO
            for event in tuple(self._told)
            if event["Action"] == action
        }

    def are_gone(self, at_least: int) -> bool:
        """Whether so many containers or more were made, and all of them are removed."""
        gone, made = self.moments("destroy"), self.moments("create")
        return len(made) >= at_least and made.keys() <= gone.keys()

    def next_start(self, known: Container[str], timeout_s: float) -> tuple[str, float]:
        """Wait until a container has started that is not known yet; give its name and the moment.

        Raises:
            RigError: none did in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for name, moment in self.moments("start").items():
                if name not in known:
                    return name, moment
            time.sleep(_LOOK_S)
        raise RigError(f"no container started within {timeout_s:g} s")

    def _read(self) -> None:
        assert self._response is not None
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self._response.readline():
                if line.strip():
                    self._told.append(json.loads(line))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=_CONNECT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        self.sock.settimeout(None)
