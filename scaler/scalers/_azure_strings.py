"""Reads Azure connection strings into their parts, with errors that name keys and never show values."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

_DEV_ACCOUNT: Final = "devstoreaccount1"
# The storage emulator's public, documented key; not a secret.
_DEV_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_STORAGE_KEYS: Final = "AccountName and AccountKey, or QueueEndpoint and SharedAccessSignature"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageAccount:
    """A storage account's queue service.

    Attributes:
        url: its address without credentials.
        name: the account, to sign with `key`; empty beside a SAS.
        key, sas: exactly one of them is not empty.
    """

    url: str
    name: str = ""
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusNamespace:
    """A Service Bus namespace.

    Attributes:
        host: without port.
        port: as written in `Endpoint`; of the emulator it is the AMQP port. None: not written.
        key_name, key: the shared access key; empty beside a SAS.
        sas: a ready token, else empty.
        is_emulator: whether `UseDevelopmentEmulator=true` was there.
    """

    host: str
    port: int | None = None
    key_name: str = ""
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)
    is_emulator: bool = False


def read_storage(text: str) -> StorageAccount:
    """Read a storage connection string (account key or SAS).

    Raises:
        ValueError: a part is missing or malformed.
    """
    parts = _split(text, example=_STORAGE_KEYS)
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        url = f"http://127.0.0.1:10001/{_DEV_ACCOUNT}"
        return StorageAccount(url=url, name=_DEV_ACCOUNT, key=_DEV_KEY)
    name, key = parts.get("accountname", ""), parts.get("accountkey", "")
    sas = parts.get("sharedaccesssignature", "").lstrip("?")
    url, query = _storage_url(parts, name)
    sas = sas or query
    if key:
        if not name:
            raise ValueError("the connection string has AccountKey but no AccountName")
        _check_base64(key, "AccountKey")
        return StorageAccount(url=url, name=name, key=key)
    if not sas:
        raise ValueError(f"the connection string holds no credentials; it needs {_STORAGE_KEYS}")
    return StorageAccount(url=url, sas=sas)


def _storage_url(parts: dict[str, str], name: str) -> tuple[str, str]:
    """Give the queue service's address, and the query that stood behind it."""
    if endpoint := parts.get("queueendpoint"):
        host, _port = _host(endpoint, "QueueEndpoint", schemes=("http", "https"))
        address = urlsplit(endpoint)
        netloc = address.netloc.rpartition("@")[2] or host
        return f"{address.scheme}://{netloc}{address.path.rstrip('/')}", address.query
    if not name:
        raise ValueError(f"the connection string names no account; it needs {_STORAGE_KEYS}")
    protocol = parts.get("defaultendpointsprotocol", "https").lower()
    if protocol not in ("http", "https"):
        raise ValueError("DefaultEndpointsProtocol of the connection string is not http or https")
    suffix = parts.get("endpointsuffix", "core.windows.net").lstrip(".")
    url = f"{protocol}://{name}.queue.{suffix}"
    _host(url, "AccountName or EndpointSuffix", schemes=("http", "https"))
    return url, ""


def read_bus(text: str) -> BusNamespace:
    """Read a Service Bus connection string; `EntityPath` is ignored.

    Raises:
        ValueError: a part is missing or malformed.
    """
    example = "Endpoint, SharedAccessKeyName and SharedAccessKey"
    parts = _split(text, example=example)
    endpoint = parts.get("endpoint", "")
    if not endpoint:
        raise ValueError(f"the connection string has no Endpoint; it needs {example}")
    host, port = _host(endpoint, "Endpoint", schemes=("sb", "amqp", "amqps", "http", "https"))
    key_name, key = parts.get("sharedaccesskeyname", ""), parts.get("sharedaccesskey", "")
    sas = parts.get("sharedaccesssignature", "")
    if bool(key_name) != bool(key):
        raise ValueError("the connection string must have both SharedAccessKeyName and SharedAccessKey")
    if bool(key) == bool(sas):
        raise ValueError("the connection string must have either SharedAccessKey or SharedAccessSignature")
    emulator = parts.get("usedevelopmentemulator", "").lower() == "true"
    return BusNamespace(host=host, port=port, key_name=key_name, key=key, sas=sas, is_emulator=emulator)


def _split(text: str, *, example: str) -> dict[str, str]:
    """Give the parts by lower-case key."""
    parts: dict[str, str] = {}
    for part in text.strip().strip(";").split(";"):
        key, equals, value = part.strip().partition("=")
        if not equals or not key:
            raise ValueError(
                f"not a connection string, which is parts joined by semicolons; it needs {example}"
            )
        parts[key.strip().lower()] = value.strip()
    return parts


def _host(url: str, key: str, *, schemes: tuple[str, ...]) -> tuple[str, int | None]:
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    if not host or any(c.isspace() for c in host) or address.scheme not in schemes:
        raise ValueError(f"{key} of the connection string is not an address ({schemes[0]}://host)")
    return host, port


def _check_base64(key: str, name: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name} of the connection string is not base64; copy it again, whole") from None
