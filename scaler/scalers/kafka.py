"""Trigger `kafka`: lag of a consumer group, by the cluster's own protocol.

Source: KEDA docs, scalers `kafka` and `apache-kafka`, and their behaviour on live brokers. What was a fault
there and is not repeated here is listed on the page docs/scalers/kafka.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from scaler.errors import ConfigError, PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.scalers._kafka_lag import LagMeter, LagRules
from scaler.scalers._kafka_login import Cluster, Sasl, TokenSource, parse_servers, read_extensions
from scaler.scalers._kafka_round import Question
from scaler.scalers._kafka_session import KafkaSession, open_session
from scaler.scalers._tls import Tls
from scaler.wire.metadata import KedaBool, KedaInt, Sources, TriggerMetadata

MOST_PARTITIONS: Final = 100_000
"""How many numbers `partitionLimitation` may name."""
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_VERSION: Final = re.compile(r"0(\.[0-9]+){3}|[1-9][0-9]*(\.[0-9]+){2}")
_RANGE: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def _check_servers(text: str) -> str:
    parse_servers(text)
    return text


def _check_topics(text: str) -> str:
    for name in (part.strip() for part in text.split(",")):
        if not _TOPIC.fullmatch(name):
            raise ValueError(f"got '{name}'; a topic's name has up to 249 of A-Z a-z 0-9 . _ -")
    return text


def _check_version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError(f"got '{text}'; write three numbers, such as 3.9.0 (four when it begins with 0)")
    return text


def _check_partitions(text: str) -> str:
    read_partitions(text)
    return text


def read_partitions(text: str) -> frozenset[int] | None:
    """Read numbers and ranges such as `1,3,5-8`; None for blank text, which means all.

    Raises:
        ValueError: an item is neither, a range goes downwards, or it names too many.
    """
    if not text.strip():
        return None
    numbers: set[int] = set()
    for item in (part.strip() for part in text.split(",")):
        found = _RANGE.fullmatch(item)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last or last - first >= MOST_PARTITIONS:
            raise ValueError(f"got '{item}'; write numbers and ranges such as 1,3,5-8")
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


AUTH: Final = Sources("A")
Word = Literal["enable", "disable"]


class Metadata(TriggerMetadata):
    """Parameters of the trigger. Empty text means not given."""

    examples: ClassVar[Mapping[str, str]] = {
        "bootstrapServers": "kafka-1:9092,kafka-2:9092", "consumerGroup": "orders", "topic": "orders",
        "partitionLimitation": "0-3,7", "version": "3.9.0", "ca": "-----BEGIN CERTIFICATE----- …",
        "cert": "-----BEGIN CERTIFICATE----- …", "key": "-----BEGIN PRIVATE KEY----- …",
        "username": "scaler", "oauthTokenEndpointUri": "https://login.example.com/token",
        "scopes": "kafka", "oauthExtensions": "logicalCluster=lkc-1",
        "awsRegion": "eu-central-1",
    }  # fmt: skip

    bootstrap_servers: Annotated[str, Sources("ME"), AfterValidator(_check_servers)] = Field(
        description="Brokers to begin with, `host:port`, comma separated; port 9092 may be left out"
    )
    consumer_group: Annotated[str, Sources("ME")] = Field(description="Group whose commits are read")
    topic: Annotated[str, Sources("ME"), AfterValidator(_check_topics)] = Field(
        default="", description="Topic, or several with commas; none: every topic the group has commits for"
    )
    lag_threshold: Annotated[KedaInt, Field(gt=0)] = Field(
        default=10, description="Messages per execution, at least 1"
    )
    activation_lag_threshold: Annotated[KedaInt, Field(ge=0)] = Field(
        default=0, description="Active only above this lag"
    )
    offset_reset_policy: Literal["latest", "earliest"] = Field(
        default="latest", description="What a partition without a commit counts: 1, or all its messages"
    )
    scale_to_zero_on_invalid_offset: KedaBool = Field(
        default=False, description="A partition without a commit counts 0"
    )
    allow_idle_consumers: KedaBool = Field(
        default=False, description="Lift the bound of one execution per partition"
    )
    limit_to_partitions_with_lag: KedaBool = Field(
        default=False, description="Bound: one execution per partition that has lag; needs `topic`"
    )
    ensure_even_distribution_of_partitions: KedaBool = Field(
        default=False, description="Round executions up to a divisor of the partition count; needs `topic`"
    )
    exclude_persistent_lag: KedaBool = Field(
        default=False, description="Leave out partitions with lag in which nothing was committed meanwhile"
    )
    partition_limitation: Annotated[str, AfterValidator(_check_partitions)] = Field(
        default="", description="Only these partitions, such as `1,3,5-8`; not used without `topic`"
    )
    assign_partitions: KedaBool = Field(
        default=False,
        description="Ours: hand each execution a partition of its own, see below; needs `topic`",
    )
    version: Annotated[str, AfterValidator(_check_version)] = Field(
        default="1.0.0", description="Checked and not used: the client and the broker agree by themselves"
    )
    full_metadata: KedaBool = Field(
        default=True, description="Not used: only the topics asked for are looked at; `false` needs `topic`"
    )
    tls: Annotated[Word, Sources("MA")] = Field(default="disable", description="`enable` encrypts")
    unsafe_ssl: KedaBool = Field(default=False, description="Checks neither certificate nor host name")
    ca: Annotated[str, AUTH] = Field(
        default="", description="PEM text of a CA, trusted beside the system's ones"
    )
    cert: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="PEM text of the client certificate; with `key` only"
    )
    key: Annotated[SecretStr, AUTH] = Field(default=SecretStr(""), description="PEM text of its key")
    key_password: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="Password of an encrypted `key`"
    )
    sasl: Annotated[Sasl, Sources("MA")] = Field(default=Sasl.NONE, description="How to log in; see below")
    username: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="User; with `oauthbearer` the client id"
    )
    password: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="Its password; with `oauthbearer` the client secret"
    )
    sasl_token_provider: Annotated[Literal["bearer", "aws_msk_iam"], Sources("MA")] = Field(
        default="bearer", description="`bearer` gets tokens from an endpoint; `aws_msk_iam` is refused"
    )
    oauth_token_endpoint_uri: Annotated[str, AUTH] = Field(
        default="", description="Where tokens are got by client credentials"
    )
    scopes: Annotated[str, AUTH] = Field(default="", description="OAuth2 scopes, comma separated")
    oauth_extensions: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="What is sent beside the token, `key=value,key=value`"
    )
    realm: Annotated[str, AUTH] = Field(default="", description="Refused with `gssapi`; see below")
    kerberos_config: Annotated[str, AUTH] = Field(default="", description="Refused with `gssapi`; see below")
    keytab: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="Refused with `gssapi`; see below"
    )
    kerberos_service_name: Annotated[str, AUTH] = Field(
        default="kafka", description="`gssapi`: the brokers' service name"
    )
    kerberos_disable_fast: Annotated[KedaBool, AUTH] = Field(
        default=False, alias="kerberosDisableFAST", description="`gssapi`: not used"
    )
    aws_region: str = Field(default="", description="Only for `aws_msk_iam`, which is refused")

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = [*_bound_faults(self), *_tls_faults(self), *_sasl_faults(self)]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def wants_aws(self) -> bool:
        """Whether tokens of AWS are asked for."""
        return {self.sasl_token_provider} == {"aws_msk_iam"}

    @property
    def topics(self) -> tuple[str, ...]:
        """The named topics, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.topic.split(","))) if self.topic else ()

    @property
    def question(self) -> Question:
        """What is asked at each poll."""
        return Question(
            group=self.consumer_group,
            topics=self.topics,
            partitions=read_partitions(self.partition_limitation) if self.topics else None,
            from_start=self.offset_reset_policy == "earliest" and not self.scale_to_zero_on_invalid_offset,
        )

    @property
    def rules(self) -> LagRules:
        """What counts."""
        return LagRules(
            threshold=self.lag_threshold,
            activation=self.activation_lag_threshold,
            earliest=self.offset_reset_policy == "earliest",
            zero_on_invalid=self.scale_to_zero_on_invalid_offset,
            idle_consumers=self.allow_idle_consumers,
            only_with_lag=self.limit_to_partitions_with_lag,
            even=self.ensure_even_distribution_of_partitions,
            exclude_persistent=self.exclude_persistent_lag,
            assign=self.assign_partitions,
        )

    @property
    def cluster(self) -> Cluster:
        """The brokers and the login."""
        tls = Tls(
            verify=not self.unsafe_ssl,
            ca=self.ca,
            cert=self.cert.get_secret_value(),
            key=self.key.get_secret_value(),
            key_password=self.key_password.get_secret_value(),
        )
        has_login = self.sasl is not Sasl.NONE
        return Cluster(
            servers=parse_servers(self.bootstrap_servers),
            tls=tls if self.tls == "enable" else None,
            sasl=self.sasl,
            username=self.username.get_secret_value() if has_login else "",
            password=self.password.get_secret_value() if has_login else "",
            token=self._token_source() if self.sasl is Sasl.OAUTH else None,
            service=self.kerberos_service_name,
        )

    def _token_source(self) -> TokenSource:
        pairs = read_extensions(self.oauth_extensions.get_secret_value())
        return TokenSource(uri=self.oauth_token_endpoint_uri, scopes=self.scopes, extensions=pairs)


