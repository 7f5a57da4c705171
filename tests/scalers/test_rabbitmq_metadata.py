"""Parameters of the `rabbitmq` scaler: KEDA's rules, and the faults of KEDA's that are refused here."""

from __future__ import annotations

import pytest

from scaler.scalers.rabbitmq import SCALER, Metadata
from scaler.wire.metadata import resolve, validate

AMQP = {"queueName": "orders", "host": "amqp://user:canary@broker:5672/vhost"}
HTTP = {"queueName": "orders", "host": "http://user:canary@broker:15672/vhost"}
OAUTH = {"oauthTokenURI": "https://id.example/token", "clientID": "id", "clientSecret": "canary"}


def _faults(metadata: dict[str, str], auth: dict[str, str]) -> str:
    built, faults = validate(Metadata, metadata, auth, {"HOST": "amqp://broker", "USER": "u", "PW": "p"})
    assert (built is None) == bool(faults)
    return "; ".join(f"{fault.key}: {fault.message}" for fault in faults)


GOOD: list[tuple[str, dict[str, str], dict[str, str], float]] = [
    ("nothing about the number", AMQP, {}, 20),
    ("queueLength", {**AMQP, "queueLength": "10"}, {}, 10),
    ("mode and value", {**AMQP, "mode": "QueueLength", "value": "2.5"}, {}, 2.5),
    ("value in milli steps", {**AMQP, "mode": "QueueLength", "value": "1.2345"}, {}, 1.234),
    ("value rounded up", {**AMQP, "mode": "QueueLength", "value": "26.2345"}, {}, 26.235),
    ("value with exponent", {**AMQP, "mode": "QueueLength", "value": "1e1"}, {}, 10),
    ("queueLength 0 is not given", {**AMQP, "queueLength": "0"}, {}, 20),
    ("value 0 is not given", {**AMQP, "value": "0"}, {}, 20),
    ("mode Unknown is not given", {**AMQP, "mode": "Unknown"}, {}, 20),
    ("value 0 beside queueLength", {**AMQP, "value": "0", "queueLength": "3"}, {}, 3),
    ("empty texts are not given", {**AMQP, "mode": " ", "value": "", "queueLength": ""}, {}, 20),
    ("host by auth", {"queueName": "q"}, {"host": "amqp://broker"}, 20),
    ("host by environment", {"queueName": "q", "hostFromEnv": "HOST"}, {}, 20),
    ("user by environment", {**AMQP, "usernameFromEnv": "USER", "passwordFromEnv": "PW"}, {}, 20),
    ("user by auth", AMQP, {"username": "u", "password": "p"}, 20),
    ("protocol by auth", {"queueName": "q", "host": "http://broker"}, {"protocol": "http"}, 20),
    ("protocol fits", {**HTTP, "protocol": "http"}, {}, 20),
    ("https", {"queueName": "q", "host": "https://broker"}, {}, 20),
    ("amqps", {"queueName": "q", "host": "amqps://broker"}, {}, 20),
    ("amqp without a host is this machine", {"queueName": "q", "host": "amqp://"}, {}, 20),
    ("negative activation", {**AMQP, "activationValue": "-1"}, {}, 20),
    ("activation 0.5", {**AMQP, "activationValue": "0.5"}, {}, 20),
    ("vhost by auth", AMQP, {"vhostName": "v"}, 20),
    ("rates", {**HTTP, "mode": "MessageRate", "value": "100"}, {}, 100),
    ("deliver rate", {**HTTP, "mode": "DeliverGetRate", "value": "100"}, {}, 100),
    ("ratio", {**HTTP, "mode": "PublishedToDeliveredRatio", "value": "1.5"}, {}, 1.5),
    ("time", {**HTTP, "mode": "ExpectedQueueConsumptionTime", "value": "60"}, {}, 60),
    ("regex", {**HTTP, "useRegex": "true", "pageSize": "500", "operation": "max"}, {}, 20),
    ("operation without regex", {**AMQP, "operation": "avg"}, {}, 20),
    ("ready only", {**HTTP, "excludeUnacknowledged": "T"}, {}, 20),
    ("timeout in milliseconds", {**HTTP, "timeout": "1000"}, {}, 20),
    ("timeout as text", {**HTTP, "timeout": "1m1.5s"}, {}, 20),
    ("timeout over AMQP without mode", {**AMQP, "timeout": "1000"}, {}, 20),
    ("tls", AMQP, {"tls": "enable", "ca": "pem", "cert": "pem", "key": "pem", "keyPassword": "canary"}, 20),
    ("ca on an encrypted scheme", {"queueName": "q", "host": "https://b"}, {"ca": "pem"}, 20),
    ("unsafe", {**HTTP, "unsafeSsl": "true"}, {}, 20),
    ("entra", HTTP, {"workloadIdentityResource": "api://broker"}, 20),
    ("oauth", HTTP, {**OAUTH, "scopes": "a,b", "endpointParams": "audience=x&y=z"}, 20),
]


