"""Which calls pass at all: those of the docker executor, by their exact path."""

from __future__ import annotations

import json

import pytest

from executors._docker_holder import _NAME, _PROGRAMS, _archive
from scaler.guard.grants import HOLDERS, Grants, Refused
from scaler.guard.policy import must_be_holder, must_be_open_network, own_filters, recognize
from scaler.model.names import LABEL_INSTANCE

ID = "0" * 64


@pytest.mark.parametrize(
    ("method", "target", "passed"),
    [
        ("GET", "/_ping", "/_ping"),
        ("GET", "/version", "/version"),
        ("GET", "/v1.41/events?filters=%7B%7D&stream=1", "/v1.41/events?filters=%7B%7D&stream=1"),
        ("GET", "/v1.47/containers/json?all=1", "/v1.47/containers/json?all=1"),
        ("POST", "/v1.41/containers/create?name=orders-1", "/v1.41/containers/create?name=orders-1"),
        ("POST", f"/v1.41/containers/{ID}/start", f"/v1.41/containers/{ID}/start"),
        ("POST", "/v1.41/containers/a/stop?t=10", "/v1.41/containers/a/stop?t=10"),
        ("POST", "/v1.41/containers/a/kill?signal=TERM", "/v1.41/containers/a/kill?signal=TERM"),
        ("DELETE", "/v1.41/containers/a?force=True&v=1", "/v1.41/containers/a?force=True&v=1"),
        ("GET", "/containers/a/logs?stdout=1", "/containers/a/logs?stdout=1"),
        ("PUT", "/containers/a/archive?path=%2Ftmp", "/containers/a/archive?path=%2Ftmp"),
        ("POST", "/images/create?fromImage=docker.io%2Fx", "/images/create?fromImage=docker.io%2Fx"),
        (
            "GET",
            "/images/registry.test:5000/a/b:1@sha256:0f/json",
            "/images/registry.test:5000/a/b:1@sha256:0f/json",
        ),
        ("POST", "/volumes/create", "/volumes/create"),
        ("GET", "/networks/orders", "/networks/orders"),
    ],
)
def test_a_call_of_the_executor_is_written_anew(method: str, target: str, passed: str) -> None:
    assert recognize(method, target, {}).target() == passed


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/containers/a/exec"),
        ("POST", "/exec/0/start"),
        ("POST", "/containers/a/attach"),
        ("GET", "/containers/a/attach/ws"),
        ("POST", "/containers/a/update"),
        ("POST", "/containers/a/rename?name=b"),
        ("POST", "/containers/a/restart"),
        ("POST", "/containers/prune"),
        ("GET", "/containers/a/export"),
        ("GET", "/containers/a/archive?path=/etc"),
        ("POST", "/build"),
        ("POST", "/commit?container=a"),
        ("POST", "/images/create?fromSrc=http://example.com/x"),
        ("DELETE", "/images/a"),
        ("POST", "/auth"),
        ("GET", "/info"),
        ("GET", "/system/df"),
        ("GET", "/secrets"),
        ("POST", "/swarm/init"),
        ("POST", "/services/create"),
        ("POST", "/plugins/pull"),
        ("POST", "/networks/create"),
        ("POST", "/networks/a/connect"),
        ("POST", "/session"),
        ("POST", "/grpc"),
        ("GET", "/debug/pprof/"),
        ("GET", "//containers/json"),
        ("GET", "/containers//json"),
        ("GET", "/containers/./json"),
        ("GET", "/containers/a/../json"),
        ("GET", "/containers/../info"),
        ("GET", "/containers/%2e%2e/info"),
        ("GET", "/containers/a%2fjson"),
        ("GET", "/%63ontainers/json"),
        ("GET", "/containers/json/"),
        ("GET", "/containers/json#x"),
        ("GET", "/containers/json;x"),
        ("GET", "/Containers/json"),
        ("GET", "/containers/a\n/json"),
        ("GET", "/containers/json\n"),
        ("GET", "http://engine/containers/json"),
        ("GET", "/images/../containers/x/json"),
        ("GET", "/images/a//json"),
        ("get", "/containers/json"),
        ("POST", "/containers/json"),
        ("CONNECT", "engine:80"),
        ("GET", "/v1.41/v1.41/containers/json"),
        ("GET", "/v1.41//containers/json"),
        ("GET", "/V1.41/containers/json"),
        ("GET", "/v1/containers/json"),
        ("GET", "/v1.41x/containers/json"),
        ("POST", "/v1.23/containers/a/start"),
        ("POST", "/v1.40/containers/create"),
        ("POST", "/containers/create?name=a&name=b"),
        ("POST", "/containers/create?platform=x"),
        ("DELETE", "/containers/a?link=1"),
        ("GET", "/containers/json?all=%ff"),
    ],
)
def test_every_other_call_is_refused(method: str, target: str) -> None:
    with pytest.raises(Refused):
        recognize(method, target, {})


@pytest.mark.parametrize(
    "headers", [{"Upgrade": "tcp"}, {"Connection": "Upgrade"}, {"Connection": "keep-alive, upgrade"}]
)
def test_no_connection_changes_hands(headers: dict[str, str]) -> None:
    with pytest.raises(Refused, match="changes hands"):
        recognize("GET", "/events", headers)


def test_lists_and_events_are_narrowed_to_what_is_ours() -> None:
    assert json.loads(own_filters("", Grants())) == {"label": [LABEL_INSTANCE]}
    assert json.loads(own_filters('{"label": ["a=b"], "status": ["exited"]}', Grants(instance="i"))) == {
        "label": ["a=b", f"{LABEL_INSTANCE}=i"],
        "status": ["exited"],
    }
    assert json.loads(own_filters('{"type": ["image"]}', Grants(), events=True)) == {
        "type": ["container"],
        "label": [LABEL_INSTANCE],
    }


@pytest.mark.parametrize(
    "text", ["[]", "x", '{"label": {"a": true}}', '{"label": [1]}', '{"label": [], "label": []}']
)
def test_filters_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        own_filters(text, Grants())


def test_no_image_is_loaded_but_the_holder_that_the_executor_makes() -> None:
    archives = [_archive(f"{_NAME}:1-{machine}", machine) for machine in _PROGRAMS]
    for archive in archives:
        must_be_holder(archive, Grants())
    assert len(archives) == len(HOLDERS)
    with pytest.raises(Refused):
        must_be_holder(_archive("python:3.11-slim", "amd64"), Grants())


def test_only_networks_that_may_be_joined_are_told_of() -> None:
    must_be_open_network("orders", Grants(networks=frozenset({"orders"})))
    with pytest.raises(Refused, match="--allow-network db"):
        must_be_open_network("db", Grants())
