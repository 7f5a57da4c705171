"""Entra tokens for the management API; azure-identity is imported only when a rule asks for one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.errors import ConfigError
from scaler.scalers._http_auth import Fetch, WorkloadIdentity


@asynccontextmanager
async def open_entra(workload: WorkloadIdentity) -> AsyncIterator[Fetch]:
    """Give a call that fetches a token for one resource, with how many seconds it lives.

    Without an identity of the rule, the surroundings decide as for `system`.

    Raises:
        ConfigError: azure-identity is not installed.
    """
    try:
        from scaler.scalers._azure_identity import SYSTEM, open_credential
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"workloadIdentityResource needs the package '{exc.name}'; "
            "run: pip install 'queue-scaler[azure-identity]'"
        ) from exc
    scope = workload.resource.removesuffix("/.default").rstrip("/") + "/.default"
    async with open_credential(workload.identity or SYSTEM) as credential:

        async def fetch() -> tuple[str, float]:
            token = await credential.get_token(scope)
            return token.token, float(token.expires_on) - time.time()

        yield fetch
