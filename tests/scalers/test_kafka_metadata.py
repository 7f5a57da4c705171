"""Parameters of the `kafka` scaler: KEDA's rules, and the faults of KEDA's that are refused here."""

from __future__ import annotations

import pytest

from scaler.model.share import Share
from scaler.scalers._kafka_lag import LagMeter, LagRules, bounded
from scaler.scalers._kafka_login import Sasl
from scaler.scalers._kafka_round import PartitionState
from scaler.scalers.kafka import SCALER, Metadata, read_partitions
from scaler.wire.metadata import resolve, validate

BASE = {"bootstrapServers": "b1:9092,b2", "consumerGroup": "g", "topic": "t"}
NO_TOPIC = {"bootstrapServers": "b1", "consumerGroup": "g"}
LOGIN = {"username": "user", "password": "canary"}
OAUTH = {**LOGIN, "sasl": "oauthbearer", "oauthTokenEndpointUri": "https://id.example/token"}
KERBEROS = {"sasl": "gssapi", "username": "user", "realm": "EXAMPLE", "keytab": "canary"}

ASSIGN = {"assignPartitions": "true", "offsetResetPolicy": "earliest"}
LATEST = {"offsetResetPolicy": "latest", "scaleToZeroOnInvalidOffset": "true"}


def _faults(metadata: dict[str, str], auth: dict[str, str]) -> str:
    built, faults = validate(Metadata, metadata, auth, {"SERVERS": "b:1", "GROUP": "g", "TOPIC": "t"})
    assert (built is None) == bool(faults)
    return "; ".join(f"{fault.key}: {fault.message}" for fault in faults)


GOOD: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("the least", NO_TOPIC, {}),
    (
        "by environment",
        {"bootstrapServersFromEnv": "SERVERS", "consumerGroupFromEnv": "GROUP", "topicFromEnv": "TOPIC"},
        {},
    ),
    ("several topics", {**BASE, "topic": "a, b.c-d_e"}, {}),
    ("addresses of all kinds", {**BASE, "bootstrapServers": "b, 10.0.0.1:1, [::1]:9093,[::2]"}, {}),
    ("thresholds", {**BASE, "lagThreshold": "1", "activationLagThreshold": "0"}, {}),
    ("reset policy", {**BASE, "offsetResetPolicy": "earliest", "scaleToZeroOnInvalidOffset": "true"}, {}),
    ("idle consumers", {**NO_TOPIC, "allowIdleConsumers": "true"}, {}),
    (
        "idle consumers, even",
        {**BASE, "allowIdleConsumers": "true", "ensureEvenDistributionOfPartitions": "true"},
        {},
    ),
    ("handed out", {**BASE, **ASSIGN}, {}),
    ("handed out of what is committed", {**BASE, **ASSIGN, **LATEST}, {}),
    ("limited", {**BASE, "limitToPartitionsWithLag": "true"}, {}),
    ("partitions", {**BASE, "partitionLimitation": "1, 3,5-8"}, {}),
    ("blank partitions", {**BASE, "partitionLimitation": " "}, {}),
    ("partitions without a topic", {**NO_TOPIC, "partitionLimitation": "1"}, {}),
    ("version", {**BASE, "version": "4.3.1"}, {}),
    ("old version", {**BASE, "version": "0.10.2.0"}, {}),
    ("part of the metadata", {**BASE, "fullMetadata": "false"}, {}),
    ("tls by metadata", {**BASE, "tls": "enable", "unsafeSsl": "true"}, {}),
    ("tls by auth", BASE, {"tls": "enable", "ca": "PEM", "cert": "PEM", "key": "PEM", "keyPassword": "x"}),
    ("metadata wins over auth", {**BASE, "sasl": "none", "tls": "disable"}, {"sasl": "plaintext", **LOGIN}),
    ("plain", {**BASE, "sasl": "plaintext"}, LOGIN),
    ("scram 256", BASE, {"sasl": "scram_sha256", **LOGIN}),
    ("scram 512", BASE, {"sasl": "scram_sha512", "tls": "enable", **LOGIN}),
    ("tokens", BASE, {**OAUTH, "scopes": "a,b", "oauthExtensions": "logicalCluster=x, poolId=y=z"}),
    ("tokens by name", {**BASE, "saslTokenProvider": "bearer"}, OAUTH),
    ("kerberos", BASE, {"sasl": "gssapi", "kerberosServiceName": "k", "kerberosDisableFAST": "true"}),
    ("a login that nothing uses", BASE, LOGIN),
    ("a region that nothing uses", {**BASE, "awsRegion": "eu-west-1"}, {}),
]


