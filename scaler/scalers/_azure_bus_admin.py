"""One connection to the management API of a Service Bus namespace, shared by all rules that name it.

It also bends the SDK where the world differs from Azure: emulators speak plain http on a port of their
own, and a ready SAS token must not be sent as a bearer token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from azure.core.exceptions import DecodeError
from azure.core.pipeline.transport import AioHttpTransport
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import ApiVersion

from scaler.scalers._azure_errors import QUIET
from scaler.scalers._azure_identity import open_credential
from scaler.scalers._azure_strings import BusNamespace

EMULATOR_ADMIN_PORT: Final = 5300
"""Where the official emulator serves its management API."""
_ATOM: Final = b"http://www.w3.org/2005/Atom"
_ERROR: Final = b"<Error>"


class NoAdminApi(DecodeError):
    """What answers at the address has no management API: it does not know even its paths."""


class AdminTransport(AioHttpTransport):  # type: ignore[misc]  # the SDK hands it out untyped
    """Sends what the SDK built: over plain http to an emulator, and a SAS token as the service wants it."""

    def __init__(self, *, plain_http: bool, timeout_s: float) -> None:
        super().__init__(connection_timeout=timeout_s, read_timeout=timeout_s)
        self._plain_http = plain_http

    async def send(self, request: Any, **config: Any) -> Any:
        """Send one request.

        Raises:
            DecodeError: the answer is none of the management API's.
            NoAdminApi: nothing there knows the path, not even to say in the API's words that it has no such entity.
        """
        if self._plain_http:
            request.url = request.url.replace("https://", "http://", 1)
        token = request.headers.get("Authorization", "")
        if token.startswith("Bearer SharedAccessSignature "):
            request.headers["Authorization"] = token.removeprefix("Bearer ")
        response = await super().send(request, **config)
        if response.status_code < 300 and _ATOM not in response.body():
            # The SDK would read another server's page as an empty list, so as no messages.
            raise DecodeError("not an answer of the management API", response=response)
        if response.status_code == 404 and not any(mark in response.body() for mark in (_ATOM, _ERROR)):
            raise NoAdminApi("no management API", response=response)
        return response


def admin_host(namespace: BusNamespace, admin_port: int | None) -> str:
    """Give host and port of the management API, the port only where it is not https's own."""
    if admin_port is None:
        admin_port = EMULATOR_ADMIN_PORT if namespace.is_emulator else namespace.port
    host = f"[{namespace.host}]" if ":" in namespace.host else namespace.host
    return host if admin_port is None else f"{host}:{admin_port}"


@asynccontextmanager
async def open_admin(
    namespace: BusNamespace, host: str, identity: str | None, timeout_s: float
) -> AsyncIterator[ServiceBusAdministrationClient]:
    """Open the connection; nothing is sent yet.

    Args:
        namespace: its credentials; not used beside an identity.
        host: host, and port if need be, of the management API.
        identity: `system` or an id, or None to use the namespace's key or SAS.
        timeout_s: limit of connecting and of reading, seconds.
    """
    plain = namespace.is_emulator and identity is None
    # The counts are the same in the newest version, which emulators need not know.
    options: dict[str, Any] = {
        "transport": AdminTransport(plain_http=plain, timeout_s=timeout_s),
        "retry_total": 0,
        "logger": QUIET,
        "api_version": ApiVersion.V2021_05,
    }
    async with AsyncExitStack() as stack:
        if identity is not None:
            credential = await stack.enter_async_context(open_credential(identity))
            client = ServiceBusAdministrationClient(host, credential, **options)
        else:
            client = ServiceBusAdministrationClient.from_connection_string(
                _connection_string(namespace, host), **options
            )
        yield await stack.enter_async_context(client)


def _connection_string(namespace: BusNamespace, host: str) -> str:
    if namespace.sas:
        return f"Endpoint=sb://{host};SharedAccessSignature={namespace.sas}"
    key = f"SharedAccessKeyName={namespace.key_name};SharedAccessKey={namespace.key}"
    return f"Endpoint=sb://{host};{key}"
