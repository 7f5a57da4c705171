"""What the benches compute, without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaler.bench.detect import next_at, phases
from scaler.bench.drain import Rates, docker_run
from scaler.bench.feed import Begun, beginnings
from scaler.bench.launch import Overhead, overheads
from scaler.bench.yard import best_of, body_of, check_done, names, rates_of
from scaler.rig.daemon import RigError
from scaler.rig.relay import Launch, launches_of
from scaler.rig.spool import Spool


@pytest.mark.parametrize("count", [1, 3, 7, 14, 30])
def test_phases_are_spread_evenly_over_the_interval(count: int) -> None:
    assert sorted(phases(count)) == pytest.approx([(n + 0.5) / count for n in range(count)])


def test_the_next_moment_of_a_phase_is_never_past_and_never_a_whole_interval_away() -> None:
    for now in (100.0, 100.2, 100.3, 100.31, 107.99):
        moment = next_at(0.3, 100.0, now)
        assert now - 1e-6 <= moment <= now + 1
        assert (moment - 100.0) % 1 == pytest.approx(0.3)


def test_an_execution_belongs_to_the_latest_decision_before_it_that_launched() -> None:
    decisions = [
        {"at": "2026-01-01T00:00:03+00:00", "launch": 1},
        {"at": "2026-01-01T00:00:02.500+00:00", "launch": 0},
        {"at": "2026-01-01T00:00:02+00:00", "launch": 1},
    ]
    times = {"created": "2026-01-01T00:00:02.750Z", "launched": "2026-01-01T00:00:02.800Z"}
    executions = [
        {"properties": {"detailedStatus": {"replicas": [{"name": "a-1-x", "times": times}]}}},
    ]
    (begun,) = beginnings(executions, decisions)
    assert (begun.name, begun.asked - begun.decided) == ("a-1-x", pytest.approx(0.8))


def _launch(begin: float) -> Launch:
    return Launch(
        create_sent=begin, create_answered=begin + 1, start_sent=begin + 1.25, start_answered=begin + 3
    )


def test_overhead_is_what_lies_before_create_and_between_the_two_calls() -> None:
    begun = [Begun(name="a", decided=9.0, asked=9.5)]
    assert overheads(begun, {"a": _launch(10.0)}) == [Overhead(own=1.25, slot=0.0)]


@pytest.mark.parametrize("first", [8.0, 9.6], ids=["under-way-when-asked", "asked-in-the-same-moment"])
def test_a_wait_for_a_slot_is_told_apart_but_only_until_the_slot_is_free(first: float) -> None:
    others = {f"other-{n}": _launch(first + n / 10) for n in range(4)}
    begun = [Begun(name="a", decided=9.0, asked=9.5)]
    sent = first + 3 + 0.05
    (found,) = overheads(begun, {**others, "a": _launch(sent)})
    assert (found.slot, found.own) == (pytest.approx(sent - 0.05 - 9.5), pytest.approx(0.5 + 0.05 + 0.25))


def test_with_fewer_launches_under_way_nothing_waits_on_purpose() -> None:
    others = {f"other-{n}": _launch(8.0) for n in range(3)}
    begun = [Begun(name="a", decided=9.0, asked=9.5)]
    assert overheads(begun, {**others, "a": _launch(12.0)}) == [Overhead(own=3.25, slot=0.0)]


def test_a_launch_that_the_relay_did_not_see_fails_the_bench() -> None:
    with pytest.raises(RigError, match="did not see the launch of a"):
        overheads([Begun(name="a", decided=1.0, asked=1.0)], {})


def test_what_a_relay_noted_is_put_together_by_name_and_unfinished_launches_are_left_out() -> None:
    notes = [
        {"at": 1.0, "what": "create_sent", "name": "a"},
        {"at": 1.5, "what": "create_sent", "name": "b"},
        {"at": 2.0, "what": "create_answered", "name": "a", "id": "f00"},
        {"at": 3.0, "what": "start_sent", "id": "f00"},
        {"at": 4.0, "what": "start_answered", "id": "f00"},
    ]
    assert launches_of(map(json.dumps, notes)) == {
        "a": Launch(create_sent=1.0, create_answered=2.0, start_sent=3.0, start_answered=4.0)
    }


def test_a_bare_container_is_made_like_the_inspected_one_but_bears_no_label_of_the_daemon() -> None:
    config = {
        "Image": "i",
        "Env": ["A=1"],
        "Cmd": None,
        "Labels": {"io.scaler.instance": "x"},
        "Hostname": "h",
    }
    host = {"Memory": 5, "Mounts": []}
    assert body_of({"Config": config, "HostConfig": host}) == {
        "Image": "i",
        "Env": ["A=1"],
        "HostConfig": host,
    }


def test_the_command_line_gives_the_same_limits() -> None:
    host = {
        "Mounts": [{"Source": "/there"}],
        "Memory": 7,
        "PidsLimit": 9,
        "LogConfig": {"Config": {"max-size": "10m"}},
    }
    line = " ".join(docker_run({"Image": "i", "Env": ["A=1"], "HostConfig": host}, "mark"))
    assert line == (
        "docker run --rm --init --cpus 1.0 --label io.scaler.bench=mark --memory 7 --memory-swap 7 --pids-limit 9 "
        "--security-opt no-new-privileges --mount type=bind,source=/there,target=/spool --log-opt max-size=10m "
        "--env A=1 i /bin/sh /spool/worker.sh"
    )


def test_the_best_number_at_once_is_found_by_two_measurements_of_each() -> None:
    asked: list[int] = []

    def measure(at_once: int) -> float:
        asked.append(at_once)
        return {1: 1.0, 2: 3.0, 4: 2.0}[at_once]

    rates = rates_of(measure, (1, 2, 4))
    assert (asked, rates, best_of(rates)) == ([1, 2, 4, 4, 2, 1], {1: 1.0, 2: 3.0, 4: 2.0}, 2)


def test_sides_take_turns_in_beginning() -> None:
    rates, order = Rates(), ""

    def side(name: str) -> None:
        nonlocal order
        order += name
        if name == "a":
            rates.bare.append(1.0)

    for _ in range(3):
        rates.turn(lambda: side("a"), lambda: side("b"))
    assert order == "abbaab"


def test_a_message_that_is_not_done_or_is_a_stranger_fails_the_bench(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(names(2))
    with pytest.raises(RigError, match="2 messages, but 0 are done, 0 taken, 2 wait"):
        check_done(spool, 2)
    for name in names(2):
        (tmp_path / "ready" / name).rename(tmp_path / "done" / name)
    check_done(spool, 2)
    (tmp_path / "done" / "stranger").touch()
    with pytest.raises(RigError, match="but 3 are done"):
        check_done(spool, 2)
