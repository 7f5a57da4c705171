"""What a run is written as, and read back from."""

from __future__ import annotations

import json

import pytest

from scaler.bench.report import body, figure, page, read_body, table
from scaler.errors import ConfigError

FACTS = {"command": "scaler bench", "machine": "two cores"}
FOUND = {
    "one": [
        figure("to raw", [1.0, 3.0, 2.0], "x", "ours / raw", goal=2.0),
        figure("share", [0.9], "x", "of the best", at_least=0.95),
        figure("executions", [200.0], "", "in all"),
    ],
    "two": [],
}


def test_a_run_reads_back_as_it_was_written() -> None:
    facts, found = read_body(json.dumps(body(FACTS, FOUND)), "here")
    assert (facts, found) == (FACTS, FOUND)
    assert page(facts, found) == page(FACTS, FOUND)


def test_the_page_tells_median_range_goal_and_way() -> None:
    assert table("one", FOUND["one"]).splitlines() == [
        "one",
        "  to raw      2 x (1..3)  at most 2: met         ours / raw",
        "  share            0.9 x  at least 0.95: MISSED  of the best",
        "  executions         200                         in all",
    ]
    assert page(FACTS, FOUND).startswith("command  scaler bench\nmachine  two cores\n\none\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"facts": {}, "benches": {"a": [{}]}}',
        '{"facts":1,"benches":{}}',
        '{"facts": {}, "benches": {"a": [{"name": "a", "unit": "x", "how": "", "value": "1", "runs": [1]}]}}',
        '{"facts": {}, "benches": {"a": [{"name": "a", "unit": "x", "how": "", "value": 1, "runs": [null]}]}}',
    ],
    ids=range(7),
)
def test_what_is_no_run_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match="here: is not what 'scaler bench -o json' writes"):
        read_body(text, "here")
