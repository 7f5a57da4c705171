"""The parameters of `azure-queue`: sources, defaults, faults with what to do, and never a secret."""

from __future__ import annotations

import base64

import pytest

from scaler.plugins import SCALERS
from tests.infra.azurite import KEY
from tests.scalers.azure_rules import read

KIND = "azure-queue"
CANARY = base64.b64encode(b"canary-canary-canary-canary-key!").decode()
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={CANARY}"
EMULATOR = f"AccountName=acct;AccountKey={KEY};QueueEndpoint=http://azurite:10001/devstoreaccount1/"


@pytest.mark.parametrize(
    ("texts", "key", "message"),
    [
        ({}, "queueName", "missing"),
        ({"queueName": "  "}, "queueName", "missing"),
        ({"queueName": "q", "queueLength": "5.0"}, "queueLength", "whole number"),
        ({"queueName": "q", "queueLength": "05"}, "queueLength", "whole number"),
        ({"queueName": "q", "queueLength": "1e1"}, "queueLength", "whole number"),
        ({"queueName": "q", "queueLength": "0"}, "queueLength", "write a number above 0"),
        ({"queueName": "q", "queueLength": "-3"}, "queueLength", "write a number above 0"),
        ({"queueName": "q", "activationQueueLength": "one"}, "activationQueueLength", "whole number"),
        ({"queueName": "q", "queueLengthStrategy": "All"}, "queueLengthStrategy", "did you mean 'all'?"),
        (
            {"queueName": "q", "queueLengthStrategy": "all,visibleonly"},
            "queueLengthStrategy",
            "got 'all,visibleonly'",
        ),
        ({"queueName": "q", "cloud": "Moon"}, "cloud", "AzurePublicCloud"),
        ({"queueName": "q", "cloud": "private"}, "endpointSuffix", "missing"),
        ({"queueName": "q", "queueLenght": "5"}, "queueLenght", "did you mean 'queueLength'?"),
        ({"queueName": "q", "connectionFromEnv": "NOPE"}, "connectionFromEnv", "NOPE"),
        ({"queueName": "q", "accountNameFromEnv": "X"}, "accountNameFromEnv", "unknown key"),
        ({"queueName": "q", "connection": "hello"}, "connection", "not a connection string"),
        ({"queueName": "q", "connection": "AccountName=a"}, "connection", "no credentials"),
        ({"queueName": "q", "connection": f"AccountKey={CANARY}"}, "connection", "names no account"),
        ({"queueName": "q", "connection": "AccountName=a;AccountKey=canary!"}, "connection", "not base64"),
        ({"queueName": "q", "connection": f"{CONNECTION};QueueEndpoint=canary"}, "connection", "address"),
        (
            {"queueName": "q", "connection": f"{CONNECTION};QueueEndpoint=http://h:canary"},
            "connection",
            "address",
        ),
        (
            {"queueName": "q", "connection": f"{CONNECTION};DefaultEndpointsProtocol=ftp"},
            "connection",
            "http",
        ),
    ],
)
def test_a_wrong_parameter_is_named_with_what_to_do(texts: dict[str, str], key: str, message: str) -> None:
    meta, faults = read(KIND, texts)
    assert meta is None
    assert [fault.key for fault in faults] == [key]
    assert message in faults[0].message
    assert CANARY not in repr(faults)
    assert "canary" not in repr(faults)


def test_defaults_are_those_of_the_source() -> None:
    meta, faults = read(KIND, {"queueName": "orders", "connection": CONNECTION})
    assert faults == ()
    assert meta is not None
    assert meta.model_dump(exclude={"connection"}) == {
        "queue_name": "orders",
        "queue_length": 5,
        "activation_queue_length": 0,
        "queue_length_strategy": "all",
        "account_name": None,
        "cloud": "AzurePublicCloud",
        "endpoint_suffix": None,
    }
    assert SCALERS.load(KIND).target(meta) == 5.0
    assert CANARY not in repr(meta)


def test_auth_wins_over_metadata_and_metadata_over_the_environment() -> None:
    texts = {"queueName": "q", "connectionFromEnv": "CS"}
    cs = {name: f"AccountName={name};AccountKey={KEY}" for name in ("meta", "auth", "env")}
    source = SCALERS.load(KIND).source
    hosts = []
    for metadata, auth in (
        ({**texts, "connection": cs["meta"]}, {"connection": cs["auth"]}),
        ({**texts, "connection": cs["meta"]}, {}),
        (texts, {}),
    ):
        meta, faults = read(KIND, metadata, auth, CS=cs["env"])
        assert faults == ()
        hosts.append(source(meta).partition(".")[0])
    assert hosts == ["auth", "meta", "env"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"connection": CONNECTION}, "acct.queue.core.windows.net"),
        (
            {"connection": f"{CONNECTION};EndpointSuffix=core.chinacloudapi.cn"},
            "acct.queue.core.chinacloudapi.cn",
        ),
        ({"connection": "UseDevelopmentStorage=true"}, "127.0.0.1:10001/devstoreaccount1"),
        ({"connection": EMULATOR}, "azurite:10001/devstoreaccount1"),
        (
            {"connection": "QueueEndpoint=https://a.example/?sv=1&sig=x;SharedAccessSignature=sv=1"},
            "a.example",
        ),
        ({"connection": "QueueEndpoint=https://a.example/?sv=1&sig=x"}, "a.example"),
        ({"accountName": "acct"}, "acct.queue.core.windows.net"),
        ({"accountName": "acct", "cloud": "AZUREUSGOVERNMENT"}, "acct.queue.core.usgovcloudapi.net"),
        ({"accountName": "acct", "cloud": "AzureGermanCloud"}, "acct.queue.core.cloudapi.de"),
        ({"accountName": "acct", "cloud": "Private", "endpointSuffix": "queue.corp"}, "acct.queue.corp"),
        ({"accountName": "acct", "endpointSuffix": "unused.corp"}, "acct.queue.core.windows.net"),
    ],
)
def test_the_source_is_the_host_without_secrets(texts: dict[str, str], expected: str) -> None:
    meta, faults = read(KIND, {"queueName": "q", **texts})
    assert faults == ()
    assert SCALERS.load(KIND).source(meta) == expected


@pytest.mark.parametrize(
    ("texts", "identity", "faulty"),
    [
        ({}, None, "connection"),
        ({"accountName": "acct"}, None, "connection"),
        ({}, "system", "accountName"),
        ({"connection": CONNECTION}, "system", "accountName"),
        ({"connection": CONNECTION}, None, ""),
        ({"accountName": "acct"}, "system", ""),
    ],
)
def test_missing_credentials_are_found_before_the_first_poll(
    texts: dict[str, str], identity: str | None, faulty: str
) -> None:
    meta, _faults = read(KIND, {"queueName": "q", **texts})
    found = SCALERS.load(KIND).check(meta, identity)
    assert [text.partition(":")[0] for text in found] == ([faulty] if faulty else [])