def _given(secret: SecretStr) -> bool:
    return bool(secret.get_secret_value())


def _bound_faults(meta: Metadata) -> list[str]:
    faults = []
    limited, even = meta.limit_to_partitions_with_lag, meta.ensure_even_distribution_of_partitions
    if meta.allow_idle_consumers and limited:
        faults.append("allowIdleConsumers and limitToPartitionsWithLag: give one of the two")
    if limited and even:
        faults.append("limitToPartitionsWithLag and ensureEvenDistributionOfPartitions: give one of the two")
    if not meta.topic:
        needing = {
            "assignPartitions": meta.assign_partitions,
            "limitToPartitionsWithLag": limited,
            "ensureEvenDistributionOfPartitions": even,
            "fullMetadata false": not meta.full_metadata,
        }
        faults += [f"{what}: needs topic" for what, is_used in needing.items() if is_used]
    return faults + _assign_faults(meta)


def _assign_faults(meta: Metadata) -> list[str]:
    """Refuse what would start executions without a message, or leave a partition without any for ever."""
    if not meta.assign_partitions:
        return []
    against = {
        "allowIdleConsumers": meta.allow_idle_consumers,
        "ensureEvenDistributionOfPartitions": meta.ensure_even_distribution_of_partitions,
        "excludePersistentLag": meta.exclude_persistent_lag,
    }
    faults = [
        f"assignPartitions and {key}: give one of the two" for key, is_used in against.items() if is_used
    ]
    if meta.offset_reset_policy == "latest" and not meta.scale_to_zero_on_invalid_offset:
        faults.append(
            "assignPartitions: needs offsetResetPolicy earliest, or an untouched partition counts 1"
        )
    return faults


