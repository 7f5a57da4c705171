"""Names of templates: the same for the same content, and for it alone."""

from __future__ import annotations

from dataclasses import replace

from scaler.model.job import Container, DockerOptions, EnvVar, Template
from scaler.model.snapshot import template_hash

PLAIN = Template(container=Container(name="main", image="x:1"))


def test_a_template_is_named_by_its_content() -> None:
    same = Template(container=Container(name="main", image="x:1"))
    others = [
        replace(PLAIN, container=replace(PLAIN.container, image="x:2")),
        replace(PLAIN, container=replace(PLAIN.container, args=("a",))),
        replace(PLAIN, container=replace(PLAIN.container, env=(EnvVar(name="A", value="1"),))),
        replace(PLAIN, container=replace(PLAIN.container, env=(EnvVar(name="A", secret_ref="1"),))),
        replace(PLAIN, docker=DockerOptions(read_only=True)),
    ]
    assert template_hash(same) == template_hash(PLAIN)
    assert len({template_hash(one) for one in [PLAIN, *others]}) == 6


def test_names_stay_the_same_over_releases() -> None:
    """An option that a later release adds must not rename what does not use it."""
    assert template_hash(PLAIN) == ("sha256:fc369abde8e5db0c1077342a964b341b2cc0db7b0a6c4e6482d0690f8b705280")
