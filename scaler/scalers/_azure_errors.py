"""Says in our words what Azure's clients report, without the parts of an answer that may hold a secret."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)

from scaler.errors import PollError
from scaler.scalers._http_errors import tls_reason

_CODE = re.compile(r"[A-Za-z]\w{2,60}")
_LACKS_RIGHT = re.compile("Authorization|InsufficientAccountPermissions")
"""How codes begin by which a service says that it knows who asks and still refuses."""
_THROTTLED = (429, 503)
_TIMEOUTS = (TimeoutError, ServiceRequestTimeoutError, ServiceResponseTimeoutError)

QUIET = logging.Logger("azure.quiet", level=logging.CRITICAL)  # noqa: LOG001 - in no tree on purpose
"""A logger in no tree, for the clients' own logging of each request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is asked, for messages.

    Attributes:
        name: the entity and its server, such as `queue 'orders' at https://…`.
        missing: what to do when it does not exist.
        rights: what to do when access is refused.
        timeout_s: the poll's limit, seconds.
    """

    name: str
    missing: str
    rights: str
    timeout_s: float

    def fault(self, text: str, *, reason: str, transient: bool) -> PollError:
        """Make the error, with the subject before the text."""
        return PollError(f"{self.name}: {text}", reason=reason, transient=transient)


@contextmanager
def azure_errors(subject: Subject) -> Iterator[None]:
    """Turn errors of azure-core and time limits into `PollError`."""
    try:
        yield
    except (AzureError, TimeoutError) as exc:
        raise explain(exc, subject) from exc


def explain(exc: AzureError | TimeoutError, subject: Subject) -> PollError:
    """Say what went wrong in our words."""
    if isinstance(exc, _TIMEOUTS):
        text = f"no answer within {subject.timeout_s:g} s"
        return subject.fault(text, reason="Timeout", transient=True)
    if isinstance(exc, ServiceRequestError) and (tls := _tls_fault(exc)) is not None:
        text = f"TLS failed: {tls_reason(tls)}; check the address, and the CAs that this machine trusts"
        return subject.fault(text, reason="TlsFailed", transient=False)
    if isinstance(exc, ServiceRequestError | ServiceResponseError):
        text = f"cannot be reached ({cause(exc)}); check the address and the network"
        return subject.fault(text, reason="Unreachable", transient=True)
    if isinstance(exc, ResourceNotFoundError):
        return subject.fault(f"does not exist; {subject.missing}", reason="EntityNotFound", transient=False)
    if isinstance(exc, HttpResponseError) and exc.status_code is not None:
        return _explain_status(exc, exc.status_code, subject)
    text = f"the answer cannot be understood ({type(exc).__name__}); is this the right address?"
    return subject.fault(text, reason="BadAnswer", transient=True)


def _explain_status(exc: HttpResponseError, status: int, subject: Subject) -> PollError:
    got = f"HTTP {status} {error_code(exc)}".rstrip()
    if status == 403 and _LACKS_RIGHT.match(error_code(exc)):
        text = f"the login works and lacks the right ({got}); {subject.rights}"
        return subject.fault(text, reason="AuthorizationFailed", transient=False)
    if status in (401, 403):
        text = f"access refused ({got}); {subject.rights}"
        return subject.fault(text, reason="AuthenticationFailed", transient=False)
    if status == 404:
        text = f"does not exist ({got}); {subject.missing}"
        return subject.fault(text, reason="EntityNotFound", transient=False)
    if status in _THROTTLED:
        text = f"too many requests ({got}); poll less often"
        return subject.fault(text, reason="Throttled", transient=True)
    if status >= 500:
        return subject.fault(f"the service failed ({got})", reason="ServiceError", transient=True)
    if status < 300:
        text = f"the answer cannot be understood ({got}); is this the right address?"
        return subject.fault(text, reason="BadAnswer", transient=True)
    text = f"the request was refused ({got}); check the names in the rule"
    return subject.fault(text, reason="BadRequest", transient=False)


def error_code(exc: HttpResponseError) -> str:
    """Give the service's own word for the fault (`QueueNotFound`), or nothing if it is not one word."""
    told = getattr(exc, "error_code", None)
    code = str(getattr(told, "value", told) or "")
    if not code and exc.response is not None:
        headers: Mapping[str, str] = getattr(exc.response, "headers", {})
        code = headers.get("x-ms-error-code") or ""
    return code if _CODE.fullmatch(code) else ""


def cause(exc: AzureError) -> str:
    """Give the system's words for a failed connection; never an address with its query."""
    inner = exc.inner_exception
    text = getattr(inner, "strerror", None) if isinstance(inner, OSError) else None
    return str(text) if text else type(inner or exc).__name__


def _tls_fault(exc: AzureError) -> BaseException | None:
    """Give the error of TLS that a failed connection comes from, if it does."""
    inner: BaseException | None = exc.inner_exception
    return inner if isinstance(inner, aiohttp.ClientSSLError | ssl.SSLError) else None
