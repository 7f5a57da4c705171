"""Parameters of scalers that pass on keys they do not know."""

from __future__ import annotations

from typing import Annotated

from scaler.wire.metadata import (
    FreeMetadata,
    KedaBool,
    SecretStr,
    Sources,
    TriggerMetadata,
    describe,
    resolve,
    validate,
)


class Free(FreeMetadata):
    """Parameters with free keys beside them."""

    server_name: str
    enable_tls: KedaBool = False
    token: Annotated[SecretStr | None, Sources("AE")] = None


class Strict(TriggerMetadata):
    """The same without."""

    server_name: str


ENV = {"COLOUR": "canary-blue", "EMPTY": " "}


def faults(metadata: dict[str, str], auth: dict[str, str] | None = None) -> list[tuple[str, str, bool]]:
    """Give what is wrong with the free kind."""
    built, found = validate(Free, metadata, auth or {}, ENV)
    assert (built is None) == bool(found)
    return [(fault.key, fault.message, fault.in_auth) for fault in found]


def test_free_keys_are_kept_as_secrets_with_the_environment_resolved() -> None:
    given = {"serverName": "s", "size": " 3 ", "empty": " ", "colourFromEnv": "COLOUR", "enableTls": "true"}
    built, found = validate(Free, given, {}, ENV)
    assert found == ()
    assert isinstance(built, Free)
    assert (built.server_name, built.enable_tls) == ("s", True)
    assert {key: text.get_secret_value() for key, text in built.free.items()} == {
        "size": "3",
        "colour": "canary-blue",
        "colourFromEnv": "canary-blue",
    }
    assert "canary" not in repr(built)


def test_a_plain_free_key_wins_over_its_variable() -> None:
    chosen, found = resolve(Free, {"serverName": "s", "colour": "red", "colourFromEnv": "COLOUR"}, {}, ENV)
    expected = {"serverName": "s", "colour": "red", "colourFromEnv": "canary-blue"}
    assert (chosen, found) == (expected, ())


def test_a_free_key_whose_variable_is_empty_is_not_given() -> None:
    chosen, found = resolve(Free, {"serverName": "s", "colourFromEnv": "EMPTY"}, {}, ENV)
    assert (chosen, found) == ({"serverName": "s"}, ())


def test_a_free_key_names_a_variable_that_must_be_there() -> None:
    message = "no variable 'GONE'; name one that the container's env declares"
    assert faults({"serverName": "s", "colourFromEnv": "GONE"}) == [("colourFromEnv", message, False)]


def test_a_slip_in_upper_and_lower_case_is_no_free_key() -> None:
    assert faults({"serverName": "s", "enableTLS": "true", "TokenFromEnv": "COLOUR"}) == [
        ("enableTLS", "unknown key; did you mean 'enableTls'?", False),
        ("TokenFromEnv", "unknown key; did you mean 'token'?", False),
    ]


def test_sources_of_parameters_hold_beside_free_keys() -> None:
    assert faults({"serverName": "s", "token": "t", "serverNameFromEnv": "COLOUR"}) == [
        ("token", "not allowed in metadata; give it by auth", False),
        ("serverNameFromEnv", "unknown key; did you mean 'serverName'?", False),
    ]


def test_auth_takes_no_free_keys() -> None:
    assert faults({"serverName": "s"}, {"size": "3"}) == [("size", "unknown key", True)]


def test_a_fault_of_a_parameter_is_told_beside_free_keys() -> None:
    assert faults({"size": "3", "enableTls": "yes"}) == [
        ("serverName", "missing", False),
        ("enableTls", "got 'yes'; write true or false", False),
    ]


def test_without_free_keys_an_unknown_key_is_refused() -> None:
    built, found = validate(Strict, {"serverName": "s", "size": "3", "colourFromEnv": "COLOUR"}, {}, ENV)
    assert built is None
    assert [fault.key for fault in found] == ["size", "colourFromEnv"]


def test_free_keys_are_not_described() -> None:
    assert [row["parameter"] for row in describe(Free)] == ["serverName", "enableTls", "token"]