def _tls_faults(meta: Metadata) -> list[str]:
    if _given(meta.cert) != _given(meta.key):
        return ["cert and key: give both or none"]
    if meta.tls == "disable" and (meta.ca or _given(meta.cert)):
        return ["ca, cert and key: the connection is plain; give tls: enable"]
    return []


def _sasl_faults(meta: Metadata) -> list[str]:
    if meta.sasl is Sasl.NONE:
        return []
    if meta.sasl is Sasl.AWS or (meta.sasl is Sasl.OAUTH and meta.wants_aws):
        return [
            "aws_msk_iam: logins by AWS identities are not supported; use sasl: scram_sha512, which MSK has"
        ]
    if meta.sasl is Sasl.GSSAPI:
        return _kerberos_faults(meta)
    faults = []
    if not _given(meta.username) or not _given(meta.password):
        faults.append(f"sasl {meta.sasl}: needs username and password, by auth")
    if meta.sasl is Sasl.OAUTH:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s#]*)?", meta.oauth_token_endpoint_uri):
            faults.append(
                "sasl oauthbearer: needs oauthTokenEndpointUri, an http:// or https:// URL, by auth"
            )
        try:
            read_extensions(meta.oauth_extensions.get_secret_value())
        except ValueError as exc:
            faults.append(f"oauthExtensions: {exc}")
    return faults


def _kerberos_faults(meta: Metadata) -> list[str]:
    """Refuse what the client library cannot use: it takes tickets from where the daemon's own ones are."""
    given = {
        "username": _given(meta.username),
        "password": _given(meta.password),
        "keytab": _given(meta.keytab),
        "realm": bool(meta.realm),
        "kerberosConfig": bool(meta.kerberos_config),
    }
    named = ", ".join(key for key, is_given in given.items() if is_given)
    hint = "set KRB5_CONFIG and KRB5_CLIENT_KTNAME (or KRB5CCNAME) for the daemon instead"
    return [f"sasl gssapi: {named}: not read from rules; {hint}"] if named else []


class ConsumerLag:
    """Measures the lag of one group."""

    def __init__(self, session: KafkaSession, meta: Metadata, context: ScalerContext) -> None:
        self._session = session
        self._question = meta.question
        self._meter = LagMeter(meta.rules)
        self._assigns = meta.assign_partitions
        self._timeout_s = context.timeout_s
        self._note = context.note_request
        self._source = source(meta)

    async def poll(self) -> Sample:
        """Ask the cluster, in one round with whoever asks at the same time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                reading = await self._session.read(self._question, self._note)
        except TimeoutError as exc:
            text = f"{self._source}: no answer within {self._timeout_s:g} s; is a broker overloaded?"
            raise PollError(text, reason="Timeout") from exc
        lag = self._meter.measure(reading.partitions)
        return Sample(
            value=lag.value,
            active=lag.active,
            includes_taken=True,
            as_of=reading.asked_at,
            shares=self._meter.shares(reading.partitions, self._question.group) if self._assigns else None,
        )


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Lease the cluster's shared connections; nothing is asked before the first poll.

    Raises:
        ConfigError: `sasl: gssapi` without the package it needs.
    """
    cluster = meta.cluster
    if cluster.sasl is Sasl.GSSAPI and importlib.util.find_spec("gssapi") is None:
        raise ConfigError("sasl gssapi needs the package 'gssapi' and Kerberos; run: pip install gssapi")
    key = ("kafka", cluster)
    async with context.sessions.lease(
        key, lambda: open_session(cluster, context.timeout_s, context.now)
    ) as session:
        yield ConsumerLag(session, meta, context)


def source(meta: Metadata) -> str:
    """The brokers' addresses without credentials."""
    return meta.cluster.origin


def check(_meta: Metadata, identity: str | None) -> tuple[str, ...]:
    """Say where an identity is given: nothing uses it."""
    return ("identity: not used by kafka; remove it",) if identity else ()


SCALER: Final = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.lag_threshold),
    open=open_scaler,
    source=source,
    check=check,
    shares=lambda meta: "assignPartitions" if meta.assign_partitions else None,
    summary="lag of a Kafka consumer group",
    entities=lambda meta: frozenset(f"{meta.consumer_group}/{topic}" for topic in meta.topics),
)
