"""The body of a start by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.errors import ConfigError
from scaler.model.job import (
    Container,
    DockerOptions,
    EnvVar,
    Job,
    ManualTrigger,
    Registry,
    Resources,
    Template,
)
from scaler.model.secret import Secret
from scaler.wire.checks import image_faults
from scaler.wire.override import template_override

JOB = Job(
    name="orders",
    trigger=ManualTrigger(),
    template=Template(
        container=Container(
            name="main", image="own:1", env=(EnvVar(name="OLD", value="1"),), resources=Resources(cpu=2)
        ),
        docker=DockerOptions(network="net"),
        registries=(Registry(server="s", username="u", password_secret="key"),),
    ),
    replica_timeout=timedelta(seconds=60),
    secrets={"key": Secret("text")},
)


@pytest.mark.parametrize("body", [None, {}, {"template": None}, {"template": {}}])
def test_no_body_means_the_jobs_own_template(body: object) -> None:
    assert template_override(body, JOB) is None


@pytest.mark.parametrize("none", [None, []])
def test_a_body_may_say_that_it_has_no_volumes(none: object) -> None:
    assert template_override({"containers": [{"name": "main"}], "volumes": none}, JOB) is not None


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_body_replaces_and_does_not_merge(wrapped: bool) -> None:
    template = {"containers": [{"name": "x", "image": "other:2", "env": [{"name": "A", "secretRef": "key"}]}]}
    got = template_override({"template": template} if wrapped else template, JOB)
    container = Container(name="x", image="other:2", env=(EnvVar(name="A", secret_ref="key"),))
    assert got == replace(JOB.template, container=container)


def test_a_missing_image_and_name_are_the_jobs() -> None:
    got = template_override({"containers": [{"args": ["a"], "env": None}], "initContainers": []}, JOB)
    assert got is not None
    assert got.container == Container(name="main", image="own:1", args=("a",))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (5, "The request body is not valid: got '5'; send a JSON object."),
        (
            {"container": []},
            "The request body is not valid: container: unknown key; did you mean 'containers'?.",
        ),
        (
            {"template": {"containers": []}},
            (
                "The request body is not valid: template.containers: got an empty list; "
                "add the container to run."
            ),
        ),
        (
            {"containers": [{"env": [{"name": "A", "secretRef": "no"}]}]},
            (
                "The request body is not valid: containers[0].env[0].secretRef: no secret 'no'; "
                "declare it under configuration.secrets (there: key)."
            ),
        ),
        (
            {"containers": [{"command": ["sh", "echo \ud800"], "env": [{"name": "A", "value": "b\0"}]}]},
            (
                "The request body is not valid: "
                "containers[0].command[1]: holds the character U+D800, which no program can be given; remove it; "
                "containers[0].env[0].value: holds the character U+0000, which no program can be given; remove it."
            ),
        ),
        (
            {"template": {"\udcff": 1}},
            (
                "The request body is not valid: "
                "template: a key holds the character U+DCFF, which no program can be given; remove it."
            ),
        ),
        (
            {"template": {"containers": [{"name": "main"}], "volumes": [{"name": "data"}]}},
            (
                "The request body is not valid: template.volumes: volumes stay the job's; "
                "leave them out, or change the job."
            ),
        ),
        (
            {"containers": [{"resources": {"cpu": "many"}}]},
            (
                "The request body is not valid: containers[0].resources.cpu: got 'many'; "
                "write a number such as 0.5."
            ),
        ),
    ],
)
def test_a_wrong_body_is_refused_in_words(body: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        template_override(body, JOB)
    assert str(caught.value) == message


def test_without_an_image_anywhere_a_command_is_needed() -> None:
    bare = replace(JOB, template=Template(container=Container(name="p", command=("date",))))
    with pytest.raises(ConfigError, match=r"containers\[0\]\.command: missing"):
        template_override({"containers": [{"name": "p"}]}, bare)


def test_an_init_container_without_an_image_runs_that_of_the_job() -> None:
    body = {"containers": [{"name": "p"}], "initContainers": [{"name": "first", "command": ["date"]}]}
    template = template_override(body, JOB)
    assert template is not None
    assert [(one.name, one.image) for one in template.init] == [("first", JOB.template.container.image)]
    assert list(image_faults(template)) == []


def test_images_of_a_start_by_hand_are_checked_like_those_of_a_file() -> None:
    template = replace(JOB.template, container=replace(JOB.template.container, image="Not An Image"))
    template = replace(template, init=(Container(name="first", image=None),))
    assert [path for path, _ in image_faults(template)] == [
        "properties.template.containers[0].image",
        "properties.template.initContainers[0].image",
    ]