@pytest.mark.parametrize(("metadata", "auth", "target"), [c[1:] for c in GOOD], ids=[c[0] for c in GOOD])
def test_good_parameters_are_taken(metadata: dict[str, str], auth: dict[str, str], target: float) -> None:
    built, faults = validate(Metadata, metadata, auth, {"HOST": "amqp://broker", "USER": "u", "PW": "p"})
    assert faults == ()
    assert isinstance(built, Metadata)
    assert SCALER.target(built) == target
    assert "canary" not in f"{built!r} {SCALER.source(built)}"


BAD: list[tuple[dict[str, str], dict[str, str], str]] = [
    ({}, {}, "queueName: missing"),
    ({"queueName": "q"}, {}, "host: missing"),
    ({"host": "amqp://broker"}, {}, "queueName: missing"),
    ({**AMQP, "queueLength": "AA"}, {}, "queueLength: got 'AA'; write a whole number"),
    ({**AMQP, "queueLength": "5.0"}, {}, "queueLength: got '5.0'"),
    ({**AMQP, "mode": "QueueLength", "value": ".5"}, {}, "value: got '.5'"),
    ({**AMQP, "queueLength": "1", "mode": "QueueLength", "value": "1"}, {}, "queueLength: the older form"),
    ({**AMQP, "queueLength": "1", "value": "1"}, {}, "queueLength: the older form"),
    ({**AMQP, "queueLength": "1", "mode": "QueueLength"}, {}, "queueLength: the older form"),
    ({**AMQP, "mode": "QueueLength"}, {}, "mode QueueLength: needs a value"),
    ({**AMQP, "mode": "QueueLength", "value": "0"}, {}, "mode QueueLength: needs a value"),
    ({**AMQP, "value": "5"}, {}, "value: needs a mode; known: QueueLength, MessageRate"),
    ({**AMQP, "mode": "Unknown", "value": "5"}, {}, "value: needs a mode"),
    (
        {**AMQP, "mode": "queueLength", "value": "5"},
        {},
        "mode: got 'queueLength'; did you mean 'QueueLength'?",
    ),
    ({**AMQP, "mode": "QueueLength,MessageRate", "value": "5"}, {}, "mode: got"),
    ({**AMQP, "queueLength": "-5"}, {}, "queueLength: got -5; write a number of at least 1"),
    ({**AMQP, "mode": "QueueLength", "value": "-5"}, {}, "value: got -5; write a number of at least 0.001"),
    ({**AMQP, "mode": "QueueLength", "value": "0.0004"}, {}, "value: got 0.0004"),
    ({**AMQP, "mode": "MessageRate", "value": "5"}, {}, "mode MessageRate: needs the management API"),
    ({**AMQP, "mode": "DeliverGetRate", "value": "5"}, {}, "mode DeliverGetRate: needs"),
    (
        {**AMQP, "mode": "PublishedToDeliveredRatio", "value": "5"},
        {},
        "mode PublishedToDeliveredRatio: needs",
    ),
    ({**AMQP, "mode": "ExpectedQueueConsumptionTime", "value": "5"}, {}, "mode ExpectedQueueConsumptionTime"),
    ({**AMQP, "excludeUnacknowledged": "true"}, {}, "excludeUnacknowledged: needs the management API"),
    ({**AMQP, "excludeUnacknowledged": "yes"}, {}, "excludeUnacknowledged: got 'yes'"),
    ({**AMQP, "useRegex": "true"}, {}, "useRegex: needs the management API"),
    ({**AMQP, "mode": "QueueLength", "value": "1", "timeout": "5s"}, {}, "timeout: needs the management API"),
    ({**HTTP, "timeout": "-5"}, {}, "timeout: got '-5'; write whole milliseconds or a duration"),
    ({**HTTP, "timeout": "5 s"}, {}, "timeout: got '5 s'"),
    ({**HTTP, "pageSize": "0"}, {}, "pageSize: got '0'; write a number of at least 1"),
    ({**HTTP, "pageSize": "501"}, {}, "pageSize: got '501'; write a number of at most 500"),
    ({**HTTP, "useRegex": "true", "operation": "min"}, {}, "operation: got"),
    ({**HTTP, "queueLenght": "5"}, {}, "queueLenght: unknown key; did you mean 'queueLength'?"),
    ({**HTTP, "password": "canary"}, {}, "password: not allowed in metadata; give it by auth"),
    ({**HTTP, "tls": "enable"}, {}, "tls: not allowed in metadata"),
    (HTTP, {"queueName": "x"}, "queueName: not an auth parameter"),
    ({"queueName": "q", "hostFromEnv": "NONE"}, {}, "hostFromEnv: no variable 'NONE'"),
    (AMQP, {"username": "u"}, "username and password: give both or none"),
    (AMQP, {"password": "canary"}, "username and password: give both or none"),
    (AMQP, {"tls": "enable", "cert": "pem"}, "cert and key: give both or none"),
    (AMQP, {"tls": "enable", "key": "canary"}, "cert and key: give both or none"),
    (AMQP, {"tls": "yes"}, "tls: got 'yes'; write one of enable, disable"),
    (AMQP, {"ca": "pem"}, "the connection is plain; give tls: enable by auth"),
    ({**AMQP, "protocol": "AMQP"}, {}, "protocol: got"),
    ({**AMQP, "protocol": "http"}, {}, "protocol http: host must be an http:// or https:// URL"),
    ({**HTTP, "protocol": "amqp"}, {}, "protocol amqp: host must be an amqp:// or amqps:// URL"),
    ({"queueName": "q", "host": "something://canary"}, {}, "host: not an amqp://"),
    ({"queueName": "q", "host": "canary"}, {}, "host: not an amqp://"),
    ({"queueName": "q", "host": "http://"}, {}, "host: no host name in the URL"),
    (
        {"queueName": "q", "host": "amqp://u:canary/more@broker"},
        {},
        "host: the port of the URL is not a number",
    ),
    ({"queueName": "q", "host": "amqp://u:p#canary@broker"}, {}, "host: the URL has a '?' or '#'"),
    ({"queueName": "q", "host": "amqp://u:p?canary@broker"}, {}, "host: the URL has a '?' or '#'"),
    ({"queueName": "q", "host": "amqp://u:[canary@broker"}, {}, "host: not a URL; percent-encode"),
    ({**AMQP, "queueName": "q" * 256}, {}, "queueName: longer than 255 bytes"),
    (AMQP, {"workloadIdentityResource": "r"}, "workloadIdentityResource: needs the management API"),
    (AMQP, OAUTH, "OAuth2: needs the management API"),
    (HTTP, {"clientID": "id"}, "OAuth2: needs oauthTokenURI, clientID and clientSecret"),
    (HTTP, {"scopes": "a"}, "OAuth2: needs oauthTokenURI, clientID and clientSecret"),
    (HTTP, {**OAUTH, "oauthTokenURI": "canary"}, "oauthTokenURI: not an http:// or https:// URL"),
    (HTTP, {**OAUTH, "oauthTokenURI": "https://u:canary@x/"}, "oauthTokenURI: not an"),
    (HTTP, {**OAUTH, "username": "u", "password": "p"}, "OAuth2: excludes username and password"),
    (HTTP, {**OAUTH, "workloadIdentityResource": "r"}, "OAuth2: excludes workloadIdentityResource"),
]


