"""Trigger `external`: asks a program of the user's own by KEDA's external scaler protocol (gRPC).

Source: KEDA docs, scaler `external`. The number and the target come from that program; how many executions
they make is decided here as for every other scaler.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, field_validator, model_validator

from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.scalers._external_session import ExternalSession, Figure, Reference, Server, open_external
from scaler.wire.metadata import FreeMetadata, KedaBool, SecretStr, Sources

NAMESPACE: Final = "default"
"""Jobs here have no namespace; scalers that keep state by namespace and name get this one."""
AUTH: Final = Sources("A")
_ADDRESS: Final = re.compile(r"(?!https?://)\S+:[0-9]{1,5}|unix:\S+")
_MASKED_LENGTH: Final = 4


class Metadata(FreeMetadata):
    """Parameters of `external`. All other keys are the external scaler's."""

    examples: ClassVar[Mapping[str, str]] = {
        "scalerAddress": "my-scaler:6000", "caCert": "-----BEGIN CERTIFICATE----- …",
        "tlsClientCert": "-----BEGIN CERTIFICATE----- …",
        "tlsClientKey": "-----BEGIN PRIVATE KEY----- …",
    }  # fmt: skip

    scaler_address: str = Field(description="`host:port` of the external scaler, or `unix:/path`")
    enable_tls: KedaBool = Field(
        default=False, alias="enableTLS", description="Speaks TLS; so do `caCert` and `tlsClientCert` alone"
    )
    unsafe_ssl: KedaBool = Field(
        default=False, description="With TLS: takes whatever certificate the server shows when connecting"
    )
    ca_cert: Annotated[str, AUTH] = Field(
        default="", description="PEM text of the CA, trusted in place of the well-known ones"
    )
    tls_client_cert: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="PEM text of the client certificate; with `tlsClientKey` only"
    )
    tls_client_key: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="PEM text of its key"
    )

    @field_validator("scaler_address")
    @classmethod
    def _address_has_a_port(cls, value: str) -> str:
        if not _ADDRESS.fullmatch(value):
            raise ValueError(f"got '{value}'; write host:port, without http://")
        return value

    @model_validator(mode="after")
    def _pair_is_whole(self) -> Self:
        if bool(self.tls_client_cert.get_secret_value()) != bool(self.tls_client_key.get_secret_value()):
            raise ValueError("tlsClientCert and tlsClientKey: give both or none")
        return self

    @property
    def server(self) -> Server:
        """Where to ask, and how."""
        cert = self.tls_client_cert.get_secret_value()
        return Server(
            address=self.scaler_address,
            is_tls=self.enable_tls or bool(self.ca_cert or cert),
            verify=not self.unsafe_ssl,
            ca=self.ca_cert,
            cert=cert,
            key=self.tls_client_key.get_secret_value(),
        )

    def reference(self, job: str) -> Reference:
        """Say who asks, with all metadata as KEDA would send it."""
        free = {key: text.get_secret_value() for key, text in self.free.items()}
        known = {"scalerAddress": self.scaler_address}
        known |= {
            key: str(value).lower()
            for key, name, value in (
                ("enableTLS", "enable_tls", self.enable_tls),
                ("unsafeSsl", "unsafe_ssl", self.unsafe_ssl),
            )
            if name in self.model_fields_set
        }
        return Reference(
            job=job,
            namespace=NAMESPACE,
            metadata=tuple((known | free).items()),
            secrets=tuple(text for text in free.values() if len(text) >= _MASKED_LENGTH),
        )


class External:
    """One rule's questions to its external scaler."""

    def __init__(self, session: ExternalSession, meta: Metadata, context: ScalerContext) -> None:
        self._session = session
        self._who = meta.reference(context.job)
        self._where = meta.scaler_address
        self._timeout_s = context.timeout_s
        self._now = context.now
        self._note = context.note_request

    async def poll(self) -> Sample:
        """Ask for targets, for the first metric's value and whether there is work: three small calls."""
        asked_at = self._now()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._note()
                specs = await self._session.specs(self._who, timeout_s=self._timeout_s)
                target = self._target(specs)
                await self._note()
                values = await self._session.values(self._who, specs[0].name, timeout_s=self._timeout_s)
                await self._note()
                is_active = await self._session.is_active(self._who, timeout_s=self._timeout_s)
        except TimeoutError as exc:
            text = f"{self._where}: no answer within {self._timeout_s:g} s; is the external scaler up?"
            raise PollError(text, reason="Timeout") from exc
        if is_active and not values:
            text = f"{self._where}: says active, but gives no value of metric '{specs[0].name}'"
            raise PollError(text, reason="CountMissing")
        return Sample(value=total(values, specs[0].name), active=is_active, as_of=asked_at, target=target)

    def _target(self, specs: list[Figure]) -> float:
        """Give the mean of the targets.

        Raises:
            PollError: `BadAnswer`, without a metric or with a mean that is not above 0.
        """
        if not specs:
            text = f"{self._where}: GetMetricSpec names no metric; the external scaler must give at least one"
            raise PollError(text, transient=False, reason="BadAnswer")
        mean = sum(spec.number for spec in specs) / len(specs)
        if not 0 < mean < float("inf"):
            text = (
                f"{self._where}: metric '{specs[0].name}' has target {mean:g}; give targetSizeFloat above 0"
            )
            raise PollError(text, transient=False, reason="BadAnswer")
        return mean


def total(values: list[Figure], name: str) -> float:
    """Sum the values of the metric that was asked for; where none bears its name, all are meant, as in KEDA."""
    named = [value.number for value in values if value.name == name]
    return sum(named) if named else sum(value.number for value in values)


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Open the rule on the channel that it shares with all rules of the same address and TLS settings."""
    server = meta.server
    async with context.sessions.lease(
        ("external", server), lambda: open_external(server, context.timeout_s)
    ) as session:
        yield External(session, meta, context)


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda _meta: 0.0,  # only the external scaler knows it, and tells it with each sample
    open=open_scaler,
    source=lambda meta: meta.scaler_address,
    summary="Whatever an external scaler of KEDA's protocol counts",
)
