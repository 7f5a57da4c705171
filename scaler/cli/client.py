"""A small synchronous HTTP client over the daemon's unix socket.

Standard library only: a command shall answer in the time that Python takes to start.
"""

from __future__ import annotations

import difflib
import http.client
import json
import os
import pwd
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from scaler.api.address import socket_address, socket_path, standby_path
from scaler.errors import ConfigError, DaemonUnreachable, ScalerError

API_VERSION = "2025-07-01"
ARM_JOBS = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.App/jobs"
)
"""The daemon answers to any subscription and group; the CLI always names these."""

CONNECT_S = 5.0
STANDBY_S = 1.0
"""How long a standby may take to say that it is there."""
ANSWER_S = 30.0
"""How long one answer may take; a log that is followed has no such limit."""


class RequestFailed(ScalerError):
    """The daemon refused a request.

    Attributes:
        status: the HTTP status.
        code: the word of the error body.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.exit_code = 2 if status == 400 else 1


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(
        self, path: Path, *, connect_s: float = CONNECT_S, answer_s: float | None = ANSWER_S
    ) -> None:
        super().__init__("localhost", timeout=connect_s)
        self._path = path
        self._answer_s = answer_s

    def connect(self) -> None:
        """Connect within the time, then wait for answers as long as allowed."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with socket_address(self._path) as address:
            self.sock.connect(address)
        self.sock.settimeout(self._answer_s)


