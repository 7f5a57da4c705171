"""From a scale rule to its scaler."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.errors import ConfigError
from scaler.model.job import AuthRef, Container, EnvVar, EventTrigger, Job, ScaleRule, Template
from scaler.model.secret import Secret
from scaler.wire.rules import container_env, resolve_rule
from tests.config.toys import SCALERS, TOY, ToyMetadata

RULE = ScaleRule(
    name="first",
    type="toy",
    metadata={"queueName": "orders", "queueLength": "2"},
    auth=(AuthRef(parameter="host", secret="address"),),
)
JOB = Job(
    name="orders",
    trigger=EventTrigger(rules=(RULE,)),
    template=Template(
        container=Container(
            name="w",
            image="w",
            env=(
                EnvVar(name="URL", secret_ref="address"),
                EnvVar(name="PLAIN", value="x"),
                EnvVar(name="LOST", secret_ref="gone"),
            ),
        )
    ),
    replica_timeout=timedelta(seconds=60),
    secrets={"address": Secret("amqp://canary@host")},
)


def test_a_rule_is_resolved_with_its_secret() -> None:
    scaler, meta = resolve_rule(JOB, RULE, registry=SCALERS)
    assert scaler is TOY
    assert isinstance(meta, ToyMetadata)
    assert meta.host is not None
    assert (meta.queue_name, meta.queue_length) == ("orders", 2)
    assert meta.host.get_secret_value() == "amqp://canary@host"
    assert "canary" not in repr(meta)


def test_a_parameter_may_come_from_a_variable_whose_text_is_a_secret() -> None:
    rule = replace(RULE, auth=(), metadata={"queueName": "q", "hostFromEnv": "URL"})
    _scaler, meta = resolve_rule(JOB, rule, registry=SCALERS)
    assert meta.host.get_secret_value() == "amqp://canary@host"


def test_variables_of_unknown_secrets_are_left_out() -> None:
    assert container_env(JOB.template.container, JOB.secrets) == {"URL": "amqp://canary@host", "PLAIN": "x"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            replace(RULE, type="tory"),
            "job orders, rule first: type: unknown scaler 'tory'; did you mean 'toy'?",
        ),
        (
            replace(RULE, metadata={"queueLength": "amqp://canary@host"}),
            (
                "job orders, rule first: metadata.queueName: missing; add it; "
                "metadata.queueLength: got '***'; write a whole number"
            ),
        ),
        (replace(RULE, auth=()), "job orders, rule first: metadata: give host by auth or hostFromEnv"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(rule: ScaleRule, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_rule(JOB, rule, registry=SCALERS)
    assert str(caught.value) == message
