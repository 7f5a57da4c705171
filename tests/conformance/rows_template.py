"""`properties.template`, secrets and registries."""

from __future__ import annotations

from typing import Any

from tests.conformance.place import Body, Place, configured, event, faults, load, manual, properties
from tests.conformance.table import EXECUTORS, row, unseen

VAULT = "a secret's text is given by `value`, or by `x-scaler.secrets` from a file or variable"


def contained(**members: Any) -> Body:
    """Give a small job whose container has these members."""
    container = {"name": "main", "command": ["true"], **members}
    return manual(properties={"template": {"containers": [container]}})


def imaged(**members: Any) -> Body:
    """Give a small job of the docker executor whose container has these members."""
    container = {"name": "main", "image": "example/worker:1", **members}
    document = manual(properties={"template": {"containers": [container]}})
    return document | {"x-scaler": {"executor": "docker"}}


def _container(document: Body) -> Body:
    found = properties(document)["template"]["containers"][0]
    assert isinstance(found, dict)
    return found


# --- 1.2: secrets and registries ------------------------------------------------------------------------


@row("1.2", "GET answers a secret's name, never its value.")
def secret_values_are_not_answered() -> None:
    found = properties(configured(secrets=[{"name": "key", "value": "canary"}]))
    assert found["configuration"]["secrets"] == [{"name": "key"}]
    assert "canary" not in str(found)


@row(
    "1.2",
    "`listSecrets` gives the values.",
    not_yet="answered 404: no request gives a secret's text",
    executors=("process",),
)
def list_secrets_is_not_served(place: Place) -> None:
    name = place.put(place.job())
    assert place.refused("POST", f"{name}/listSecrets")[0] == 404


@row("1.2", "A secret may have a `keyVaultUrl` and an `identity`.", differs=f"refused: {VAULT}")
def key_vault_is_refused() -> None:
    secret = {"name": "key", "keyVaultUrl": "https://vault/secrets/x", "identity": "system"}
    found = faults(configured(secrets=[secret]))
    assert "keyVaultUrl: not supported" in found
    assert "identity: not supported" in found


@row("1.2", "Empty texts count as absent in secrets: `keyVaultUrl` and `identity`.")
def empty_texts_count_as_absent() -> None:
    secret = {"name": "key", "value": "x", "keyVaultUrl": "", "identity": ""}
    assert faults(configured(secrets=[secret])) == ""


@row("1.2", "Names of secrets have lower-case letters, digits, `-` and `.`, alphanumeric at both ends.")
def secret_names_are_checked() -> None:
    for good in ("a", "a-b.c", "0x"):
        assert faults(configured(secrets=[{"name": good, "value": "x"}])) == "", good
    for bad in ("A", "a_b", "-a", "a-", ".a"):
        assert "name" in faults(configured(secrets=[{"name": bad, "value": "x"}])), bad


@row(
    "1.2",
    "A registry has a server, and a username with `passwordSecretRef`, which names a secret of the job.",
)
def registries_are_answered() -> None:
    registry = {"server": "r.example", "username": "u", "passwordSecretRef": "key"}
    secrets = [{"name": "key", "value": "x"}]
    found = properties(configured(registries=[registry], secrets=secrets))["configuration"]["registries"][0]
    assert {key: found[key] for key in registry} == registry
    assert "no secret 'key'" in faults(configured(registries=[registry]))


@row(
    "1.2", "A registry may have an `identity` alone.", differs="refused: there are no managed identities here"
)
def registry_identity_is_refused() -> None:
    assert "not supported" in faults(configured(registries=[{"server": "r.example", "identity": "system"}]))


@row("1.2", "A `secretRef` to a missing secret is refused: in env, registries and scale rules.")
def missing_secrets_are_refused() -> None:
    assert "no secret 'nothing'" in faults(contained(env=[{"name": "A", "secretRef": "nothing"}]))
    document = event()
    document["properties"]["configuration"]["secrets"] = [{"name": "other", "value": "x"}]
    assert "no secret 'address'" in faults(document)


unseen("1.2", "The CLI names a registry's password after server and user.", "that is done by the CLI itself")
unseen("1.2", "In PATCH a `secrets` list replaces the old one.", "PATCH is answered 405 (see above)")


@row("1.2", "Changed secrets hold for executions that are started from then on.", executors=EXECUTORS)
def changed_secrets_hold_from_then_on(place: Place) -> None:
    def document(text: str) -> Body:
        found = place.job('echo "$WORD"', name=name)
        found["properties"]["configuration"]["secrets"] = [{"name": "word", "value": text}]
        container = found["properties"]["template"]["containers"][0]
        container["env"] = [{"name": "WORD", "secretRef": "word"}]
        return found

    name = place.job()["name"]
    assert place.printed(document("before")) == ["before"]
    place.daemon.write(document("after"))

    def changed() -> bool:
        execution = place.start(name)
        place.ended(name, execution)
        return place.lines(name, execution) == ["after"]

    place.until(changed, "the new secret is taken")


