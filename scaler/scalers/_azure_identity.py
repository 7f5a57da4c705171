"""Makes the credential of a rule's `identity`. Imports azure-identity only when a rule asks for it."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError

from scaler.errors import ConfigError, PollError
from scaler.scalers._azure_errors import cause

SYSTEM = "system"
_TOKEN = re.compile(r"[\w.~+=-]{64,}")
"""What may be a token that a token service repeats: longer than any name or GUID."""
_NOT_SET_UP = ("unavailable", "not found on path")


class IdentityCredential:
    """A credential whose failures say that the identity is at fault, not the queue that is asked."""

    def __init__(self, identity: str, inner: AsyncTokenCredential) -> None:
        self._identity = identity
        self._inner = inner

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Fetch a token, or give the one that still holds.

        Raises:
            PollError: there is none.
        """
        try:
            return await self._inner.get_token(*scopes, **options)
        except (ServiceRequestError, ServiceResponseError) as exc:
            text = f"identity '{self._identity}': the token service cannot be reached ({cause(exc)})"
            raise PollError(text, reason="Unreachable", transient=True) from exc
        except AzureError as exc:
            text = f"identity '{self._identity}': no token ({_told(exc)}); log in, or correct the identity"
            raise PollError(text, reason="AuthenticationFailed", transient=False) from exc

    async def close(self) -> None:
        """Close the connection to the token service."""
        await self._inner.close()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)


def _told(exc: AzureError) -> str:
    """Give the token service's own words: of a chain, those of the links that were set up here."""
    first, *others = str(exc).strip().split("\n")
    links = [line.strip() for line in others if line.startswith("\t")]
    tried = [link for link in links if not any(word in link for word in _NOT_SET_UP)]
    return _TOKEN.sub("…", "; ".join(tried) or first)[:200].rstrip(".")


@asynccontextmanager
async def open_credential(identity: str) -> AsyncIterator[IdentityCredential]:
    """Give the credential and close it afterwards; no token is fetched yet.

    `system` is the first that works of environment variables, federated token, the host's own managed
    identity and the Azure CLI's login. A client id picks that identity, tried in the same order. A resource
    id (it begins with `/`) picks that user-assigned managed identity.

    Raises:
        ConfigError: azure-identity is not installed.
    """
    try:
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"identity '{identity}' needs the package 'azure-identity'; "
            "run: pip install 'queue-scaler[azure-identity]'"
        ) from exc
    _hush()
    inner: AsyncTokenCredential
    if identity.startswith("/"):
        inner = ManagedIdentityCredential(identity_config={"resource_id": identity})
    else:
        keys = (
            ()
            if identity.lower() == SYSTEM
            else ("managed_identity_client_id", "workload_identity_client_id")
        )
        inner = DefaultAzureCredential(
            exclude_powershell_credential=True,
            exclude_developer_cli_credential=True,
            exclude_visual_studio_code_credential=True,
            **dict.fromkeys(keys, identity),
        )
    async with IdentityCredential(identity, inner) as credential:
        yield credential


def _hush() -> None:
    """Keep azure-identity from warning at each poll; its failure reaches the user as the rule's fault."""
    logger = logging.getLogger("azure.identity")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
