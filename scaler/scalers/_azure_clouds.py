"""Azure's clouds and the host name endings of their services. Source: KEDA's `cloud` and `endpointSuffix`."""

from __future__ import annotations

from typing import Final

PUBLIC: Final = "AzurePublicCloud"
PRIVATE: Final = "Private"

_NAMES: Final = {
    "azurepubliccloud": PUBLIC,
    "azurecloud": PUBLIC,
    "azureusgovernmentcloud": "AzureUSGovernmentCloud",
    "azureusgovernment": "AzureUSGovernmentCloud",
    "azurechinacloud": "AzureChinaCloud",
    "azuregermancloud": "AzureGermanCloud",
    "private": PRIVATE,
}
QUEUE_SUFFIXES: Final = {
    PUBLIC: "queue.core.windows.net",
    "AzureUSGovernmentCloud": "queue.core.usgovcloudapi.net",
    "AzureChinaCloud": "queue.core.chinacloudapi.cn",
    "AzureGermanCloud": "queue.core.cloudapi.de",
}
SERVICE_BUS_SUFFIXES: Final = {
    PUBLIC: "servicebus.windows.net",
    "AzureUSGovernmentCloud": "servicebus.usgovcloudapi.net",
    "AzureChinaCloud": "servicebus.chinacloudapi.cn",
    "AzureGermanCloud": "servicebus.cloudapi.de",
}


def read_cloud(text: str) -> str:
    """Give the cloud's proper name; upper and lower case are the same.

    Raises:
        ValueError: no such cloud.
    """
    try:
        return _NAMES[text.lower()]
    except KeyError:
        known = ", ".join(dict.fromkeys(_NAMES.values()))
        raise ValueError(f"got '{text}'; write one of {known}") from None


def read_suffix(suffix: str | None, cloud: str | None) -> str | None:
    """Check that a private cloud has a suffix; give it without leading dots.

    Raises:
        ValueError: the cloud is `Private` and there is none.
    """
    if cloud == PRIVATE and not suffix:
        raise ValueError("missing; with cloud Private write the ending of the service's host name")
    return suffix.lstrip(".") if suffix else None


def host_suffix(suffixes: dict[str, str], cloud: str, private: str | None) -> str:
    """Give the ending of a service's host name in that cloud; `private` counts for `Private` only."""
    return private or "" if cloud == PRIVATE else suffixes[cloud]