@pytest.mark.parametrize(("metadata", "auth"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_these_are_accepted(metadata: dict[str, str], auth: dict[str, str]) -> None:
    assert _faults(metadata, auth) == ""


PARTITIONS = "write numbers and ranges such as 1,3,5-8"
EVEN = {"ensureEvenDistributionOfPartitions": "true"}
BAD: list[tuple[str, dict[str, str], dict[str, str], str]] = [
    ("no servers", {"consumerGroup": "g"}, {}, "bootstrapServers: missing"),
    ("no group", {"bootstrapServers": "b"}, {}, "consumerGroup: missing"),
    ("a scheme", {**BASE, "bootstrapServers": "PLAINTEXT://b:9092"}, {}, "without a scheme"),
    ("an empty server", {**BASE, "bootstrapServers": "b,"}, {}, "got ''; write host:port"),
    ("no port number", {**BASE, "bootstrapServers": "b:x"}, {}, "got 'b:x'; write host:port"),
    ("port 0", {**BASE, "bootstrapServers": "b:0"}, {}, "got 'b:0'; write host:port"),
    ("port 65536", {**BASE, "bootstrapServers": "b:65536"}, {}, "got 'b:65536'; write host:port"),
    ("bare IPv6", {**BASE, "bootstrapServers": "::1:9092"}, {}, "in brackets"),
    ("open bracket", {**BASE, "bootstrapServers": "[::1"}, {}, "got '[::1'; write host:port"),
    ("a topic's name", {**BASE, "topic": "a b"}, {}, "topic: got 'a b'; a topic's name"),
    ("a topic of dots", {**BASE, "topic": ".."}, {}, "topic: got '..'; a topic's name"),
    ("an empty topic", {**BASE, "topic": "a,,b"}, {}, "topic: got ''; a topic's name"),
    ("threshold 0", {**BASE, "lagThreshold": "0"}, {}, "lagThreshold: got '0'; write a number above 0"),
    ("threshold -1", {**BASE, "lagThreshold": "-1"}, {}, "lagThreshold: got '-1'; write a number above 0"),
    ("threshold 5.0", {**BASE, "lagThreshold": "5.0"}, {}, "lagThreshold: got '5.0'; write a whole number"),
    (
        "activation -1",
        {**BASE, "activationLagThreshold": "-1"},
        {},
        "activationLagThreshold: got '-1'; write a number of at least 0",
    ),
    (
        "policy",
        {**BASE, "offsetResetPolicy": "none"},
        {},
        "offsetResetPolicy: got 'none'; write one of latest, earliest",
    ),
    (
        "policy's case",
        {**BASE, "offsetResetPolicy": "Latest"},
        {},
        "offsetResetPolicy: got 'Latest'; did you mean 'latest'?",
    ),
    ("no boolean", {**BASE, "allowIdleConsumers": "yes"}, {}, "allowIdleConsumers: got 'yes'"),
    (
        "idle and limited",
        {**BASE, "allowIdleConsumers": "true", "limitToPartitionsWithLag": "true"},
        {},
        "allowIdleConsumers and limitToPartitionsWithLag: give one",
    ),
    (
        "limited and even",
        {**BASE, "limitToPartitionsWithLag": "true", **EVEN},
        {},
        "limitToPartitionsWithLag and ensureEvenDistributionOfPartitions: give one",
    ),
    ("limited without topic", {**NO_TOPIC, "limitToPartitionsWithLag": "true"}, {}, "needs topic"),
    ("even without topic", {**NO_TOPIC, **EVEN}, {}, "ensureEvenDistributionOfPartitions: needs topic"),
    ("part of the metadata", {**NO_TOPIC, "fullMetadata": "false"}, {}, "fullMetadata false: needs topic"),
    ("handed out without topic", {**NO_TOPIC, **ASSIGN}, {}, "assignPartitions: needs topic"),
    (
        "handed out to idle ones",
        {**BASE, **ASSIGN, "allowIdleConsumers": "true"},
        {},
        "assignPartitions and allowIdleConsumers: give one of the two",
    ),
    (
        "handed out evenly",
        {**BASE, **ASSIGN, **EVEN},
        {},
        "assignPartitions and ensureEvenDistributionOfPartitions: give one of the two",
    ),
    (
        "handed out without what stays",
        {**BASE, **ASSIGN, "excludePersistentLag": "true"},
        {},
        "assignPartitions and excludePersistentLag: give one of the two",
    ),
    (
        "handed out though nothing may wait",
        {**BASE, **ASSIGN, "offsetResetPolicy": "latest"},
        {},
        "assignPartitions: needs offsetResetPolicy earliest, or an untouched partition counts 1",
    ),
    ("partition words", {**BASE, "partitionLimitation": "1,x"}, {}, f"got 'x'; {PARTITIONS}"),
    ("partitions downwards", {**BASE, "partitionLimitation": "5-3"}, {}, f"got '5-3'; {PARTITIONS}"),
    ("partition gaps", {**BASE, "partitionLimitation": "1,,2"}, {}, f"got ''; {PARTITIONS}"),
    ("too many partitions", {**BASE, "partitionLimitation": "0-999999999"}, {}, PARTITIONS),
    ("version of two parts", {**BASE, "version": "2.8"}, {}, "version: got '2.8'; write three numbers"),
    ("version of three with 0", {**BASE, "version": "0.10.2"}, {}, "version: got '0.10.2'; write three"),
    ("version of words", {**BASE, "version": "latest"}, {}, "version: got 'latest'; write three numbers"),
    ("tls word", {**BASE, "tls": "true"}, {}, "tls: got 'true'; write one of enable, disable"),
    ("cert alone", BASE, {"tls": "enable", "cert": "x"}, "cert and key: give both or none"),
    ("key alone", BASE, {"tls": "enable", "key": "x"}, "cert and key: give both or none"),
    ("ca without tls", BASE, {"ca": "x"}, "the connection is plain; give tls: enable"),
    ("ca by metadata", {**BASE, "ca": "x"}, {}, "ca: not allowed in metadata; give it by auth"),
    ("sasl word", {**BASE, "sasl": "PLAIN"}, {}, "sasl: got 'PLAIN'; did you mean"),
    ("two sasl words", {**BASE, "sasl": "none,plaintext"}, {}, "sasl: got 'none,plaintext'"),
    ("plain without login", {**BASE, "sasl": "plaintext"}, {}, "sasl plaintext: needs username and password"),
    (
        "scram without password",
        BASE,
        {"sasl": "scram_sha256", "username": "u"},
        "needs username and password",
    ),
    (
        "tokens without secret",
        BASE,
        {**OAUTH, "password": ""},
        "sasl oauthbearer: needs username and password",
    ),
    ("tokens without endpoint", BASE, {**OAUTH, "oauthTokenEndpointUri": ""}, "needs oauthTokenEndpointUri"),
    ("endpoint with login", BASE, {**OAUTH, "oauthTokenEndpointUri": "https://u:p@x/"}, "needs oauthToken"),
    ("extension without value", BASE, {**OAUTH, "oauthExtensions": "canary"}, "oauthExtensions: write key="),
    ("extension auth", BASE, {**OAUTH, "oauthExtensions": "auth=canary"}, "oauthExtensions: write key="),
    ("aws", {**BASE, "sasl": "aws_msk_iam"}, {}, "aws_msk_iam: logins by AWS identities are not supported"),
    ("aws tokens", {**BASE, "saslTokenProvider": "aws_msk_iam"}, OAUTH, "aws_msk_iam: logins by AWS"),
    (
        "kerberos by rule",
        BASE,
        KERBEROS,
        "sasl gssapi: username, keytab, realm: not read from rules; set KRB5",
    ),
    ("unknown key", {**BASE, "lagThreshhold": "1"}, {}, "unknown key; did you mean 'lagThreshold'?"),
]


@pytest.mark.parametrize(
    ("metadata", "auth", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_these_are_refused(metadata: dict[str, str], auth: dict[str, str], expected: str) -> None:
    faults = _faults(metadata, auth)
    assert expected in faults
    assert "canary" not in faults


def _built(metadata: dict[str, str], auth: dict[str, str]) -> Metadata:
    chosen, faults = resolve(Metadata, metadata, auth, {})
    assert faults == ()
    return Metadata.model_validate(chosen)


def test_what_follows_from_the_parameters() -> None:
    meta = _built({**BASE, "lagThreshold": "3"}, {})
    assert SCALER.target(meta) == 3
    assert SCALER.source(meta) == "kafka://b1:9092,b2:9092"
    assert SCALER.check(meta, None) == ()
    assert SCALER.check(meta, "system") == ("identity: not used by kafka; remove it",)
    assert SCALER.target(_built(BASE, {})) == 10


def test_secrets_are_in_no_representation_and_tell_connections_apart() -> None:
    auth = {"sasl": "plaintext", **LOGIN, "tls": "enable", "cert": "canary", "key": "canary"}
    meta = _built(BASE, auth)
    assert "canary" not in repr(meta) + repr(meta.cluster)
    assert meta.cluster.sasl is Sasl.PLAIN
    assert meta.cluster == _built(BASE, auth).cluster
    assert meta.cluster != _built(BASE, {**auth, "password": "canary2"}).cluster


def test_partitions_are_read_as_numbers_and_ranges() -> None:
    assert read_partitions("1, 3,5-8,7") == frozenset({1, 3, 5, 6, 7, 8})
    assert read_partitions("  ") is None


def _rules(**more: object) -> LagRules:
    plain = {
        "threshold": 10,
        "activation": 0,
        "earliest": False,
        "zero_on_invalid": False,
        "idle_consumers": False,
        "only_with_lag": False,
        "even": False,
        "exclude_persistent": False,
    }
    return LagRules(**{**plain, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lags", "more", "expected"),
    [
        ([31, 0, 0], {}, 30),  # KEDA: 31 to 39 make four executions of three partitions
        ([39, 0, 0], {}, 30),
        ([30, 0, 0], {}, 30),
        ([31, 0, 0], {"idle_consumers": True}, 31),
        ([31, 0, 0], {"assign": True}, 31),  # one execution for it, whatever its lag
        ([31, 0, 1], {"only_with_lag": True}, 20),
        ([0, 0, 0], {"only_with_lag": True}, 0),
        ([0] * 6, {"even": True}, 0),  # KEDA: one threshold
        ([1] + [0] * 5, {"even": True}, 10),
        ([11] + [0] * 5, {"even": True}, 20),
        ([21] + [0] * 5, {"even": True}, 30),
        ([31] + [0] * 5, {"even": True}, 60),
        ([999] + [0] * 5, {"even": True}, 60),
        ([999] + [0] * 5, {"even": True, "idle_consumers": True}, 60),
        ([5], {"even": True}, 10),
    ],
)
def test_executions_are_bounded_by_partitions(
    lags: list[int], more: dict[str, object], expected: int
) -> None:
    assert bounded(lags, _rules(**more)) == expected


def _state(committed: int | None, end: int | None, start: int | None = None) -> PartitionState:
    return PartitionState(topic="t", partition=0, committed=committed, end=end, start=start)


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        (_state(3, 10), {}, 7),
        (_state(3, 10, 8), {}, 2),
        (_state(3, 10, 1), {}, 7),
        (_state(12, 10), {}, 0),
        (_state(3, None), {}, 0),  # brokers such as Event Hubs leave figures out
        (_state(None, 10), {}, 1),
        (_state(None, None), {}, 1),
        (_state(None, 10), {"zero_on_invalid": True}, 0),
        (_state(None, 10, 4), {"earliest": True}, 6),
        (_state(None, None), {"earliest": True}, 0),
        (_state(None, 10, 4), {"earliest": True, "zero_on_invalid": True}, 0),
    ],
)
def test_the_lag_of_a_partition(state: PartitionState, more: dict[str, object], expected: int) -> None:
    assert LagMeter(_rules(**more)).measure((state,)).value == expected


def test_each_partition_is_a_share_that_tells_a_worker_what_to_assign() -> None:
    states = (_state(3, 10), PartitionState(topic="u", partition=4, committed=None, end=6, start=6))
    first, second = LagMeter(_rules(earliest=True)).shares(states, "workers")
    assert first == Share(
        key="t/0",
        value=7.0,
        env=(
            ("SCALER_KAFKA_TOPIC", "t"),
            ("SCALER_KAFKA_PARTITION", "0"),
            ("SCALER_KAFKA_GROUP", "workers"),
        ),
    )
    assert (second.key, second.value) == ("u/4", 0.0)


def test_a_rule_says_whether_it_hands_out_partitions() -> None:
    assert SCALER.shares(_built({**BASE, **ASSIGN}, {})) == "assignPartitions"
    assert SCALER.shares(_built(BASE, {})) is None
