"""One connection to a storage account's queue service, shared by all rules that name it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from scaler.errors import PollError
from scaler.ports.scaler import NoteRequest
from scaler.scalers._azure_errors import QUIET, error_code
from scaler.scalers._azure_identity import open_credential
from scaler.scalers._azure_strings import StorageAccount

T = TypeVar("T")

OLDER_VERSION: Final = "2025-11-05"
"""Version of the storage API that Azurite 3.35 knows; the SDK asks for newer ones by itself."""

_TOO_OLD: Final = (
    f"the storage service refuses API version {OLDER_VERSION}; use a newer emulator, or start Azurite with "
    "--skipApiVersionCheck"
)


class ApiVersion:
    """Which version of the storage API the account is asked in. The SDK's own until the account refuses it.

    It is the SDK's `raw_request_hook`, which runs for each request before it is signed.
    """

    def __init__(self) -> None:
        self.older: str | None = None

    def __call__(self, request: Any) -> None:
        if self.older is not None:
            request.http_request.headers["x-ms-version"] = self.older


class StorageSession:
    """A queue service client and the API version that was found to work with its account."""

    def __init__(self, client: QueueServiceClient, version: ApiVersion) -> None:
        self._client = client
        self._version = version

    def queue(self, name: str) -> QueueClient:
        """Give a client of one queue on the shared connection; it must not be closed."""
        return self._client.get_queue_client(name)

    async def ask(self, request: Callable[[], Awaitable[T]], note: NoteRequest) -> T:
        """Send a request; if the account does not know our API version, send it once more in an older one."""
        asked_in = self._version.older
        await note()
        try:
            return await request()
        except HttpResponseError as exc:
            if not _is_version_refused(exc):
                raise
            if asked_in is not None:
                raise PollError(_TOO_OLD, reason="ApiVersionRefused", transient=False) from exc
        self._version.older = OLDER_VERSION
        return await self.ask(request, note)


def _is_version_refused(exc: HttpResponseError) -> bool:
    if exc.status_code != 400 or exc.response is None:
        return False
    text = f"{exc.message} {getattr(exc, 'additional_info', '')}".lower()
    return error_code(exc) == "InvalidHeaderValue" and ("x-ms-version" in text or "api version" in text)


@asynccontextmanager
async def open_storage(
    account: StorageAccount, identity: str | None, timeout_s: float
) -> AsyncIterator[StorageSession]:
    """Open the connection; nothing is sent yet.

    Args:
        account: where; its credentials are not used beside an identity.
        identity: `system` or an id, or None to use the account's key or SAS.
        timeout_s: limit of connecting and of reading, seconds.
    """
    async with AsyncExitStack() as stack:
        credential: AzureNamedKeyCredential | AzureSasCredential | AsyncTokenCredential
        if identity is not None:
            credential = await stack.enter_async_context(open_credential(identity))
        elif account.key:
            credential = AzureNamedKeyCredential(account.name, account.key)
        else:
            credential = AzureSasCredential(account.sas)
        version = ApiVersion()
        client = QueueServiceClient(
            account.url,
            credential=credential,
            raw_request_hook=version,
            retry_total=0,
            connection_timeout=timeout_s,
            read_timeout=timeout_s,
            logger=QUIET,
        )
        stack.push_async_callback(client.close)
        yield StorageSession(client, version)
