"""The parameters of `azure-servicebus`: sources, defaults, faults with what to do, and never a secret."""

from __future__ import annotations

import pytest

from scaler.plugins import SCALERS
from scaler.scalers.azure_servicebus import combine, compile_pattern
from tests.scalers.azure_rules import read

KIND = "azure-servicebus"
CANARY = "canarycanarycanary"
CONNECTION = f"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={CANARY}"
EMULATOR = f"Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=root;SharedAccessKey={CANARY};UseDevelopmentEmulator=true;"
SUBSCRIPTION = {"topicName": "events", "subscriptionName": "audit"}


@pytest.mark.parametrize(
    ("texts", "key", "message"),
    [
        ({}, "queueName", "missing; give queueName, or topicName"),
        ({"queueName": "q", **SUBSCRIPTION}, "queueName", "not together with topicName"),
        ({"queueName": "q", "subscriptionName": "s"}, "subscriptionName", "needs topicName"),
        ({"topicName": "t"}, "subscriptionName", "missing"),
        ({"queueName": "q", "topicName": "t"}, "subscriptionName", "missing"),
        ({"queueName": "q", "messageCount": "0"}, "messageCount", "write a number above 0"),
        ({"queueName": "q", "messageCount": "-5"}, "messageCount", "write a number above 0"),
        ({"queueName": "q", "messageCount": "5.5"}, "messageCount", "whole number"),
        ({"queueName": "q", "activationMessageCount": "x"}, "activationMessageCount", "whole number"),
        ({"queueName": "q", "useRegex": "yes"}, "useRegex", "true or false"),
        ({"queueName": "q(", "useRegex": "true"}, "useRegex", "'q(' is not a regular expression"),
        ({"topicName": "t", "subscriptionName": "[", "useRegex": "true"}, "useRegex", "not a regular"),
        ({"queueName": "q(?=x)", "useRegex": "true"}, "useRegex", "not a regular expression of RE2"),
        ({"queueName": "q", "messageCount": "9" * 400}, "messageCount", "a number of 400 digits"),
        ({"queueName": "q", "operation": "min"}, "operation", "got 'min'; write one of sum, max, avg"),
        ({"queueName": "q", "operation": "SUM"}, "operation", "did you mean 'sum'?"),
        ({"queueName": "q", "cloud": "Moon"}, "cloud", "AzurePublicCloud"),
        ({"queueName": "q", "cloud": "Private"}, "endpointSuffix", "missing"),
        ({"queueName": "q", "connection": CONNECTION}, "connection", "not allowed in metadata"),
        ({"queueName": "q", "adminPort": "70000"}, "adminPort", "65535"),
        ({"queueName": "q", "messageCnt": "1"}, "messageCnt", "did you mean 'messageCount'?"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_to_do(texts: dict[str, str], key: str, message: str) -> None:
    meta, faults = read(KIND, texts)
    assert meta is None
    assert [fault.key for fault in faults] == [key]
    assert message in faults[0].message
    assert CANARY not in repr(faults)


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ("canary", "not a connection string"),
        ("SharedAccessKeyName=a;SharedAccessKey=canary", "no Endpoint"),
        ("Endpoint=canary;SharedAccessKeyName=a;SharedAccessKey=canary", "not an address"),
        ("Endpoint=sb://h;SharedAccessKey=canary", "both SharedAccessKeyName and SharedAccessKey"),
        ("Endpoint=sb://h", "either SharedAccessKey or SharedAccessSignature"),
    ],
)
def test_a_broken_connection_string_is_explained_without_its_text(connection: str, message: str) -> None:
    meta, faults = read(KIND, {"queueName": "q"}, {"connection": connection})
    assert meta is None
    assert [(fault.key, fault.in_auth) for fault in faults] == [("connection", True)]
    assert message in faults[0].message
    assert "canary" not in repr(faults)


def test_defaults_are_those_of_the_source() -> None:
    meta, faults = read(KIND, {"queueName": "orders", "connectionFromEnv": "BUS"}, BUS=CONNECTION)
    assert faults == ()
    assert meta is not None
    assert meta.model_dump(exclude={"connection"}, exclude_none=True) == {
        "queue_name": "orders",
        "message_count": 5,
        "activation_message_count": 0,
        "use_regex": False,
        "operation": "sum",
        "cloud": "AzurePublicCloud",
    }
    assert SCALERS.load(KIND).target(meta) == 5.0
    assert CANARY not in repr(meta)


@pytest.mark.parametrize(
    ("texts", "connection", "expected"),
    [
        ({}, CONNECTION, "ns.servicebus.windows.net"),
        ({}, f"{CONNECTION};EntityPath=other", "ns.servicebus.windows.net"),
        ({}, EMULATOR, "127.0.0.1:5300"),
        ({}, EMULATOR.replace("=true", "=True"), "127.0.0.1:5300"),
        ({"adminPort": "5301"}, EMULATOR, "127.0.0.1:5301"),
        ({"namespace": "ns"}, None, "ns.servicebus.windows.net"),
        ({"namespace": "ns.servicebus.windows.net"}, None, "ns.servicebus.windows.net"),
        ({"namespace": "ns", "cloud": "AzureCloud"}, None, "ns.servicebus.windows.net"),
        ({"namespace": "ns", "cloud": "azurechinacloud"}, None, "ns.servicebus.chinacloudapi.cn"),
        ({"namespace": "ns", "cloud": "AzureUSGovernment"}, None, "ns.servicebus.usgovcloudapi.net"),
        ({"namespace": "ns", "cloud": "AzureUSGovernmentCloud"}, None, "ns.servicebus.usgovcloudapi.net"),
        ({"namespace": "ns", "cloud": "AzureGermanCloud"}, None, "ns.servicebus.cloudapi.de"),
        ({"cloud": "Private", "endpointSuffix": "bus.corp"}, CONNECTION, "ns.servicebus.windows.net"),
        ({"namespace": "ns.bus.corp", "cloud": "Private", "endpointSuffix": "bus.corp"}, None, "ns.bus.corp"),
        ({"namespace": "ns", "endpointSuffix": "bus.corp"}, None, "ns.servicebus.windows.net"),
        ({"namespace": "ns", "adminPort": "8443"}, None, "ns.servicebus.windows.net:8443"),
        ({}, EMULATOR.replace(":5672", ""), "127.0.0.1:5300"),
        ({}, EMULATOR.replace(":5672", ":5300"), "127.0.0.1:5300"),
        ({"adminPort": "15300"}, EMULATOR.replace(":5672", ":15300"), "127.0.0.1:15300"),
        ({}, EMULATOR.replace("127.0.0.1:5672", "[::1]:5672"), "[::1]:5300"),
        ({}, EMULATOR.replace("127.0.0.1:5672", "host.docker.internal"), "host.docker.internal:5300"),
        ({"namespace": "ns", "cloud": "Private", "endpointSuffix": ".bus.corp"}, None, "ns.bus.corp"),
    ],
)
def test_the_source_is_the_host_without_secrets(
    texts: dict[str, str], connection: str | None, expected: str
) -> None:
    meta, faults = read(KIND, {"queueName": "q", **texts}, {"connection": connection} if connection else {})
    assert faults == ()
    assert SCALERS.load(KIND).source(meta) == expected


@pytest.mark.parametrize(
    ("texts", "connection", "identity", "faulty"),
    [
        ({}, None, None, "connection"),
        ({"namespace": "ns"}, None, None, "connection"),
        ({}, None, "system", "namespace"),
        ({}, CONNECTION, None, ""),
        ({"namespace": "ns"}, None, "system", ""),
    ],
)
def test_missing_credentials_are_found_before_the_first_poll(
    texts: dict[str, str], connection: str | None, identity: str | None, faulty: str
) -> None:
    meta, _faults = read(KIND, {"queueName": "q", **texts}, {"connection": connection} if connection else {})
    found = SCALERS.load(KIND).check(meta, identity)
    assert [text.partition(":")[0] for text in found] == ([faulty] if faulty else [])


@pytest.mark.parametrize(
    ("counts", "operation", "expected"),
    [
        ([], "sum", 0),
        ([], "max", 0),
        ([], "avg", 0),
        ([1, 2, 4], "sum", 7),
        ([1, 2, 4], "max", 4),
        ([1, 2, 4], "avg", 2),
    ],
)
def test_matches_are_combined_as_the_operation_says(counts: list[int], operation: str, expected: int) -> None:
    assert combine(counts, operation) == expected


def test_no_pattern_takes_longer_than_the_name_is_long() -> None:
    pattern = compile_pattern("(a+)+")
    assert pattern.fullmatch("a" * 5000)
    assert pattern.fullmatch("a" * 5000 + "b") is None