# --- 1.3: containers ------------------------------------------------------------------------------------


@row("1.3", "There is at least one container.")
def one_container_at_least() -> None:
    assert "containers" in faults(manual(properties={"template": {"containers": []}}))


@row(
    "1.3",
    "A container's `name` is required in practice.",
    differs="it may be left out: the job's name is taken",
)
def container_name_defaults_to_the_jobs() -> None:
    document = manual(properties={"template": {"containers": [{"command": ["true"]}]}})
    assert _container(document)["name"] == document["name"]


@row("1.3", "A container has an image, a command and args.")
def image_command_and_args_are_answered() -> None:
    found = _container(imaged(command=["a"], args=["b", "c"]))
    assert (found["image"], found["command"], found["args"]) == ("example/worker:1", ["a"], ["b", "c"])


@row("1.3", "`command` is the entry point and `args` follow it.", executors=EXECUTORS)
def args_follow_the_command(place: Place) -> None:
    document = place.job()
    container = document["properties"]["template"]["containers"][0]
    container |= {"command": ["echo", "one"], "args": ["two", "three four"]}
    assert place.printed(document) == ["one two three four"]


@row("1.3", "`env` has values, or texts of secrets.", executors=EXECUTORS)
def env_has_values_and_secrets(place: Place) -> None:
    document = place.job('echo "$PLAIN $HIDDEN"')
    document["properties"]["configuration"]["secrets"] = [{"name": "hidden", "value": "deep"}]
    container = document["properties"]["template"]["containers"][0]
    container["env"] = [{"name": "PLAIN", "value": "flat"}, {"name": "HIDDEN", "secretRef": "hidden"}]
    assert place.printed(document) == ["flat deep"]


@row("1.3", "A container's answer has no null members, for the CLI dies on `env: null`.")
def containers_have_no_nulls() -> None:
    assert None not in _container(contained()).values()
    assert "env" not in _container(contained(env=None))


@row(
    "1.3",
    "The platform adds the names of job, execution and replica to the environment.",
    executors=EXECUTORS,
)
def names_are_in_the_environment(place: Place) -> None:
    words = ("CONTAINER_APP_JOB_NAME", "CONTAINER_APP_JOB_EXECUTION_NAME", "CONTAINER_APP_REPLICA_NAME")
    name = place.put(place.job("; ".join(f'echo "${word}"' for word in words)))
    execution = place.start(name)
    replica = place.ended(name, execution)["detailedStatus"]["replicas"][0]["name"]
    assert place.lines(name, execution) == [name, execution, replica]


# --- 1.3: resources -------------------------------------------------------------------------------------


@row("1.3", "`cpu` is a number of cores, also as a text; `memory` is written like `0.5Gi`.")
def resources_are_taken() -> None:
    for cpu in (0.25, "0.25"):
        found = _container(contained(resources={"cpu": cpu, "memory": "0.5Gi"}))["resources"]
        assert (found["cpu"], found["memory"]) == (0.25, "0.5Gi")


@row("1.3", "Resources left out are 0.5 core and 1Gi.")
def resources_have_defaults() -> None:
    found = _container(contained())["resources"]
    assert (found["cpu"], found["memory"]) == (0.5, "1Gi")


@row("1.3", "`ephemeralStorage` is filled in from the cores: 0.25 1Gi, 0.5 2Gi, 1 4Gi, above 8Gi.")
def storage_follows_the_cores() -> None:
    for cpu, storage in ((0.25, "1Gi"), (0.5, "2Gi"), (1, "4Gi"), (2, "8Gi")):
        resources = {"cpu": cpu, "memory": f"{cpu * 2:g}Gi"}
        assert _container(contained(resources=resources))["resources"]["ephemeralStorage"] == storage


@row(
    "1.3",
    "Consumption takes fixed pairs of cores and memory only.",
    differs="any amounts are taken; others than those pairs are a warning",
)
def other_pairs_are_a_warning() -> None:
    odd = load(imaged(resources={"cpu": 0.2, "memory": "0.1Gi"}))
    even = load(imaged(resources={"cpu": 0.75, "memory": "1.5Gi"}))
    assert (odd.faults, even.faults) == ((), ())
    assert [str(one) for one in even.warnings] == []
    assert "resources" in str(odd.warnings[0])


@row("1.3", "Memory is written in `Gi` only.", differs="`Mi` is taken too")
def memory_in_mi_is_taken() -> None:
    assert faults(contained(resources={"cpu": 0.5, "memory": "512Mi"})) == ""
    assert "memory" in faults(contained(resources={"cpu": 0.5, "memory": "1G"}))


unseen("1.3", "Dedicated profiles take any amount up to the node's.", "there are no profiles here")