@pytest.mark.parametrize(("metadata", "auth", "expected"), BAD, ids=[c[2][:60] for c in BAD])
def test_bad_parameters_are_refused_in_words_without_secrets(
    metadata: dict[str, str], auth: dict[str, str], expected: str
) -> None:
    said = _faults(metadata, auth)
    assert expected in said
    assert "canary" not in said


def test_all_faults_across_parameters_are_told_at_once() -> None:
    said = _faults({**AMQP, "useRegex": "true", "value": "5"}, {"username": "u"})
    assert [what in said for what in ("username and password", "value: needs a mode", "useRegex: needs")] == [
        True
    ] * 3


@pytest.mark.parametrize(
    ("host", "vhost_name", "expected"),
    [
        ("amqp://b", "", ("amqp://b:5672", "/")),
        ("amqp://b/", "", ("amqp://b:5672", "/")),
        ("amqp://b//", "", ("amqp://b:5672", "/")),
        ("amqp://b/%2F", "", ("amqp://b:5672", "/")),
        ("amqp://b/%252F", "", ("amqp://b:5672", "%2F")),
        ("amqp://b/with/slash", "", ("amqp://b:5672", "with/slash")),
        ("amqp://b/named/", "", ("amqp://b:5672", "named/")),
        ("amqp://b/per%25cent", "", ("amqp://b:5672", "per%cent")),
        ("amqp://b/v", "/", ("amqp://b:5672", "/")),
        ("amqp://b/v", "%2F", ("amqp://b:5672", "%2F")),
        ("amqps://b", "", ("amqps://b:5671", "/")),
        ("amqp://[::1]:1/v", "", ("amqp://[::1]:1", "v")),
        ("http://b", "", ("http://b:80", "/")),
        ("https://b/", "", ("https://b:443", "/")),
        ("http://b/%2F", "", ("http://b:80", "/")),
        ("http://b/%252F", "", ("http://b:80", "/")),
        ("http://b/with/slash", "", ("http://b:80/with", "slash")),
        ("http://b/named/", "", ("http://b:80/named", "/")),
        ("http://b/a/b/v", "", ("http://b:80/a/b", "v")),
        ("http://b/per%25cent", "", ("http://b:80", "per%cent")),
        ("http://b/a%20b", "", ("http://b:80", "a b")),
        ("http://b/with%2Fslash", "", ("http://b:80", "with/slash")),
        ("http://b/prefix/v", "other one", ("http://b:80/prefix", "other one")),
        ("http://b/v", "%2F", ("http://b:80", "%2F")),
    ],
)
def test_host_and_vhost_name_give_address_and_vhost(
    host: str, vhost_name: str, expected: tuple[str, str]
) -> None:
    built, _told = validate(Metadata, {"queueName": "q", "host": host, "vhostName": vhost_name}, {}, {})
    assert isinstance(built, Metadata)
    assert (built.address.origin, built.address.vhost) == expected