def _user() -> str:
    """Name the user as the system knows it; its number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _segment(text: str) -> str:
    if not text:
        raise ConfigError("got an empty name; name a job or an execution")
    return quote(text, safe="")


def _error(status: int, raw: bytes) -> RequestFailed:
    try:
        error = json.loads(raw)["error"]
        return RequestFailed(status, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return RequestFailed(status, "UnexpectedAnswer", f"the daemon answered with status {status}")


class Client:
    """Asks the daemon on a state directory.

    Every method raises `DaemonUnreachable` when none answers, and `RequestFailed` when it refuses.
    """

    def __init__(self, state_dir: Path, *, connect_s: float = CONNECT_S, answer_s: float = ANSWER_S) -> None:
        self._state_dir = state_dir
        self._connect_s = connect_s
        self._answer_s = answer_s

    def _unreachable(self, why: str) -> DaemonUnreachable:
        standby = self._standby()
        if standby is not None:
            return DaemonUnreachable(f"no daemon answers in '{self._state_dir}' ({why}), but {standby}")
        return DaemonUnreachable(
            f"no daemon answers in '{self._state_dir}' ({why}); start one with "
            f"'scaler run PATH --state-dir {self._state_dir}', or name another by --state-dir"
        )

    def _standby(self) -> str | None:
        """Say whether a standby waits on the state directory."""
        path = standby_path(self._state_dir)
        connection = UnixConnection(path, connect_s=STANDBY_S, answer_s=STANDBY_S)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException, ScalerError):
            return None
        finally:
            connection.close()
        return "a standby waits there and takes over when the former daemon is gone; try again in a moment"

    def _open(
        self, method: str, target: str, body: object, answer_s: float | None
    ) -> tuple[UnixConnection, http.client.HTTPResponse]:
        path = socket_path(self._state_dir)
        connection = UnixConnection(path, connect_s=self._connect_s, answer_s=answer_s)
        headers = {"Accept": "application/json", "Scaler-Caller": f"cli:{_user()}"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, target, body=data, headers=headers)
            return connection, connection.getresponse()
        except TimeoutError as exc:
            connection.close()
            raise self._unreachable("it takes too long to answer") from exc
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
            raise self._unreachable(reason) from exc

    def fetch(self, method: str, target: str, body: object = None, *, accept: int = 400) -> Any:
        """Make one request and give the JSON of its answer; statuses from `accept` on are errors."""
        connection, response = self._open(method, target, body, self._answer_s)
        try:
            raw = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise self._unreachable(f"its answer broke off: {type(exc).__name__}") from exc
        finally:
            connection.close()
        if response.status >= accept:
            raise _error(response.status, raw)
        return json.loads(raw) if raw else None

    def _arm(self, *segments: str, **query: str) -> str:
        path = "/".join([ARM_JOBS, *map(_segment, segments)])
        return f"{path}?{urlencode({'api-version': API_VERSION, **query})}"

    def _pages(self, target: str) -> Iterator[Any]:
        while target:
            page = self.fetch("GET", target)
            yield from page["value"]
            link = urlsplit(page.get("nextLink") or "")
            target = f"{link.path}?{link.query}" if link.path else ""

    def health(self) -> Any:
        """Give the health body, whether good or bad."""
        return self.fetch("GET", "/scaler/health", accept=504)

    def inspection(self) -> Any:
        """Give which promises records and executors break."""
        return self.fetch("GET", "/scaler/inspection")

    def live_jobs(self) -> list[Any]:
        """List all jobs as they live now."""
        return list(self.fetch("GET", "/scaler/jobs")["value"])

    def jobs(self) -> list[Any]:
        """List all jobs as ARM resources."""
        return list(self._pages(self._arm()))

    def _about_job(self, job: str, method: str, target: str, body: object = None) -> Any:
        try:
            return self.fetch(method, target, body)
        except RequestFailed as exc:
            raise self._better(exc, job) from exc

    def _better(self, exc: RequestFailed, job: str) -> RequestFailed:
        """Say which job was meant, if it is the job that doesn't exist."""
        if exc.status != 404 or exc.code != "ResourceNotFound":
            return exc
        names = [str(item["name"]) for item in self.live_jobs()]
        if job.lower() in names:
            return exc
        near = difflib.get_close_matches(job.lower(), names, n=1)
        if near:
            hint = f"did you mean '{near[0]}'?"
        else:
            hint = f"there are: {', '.join(names)}" if names else "the daemon has no jobs"
        faults = self.health()["fileFaults"]
        broken = f"; faults of files keep jobs away: {faults[0]}" if faults and not near else ""
        return RequestFailed(404, exc.code, f"no job '{job}'; {hint}{broken}")

    def job(self, job: str) -> Any:
        """Give one job as an ARM resource."""
        return self._about_job(job, "GET", self._arm(job))

    def live_job(self, job: str) -> Any:
        """Give one job as it lives now."""
        return self._about_job(job, "GET", f"/scaler/jobs/{_segment(job)}")

    def reset(self, job: str) -> Any:
        """Forget a job's failures; gives the job as it lives then."""
        return self._about_job(job, "POST", f"/scaler/jobs/{_segment(job)}/reset")

    def start(self, job: str, template: object = None) -> Any:
        """Start one execution; gives its id and name."""
        return self._about_job(job, "POST", self._arm(job, "start"), template)

    def suspend(self, job: str) -> Any:
        """Let nothing of a job start; gives the job as an ARM resource."""
        return self._about_job(job, "POST", self._arm(job, "suspend"))

    def resume(self, job: str) -> Any:
        """Let a job start executions again; gives the job as an ARM resource."""
        return self._about_job(job, "POST", self._arm(job, "resume"))

    def drain(self, timeout_s: int | None) -> Any:
        """Let the daemon start nothing more and end when nothing runs; gives the health body."""
        query = "" if timeout_s is None else f"?timeout={timeout_s}"
        return self.fetch("POST", f"/scaler/drain{query}", accept=504)

    def executions(self, job: str | None, *, limit: int | None = None, **query: str) -> list[Any]:
        """List executions of a job or of all, newest first: all that fit the query, or the first `limit`."""
        asked = query | ({} if job is None else {"job": job})
        size = {} if limit is None else {"limit": str(min(limit, 1000))}
        if job == "":
            raise ConfigError("got an empty name; name a job or an execution")
        try:
            return list(islice(self._pages(f"/scaler/executions?{urlencode(asked | size)}"), limit))
        except RequestFailed as exc:
            raise self._better(exc, job or "") from exc

    def execution(self, job: str, execution: str) -> Any:
        """Give one execution."""
        return self._about_job(job, "GET", self._arm(job, "executions", execution))

    def stop(self, job: str, execution: str) -> Any:
        """Ask one execution to stop."""
        return self._about_job(job, "POST", self._arm(job, "executions", execution, "stop"))

    def stop_all(self, job: str) -> list[Any]:
        """Ask all executions of a job to stop that have not ended; gives them."""
        return list(self._about_job(job, "POST", self._arm(job, "stop"))["value"])

    def decisions(self, job: str, limit: int) -> list[Any]:
        """List a job's latest decisions, newest first."""
        target = f"/scaler/jobs/{_segment(job)}/decisions?limit={limit}"
        return list(self._about_job(job, "GET", target)["value"])

    def audit(self, *, limit: int | None, **query: str) -> Iterator[Any]:
        """List what was done and by whom, newest first: all, or the first `limit`."""
        size = {} if limit is None else {"limit": str(min(limit, 1000))}
        target = f"/scaler/audit?{urlencode(query | size)}"
        return islice(self._pages(target), limit)

    def counts(self, job: str) -> Any:
        """Give the number of a job's executions by status."""
        return self._about_job(job, "GET", f"/scaler/jobs/{_segment(job)}/counts")

    def logs(
        self, job: str, execution: str, *, tail: int | None, follow: bool, **query: str
    ) -> Iterator[bytes]:
        """Give pieces of the log as they come.

        Raises:
            ScalerError: the stream broke off before its end.
        """
        asked = {"follow": "true" if follow else "false"} | ({} if tail is None else {"tail": str(tail)})
        place = f"/scaler/jobs/{_segment(job)}/executions/{_segment(execution)}/logs"
        answer_s = None if follow else self._answer_s
        return self._text(job, execution, f"{place}?{urlencode(asked | query)}", answer_s)

    def job_logs(self, job: str, **query: str) -> Iterator[bytes]:
        """Give pieces of what is found in a job's logs, as they come; raises as `logs` does."""
        target = f"/scaler/jobs/{_segment(job)}/logs?{urlencode(query)}"
        return self._text(job, job, target, None)

    def _text(self, job: str, name: str, target: str, answer_s: float | None) -> Iterator[bytes]:
        connection, response = self._open("GET", target, None, answer_s)
        try:
            if response.status >= 400:
                raise self._better(_error(response.status, response.read()), job)
            while piece := response.read1(65536):
                yield piece
        except (OSError, http.client.HTTPException) as exc:
            raise ScalerError(f"the log of '{name}' broke off; the daemon's log may say why") from exc
        finally:
            connection.close()
