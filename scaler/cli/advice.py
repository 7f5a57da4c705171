"""From the word for a failed reading, and what the network showed, to the first thing to check. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Finding(StrEnum):
    """What a look at a host and port found, worst first."""

    NO_ADDRESS = "NoAddress"
    NAME_SERVER_SILENT = "NameServerSilent"
    NO_ROUTE = "NoRoute"
    REFUSED = "Refused"
    SILENT = "Silent"
    CONNECTS = "Connects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A host and port, and what was found there."""

    host: str
    port: int
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The first thing to check.

    Attributes:
        check: one word: `dns`, `tcp`, `tls`, `auth`, `right`, `entity`, `throttled`, `config`, `source` or
            `scaler`.
        text: what to do, for people.
    """

    check: str
    text: str


NETWORK_WORDS: Final = frozenset({"Unreachable", "Timeout"})
"""Reasons that leave open what is wrong: a look at the network tells more."""

_NETWORK: Final[Mapping[Finding, tuple[str, str]]] = {
    Finding.NO_ADDRESS: ("dns", "{host} has no address here: correct the name, or this machine's DNS"),
    Finding.NAME_SERVER_SILENT: ("dns", "no name server answers for {host}: see this machine's DNS"),
    Finding.NO_ROUTE: ("tcp", "there is no way to {host}: see network, VPN and routes of this machine"),
    Finding.REFUSED: (
        "tcp",
        "nothing listens on port {port} of {host} (in a container, localhost is that): start it, or correct the port",
    ),
    Finding.SILENT: (
        "tcp",
        "port {port} of {host} does not answer: a firewall, private endpoint or IP rule drops it, or the host is down",
    ),
}
_CONNECTS: Final[Mapping[str, tuple[str, str]]] = {
    "Unreachable": (
        "source",
        "port {port} of {host} takes connections: is the protocol right (plain or TLS)? Else it restarts: probe again",
    ),
    "Timeout": (
        "source",
        "port {port} of {host} takes connections and is silent: is the protocol right (plain or TLS)? Or overload",
    ),
}

_ENTITY: Final = ("entity", "the queue, topic or other thing of that name: create it, or correct the name")
_DISABLED: Final = ("entity", "the queue or subscription is switched off: enable it")
_SOURCE: Final = ("source", "the source itself is unwell: see its own log and state")
_ANSWER: Final = ("source", "what answers there may be something else: check address, port and protocol")
_BY_REASON: Final[Mapping[str, tuple[str, str]]] = {
    "AuthenticationFailed": (
        "auth",
        "the secret that auth names: is it the current one, whole, and of this source? Then its rights",
    ),
    "SecretMissing": ("auth", "the secret that auth names: it has no value"),
    "AuthorizationFailed": ("right", "the login works; give it the right that the message names"),
    "EntityNotFound": _ENTITY,
    "Ambiguous": _ENTITY,
    "EntityDisabled": _DISABLED,
    "NoDeliveryCount": ("entity", "the type of the queue: only a quorum queue counts deliveries"),
    "EntityLocked": ("entity", "another connection holds it for itself alone: use one that is shared"),
    "Throttled": ("throttled", "raise pollingInterval, or let fewer rules use this login"),
    "BudgetExhausted": ("throttled", "raise limits.sourceRequests of the daemon, or pollingInterval"),
    "TlsFailed": ("tls", "that the port speaks TLS, then the certificate: its CA, its host name, its end"),
    "InvalidConfiguration": ("config", "the rule's parameters: scaler validate, and scaler scalers TYPE"),
    "BadRequest": ("config", "the names and options in the rule's parameters: scaler scalers TYPE"),
    "ApiVersionRefused": ("source", "its version: it is too old for what is asked"),
    "BrokerTooOld": ("source", "its version: it is too old for what is asked"),
    "BadAnswer": _ANSWER,
    "CountMissing": _ANSWER,
    "BadValue": _ANSWER,
    "ServiceError": _SOURCE,
    "LeaderUnavailable": _SOURCE,
    "CoordinatorUnavailable": _SOURCE,
    "ScalerFault": ("scaler", "the scaler's code failed: see the traceback above and report it"),
}
_UNKNOWN: Final = ("source", "the message above; the scaler's page tells what its words mean")
_NOT_LOOKED: Final = ("tcp", "the address, and whether this machine can reach it")


def advise(reason: str, looks: Sequence[Look]) -> Advice:
    """Say what to check first. Of several looks the worst one counts."""
    if reason not in NETWORK_WORDS:
        check, text = _BY_REASON.get(reason, _UNKNOWN)
        return Advice(check=check, text=text)
    if not looks:
        check, text = _NOT_LOOKED
        return Advice(check=check, text=text)
    order = list(Finding)
    worst = min(looks, key=lambda look: order.index(look.finding))
    check, text = _NETWORK.get(worst.finding) or _CONNECTS[reason]
    return Advice(check=check, text=text.format(host=worst.host, port=worst.port))