def test_tls_enable_never_stays_plain() -> None:
    origins = []
    for host in ("amqp://b:5672", "amqp://b", "http://b:15672", "http://b", "amqps://b", "https://b"):
        built, _told = validate(Metadata, {"queueName": "q", "host": host}, {"tls": "enable"}, {})
        assert isinstance(built, Metadata)
        assert built.address.tls is not None
        origins.append(built.address.origin)
    assert origins == [
        "amqps://b:5672",
        "amqps://b:5671",
        "https://b:15672",
        "https://b:443",
        "amqps://b:5671",
        "https://b:443",
    ]


def test_user_and_password_override_those_of_the_url() -> None:
    built, _told = validate(Metadata, AMQP, {"username": "a@b", "password": "p:/%"}, {})
    assert isinstance(built, Metadata)
    assert (built.address.user, built.address.password) == ("a@b", "p:/%")
    escaped = {"queueName": "q", "host": "amqp://a%40b:p%3A%2F%25@broker/"}
    built, _told = validate(Metadata, escaped, {}, {})
    assert isinstance(built, Metadata)
    assert (built.address.user, built.address.password) == ("a@b", "p:/%")


def test_metadata_comes_before_auth_and_auth_before_the_environment() -> None:
    chosen, faults = resolve(
        Metadata,
        {**AMQP, "hostFromEnv": "HOST", "usernameFromEnv": "USER"},
        {"host": "amqp://by-auth", "username": "by-auth"},
        {"HOST": "amqp://by-env", "USER": "by-env"},
    )
    assert faults == ()
    assert (chosen["host"], chosen["username"]) == (AMQP["host"], "by-auth")


def test_an_identity_that_nothing_uses_is_told() -> None:
    plain, _a = validate(Metadata, HTTP, {}, {})
    entra, _b = validate(Metadata, HTTP, {"workloadIdentityResource": "r"}, {})
    assert isinstance(plain, Metadata)
    assert isinstance(entra, Metadata)
    checks = [SCALER.check(plain, "system"), SCALER.check(plain, None), SCALER.check(entra, "system")]
    assert [len(found) for found in checks] == [1, 0, 0]
    assert "workloadIdentityResource" in checks[0][0]
