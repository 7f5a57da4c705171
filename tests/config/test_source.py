"""YAML with positions and variables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.config.faults import mask, parse_where
from scaler.config.source import Position, read_documents


def _value(text: str, **env: str) -> object:
    (document,), broken = read_documents(text, env)
    assert broken is None
    assert document.faults == []
    return document.value


def test_every_key_and_value_has_its_place() -> None:
    (document,), _broken = read_documents("a:\n  - b: 1\n    c: [x, y]\n", {})
    assert document.locate(("a", 0, "c"), at_key=True) == Position(3, 5)
    assert document.locate(("a", 0, "c", 1)) == Position(3, 12)
    assert document.locate(("a", 0, "missing")) == Position(2, 5)
    assert document.locate(("elsewhere",)) == Position(1, 1)


def test_numbers_stay_as_they_are_written() -> None:
    assert _value("[1.10, 007, 1e3, true, ~, no, 2026-01-01]") == [
        "1.10",
        "007",
        "1e3",
        True,
        None,
        "no",
        "2026-01-01",
    ]


def test_numbers_are_numbers_where_asked_for() -> None:
    (document,), _broken = read_documents('[1, 0.5, "1", "${N}", x]\n', {"N": "5"}, numbers=True)
    assert document.value == [1, 0.5, "1", "5", "x"]
    (document,), _broken = read_documents("n: ${N}\n", {"N": "5"}, numbers=True)
    assert document.value == {"n": 5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("x${A}y${A}z", "xoneyonez"),
        ("${NO:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${NO:-}", ""),
        ("$${A}", "${A}"),
        ("$A $(A) $", "$A $(A) $"),
        ("'${A}'", "one"),
        ("|\n  ${A}\n", "one\n"),
        ("${YAML}", "x: [1"),
    ],
)
def test_variables_are_filled_in(text: str, expected: str) -> None:
    assert _value(f"v: {text}", A="one", EMPTY="", YAML="x: [1") == {"v": expected}


def test_merge_keys_give_way_to_own_ones() -> None:
    text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nmany: {<<: [*b, {z: 4}]}\n"
    assert _value(text) == {
        "base": {"x": "1", "y": "2"},
        "own": {"x": "1", "y": "3"},
        "many": {"x": "1", "y": "2", "z": "4"},
    }


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    documents, broken = read_documents(text, {})
    assert isinstance(documents, list)
    assert broken is None or broken.message


@pytest.mark.parametrize(
    ("message", "secrets", "expected"),
    [
        ("got 'hunter2'; no", ["hunter2"], "got '***'; no"),
        ("got '5'; write 15", ["5"], "got '***'; write 15"),
        ("got 'amqp://user:very-long-pas…'", ["amqp://user:very-long-password"], "got '***…'"),
        ("got 'amqp://user:word@host/v'; no", [], "got 'amqp://***@host/v'; no"),
        ("got 'Endpoint=sb://h/;SharedAccessKey=abc=='", [], "got 'Endpoint=sb://h/;SharedAccessKey=***'"),
        ("two\nlines", [""], "two lines"),
        ("needs username; user=user", ["user"], "needs username; ***=***"),
        (
            "write SharedAccessKeyName and SharedAccessKey",
            ["Endpoint=sb://x;SharedAccessKeyName=Root;SharedAccessKey=abcdefgh1234="],
            "write SharedAccessKeyName and SharedAccessKey",
        ),
    ],
)
def test_secrets_are_masked(message: str, secrets: list[str], expected: str) -> None:
    assert mask(message, secrets) == expected


def test_paths_are_read_back() -> None:
    assert parse_where("x-scaler.docker.mounts[0]") == ("x-scaler", "docker", "mounts", 0)


MANY = """\
# first
name: one
text: |
  --- is no end here
  and neither ---
---
name: two   # second
again: &a [1, 2]
more: *a
--- {name: three}
---
--- |
 a text
"""


@pytest.mark.parametrize("number", range(2))
def test_documents_of_one_file_stand_where_they_stand_however_often_they_are_read(number: int) -> None:
    documents, fault = read_documents(MANY, {})
    whole, _ = read_documents(f"{MANY}...\n", {})  # an end of a document: read in one piece
    assert fault is None
    assert [doc.value for doc in documents] == [doc.value for doc in whole]
    assert [(doc.start, doc.keys, doc.values) for doc in documents] == [
        (doc.start, doc.keys, doc.values) for doc in whole
    ]
    assert [doc.start.line for doc in documents][:3] == [2, 7, 10]


def test_a_fault_of_one_document_is_told_at_its_line_of_the_file() -> None:
    _, fault = read_documents("a: 1\n---\nb: [\n---\nc: 1\n", {})
    assert fault is not None
    assert fault.position.line == 4


def test_a_key_written_twice_in_a_later_document_is_told_with_both_lines_of_the_file() -> None:
    (_, second), _ = read_documents("a: 1\n---\nb: 1\nb: 2\n", {})
    (fault,) = second.faults
    assert fault.position.line == 4
    assert "3" in fault.message
