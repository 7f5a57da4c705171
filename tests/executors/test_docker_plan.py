"""What comes next in a replica of several containers, and how its end is told: no engine needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors._docker_holder import _PROGRAMS, _program
from executors._docker_notes import Notes
from executors._docker_plan import (
    COMPLETED,
    HOLDER_LOST,
    STOPPED,
    Plan,
    Start,
    Verdict,
    decide,
    exit_by,
    read_plan,
    write_plan,
)
from executors._docker_probes import watch_container
from executors._docker_volumes import engine_volumes, member_mounts, owner_of
from scaler.model.job import Resources
from scaler.model.pod import Probe, ProbeType, VolumeMount
from scaler.model.replica import ContainerSpec, Fault, PodSpec, ReplicaExit, Usage, VolumeSpec

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan(init=("i1", "i2"), others=("a", "side", "b"), sidecars=frozenset({"side"}))


def ended(code: int | None, second: int = 0, cpu: float | None = None) -> ReplicaExit:
    reason = "Completed" if code == 0 else "Error"
    return ReplicaExit(
        code=code, reason=reason, at=AT + timedelta(seconds=second), usage=Usage(cpu_seconds=cpu)
    )


OK, BAD = ended(0), ended(3)


@pytest.mark.parametrize(
    ("exits", "unstarted", "step"),
    [
        ({}, "i1 i2 a side b", Start(names=("i1",))),
        ({}, "i2 a side b", None),
        ({"i1": OK}, "i2 a side b", Start(names=("i2",))),
        ({"i1": BAD}, "i2 a side b", Verdict(container="i1")),
        ({"i1": OK, "i2": OK}, "a side b", Start(names=("a", "side", "b"))),
        ({"i1": OK, "i2": OK}, "b", Start(names=("b",))),
        ({"i1": OK, "i2": OK, "side": BAD}, "", None),
        ({"i1": OK, "i2": OK, "a": OK}, "", None),
        ({"i1": OK, "i2": OK, "a": OK, "b": OK}, "", COMPLETED),
        ({"i1": OK, "i2": OK, "a": ended(9, 5), "b": ended(8, 4)}, "", Verdict(container="b")),
        ({"i1": OK, "i2": OK, "a": ended(None)}, "b", Verdict(container="a")),
    ],
)
def test_each_step_follows_from_what_has_ended(
    exits: dict[str, ReplicaExit], unstarted: str, step: Start | Verdict | None
) -> None:
    assert decide(PLAN, exits, set(unstarted.split()), stopping=False, holder_up=True) == step


def test_a_stop_starts_nothing_and_waits_for_what_runs() -> None:
    first = {"i1": OK}
    assert decide(PLAN, first, {"i2", "a", "side", "b"}, stopping=True, holder_up=True) == STOPPED
    both = {**first, "i2": OK}
    assert decide(PLAN, both, {"b"}, stopping=True, holder_up=True) is None
    assert decide(PLAN, {**both, "a": OK}, {"b"}, stopping=True, holder_up=True) == STOPPED
    assert decide(PLAN, {**both, "a": OK, "b": OK}, set(), stopping=True, holder_up=True) == COMPLETED


def test_without_the_holder_nothing_goes_on_but_what_is_decided_stands() -> None:
    exits = {"i1": OK, "i2": OK}
    assert decide(PLAN, exits, set(), stopping=False, holder_up=False) == HOLDER_LOST
    assert decide(PLAN, exits, {"a"}, stopping=False, holder_up=False) == HOLDER_LOST
    assert decide(PLAN, {**exits, "a": OK, "b": OK}, set(), stopping=False, holder_up=False) == COMPLETED


@given(
    codes=st.dictionaries(st.sampled_from(PLAN.names), st.sampled_from([0, 3, None])),
    others=st.sets(st.sampled_from(PLAN.names)),
    stopping=st.booleans(),
    holder_up=st.booleans(),
)
def test_nothing_is_started_twice_or_before_its_turn_or_after_a_stop(
    codes: dict[str, int | None], others: set[str], stopping: bool, holder_up: bool
) -> None:
    exits = {name: ended(code) for name, code in codes.items()}
    unstarted = others - exits.keys()
    step = decide(PLAN, exits, unstarted, stopping=stopping, holder_up=holder_up)
    if isinstance(step, Start):
        assert step.names
        assert not stopping
        assert holder_up
        assert set(step.names) <= unstarted
        before = PLAN.init[: PLAN.init.index(step.names[0])] if step.names[0] in PLAN.init else PLAN.init
        assert all(codes.get(name, -1) == 0 for name in before)
    if step == COMPLETED:
        assert all(codes.get(name, -1) == 0 for name in (*PLAN.init, *PLAN.main))


def test_an_end_bears_the_name_and_code_of_the_container_that_decided() -> None:
    exits = {"i1": ended(0, cpu=1), "a": ended(0, 5, cpu=2), "b": ended(7, 3, cpu=4)}
    told = exit_by(Verdict(container="b"), PLAN, exits)
    assert (told.code, told.reason, told.message, told.at) == (
        7,
        "Error",
        "container b",
        AT + timedelta(seconds=3),
    )
    assert told.usage == Usage(cpu_seconds=7)
    done = exit_by(COMPLETED, PLAN, {"a": ended(0, 5), "b": ended(0, 9)})
    assert (done.code, done.reason, done.at, done.usage) == (
        0,
        "Completed",
        AT + timedelta(seconds=9),
        Usage(),
    )


def test_a_failed_probe_is_the_apps_fault_and_no_success_whatever_the_code() -> None:
    verdict = Verdict(container="a", reason="LivenessFailed", message="probe failed")
    polite = exit_by(verdict, PLAN, {"a": OK})
    assert (polite.code, polite.reason, polite.fault) == (None, "LivenessFailed", Fault.APP)
    assert exit_by(verdict, PLAN, {"a": ended(143)}).code == 143


def test_a_plan_survives_its_label() -> None:
    probe = Probe(
        type=ProbeType.LIVENESS, port=80, path="/x?y=1", headers=(("A", "b"),), grace=timedelta(seconds=4)
    )
    plan = Plan(init=("i",), others=("a", "b"), sidecars=frozenset({"b"}), probes={"a": (probe,)})
    assert read_plan(write_plan(plan)) == plan
    with pytest.raises(ValueError, match="no plan of ours"):
        read_plan('{"init": []}')


async def test_notes_keep_the_first_verdict_and_the_stop(tmp_path) -> None:  # type: ignore[no-untyped-def]
    notes, first = Notes(tmp_path / "new"), Verdict(container="a", reason="StartupFailed", grace_s=2)
    assert await notes.note_verdict("r", first) == first
    await notes.note_stop("r")
    assert await notes.note_verdict("r", COMPLETED) == first
    again = await Notes(tmp_path / "new").read("r")
    assert (again.stopping, again.verdict) == (True, first)
    await notes.forget("r")
    await notes.forget("r")
    assert (await notes.read("r")).verdict is None


@pytest.mark.parametrize(
    ("answers", "asked", "reason"),
    [
        ("xx.", 6, "LivenessFailed"),  # two failures, started; then alive, and two failures
        ("xxx", 3, "StartupFailed"),
    ],
)
async def test_failures_in_a_row_fail_a_container(answers: str, asked: int, reason: str) -> None:
    quick = timedelta(milliseconds=1)
    startup = Probe(type=ProbeType.STARTUP, port=80, period=quick, failure_threshold=3)
    alive = Probe(type=ProbeType.LIVENESS, port=80, period=quick, failure_threshold=2)
    script = iter(answers + ".xx")
    seen: list[ProbeType] = []

    async def ask(probe: Probe, _address: str) -> str | None:
        seen.append(probe.type)
        return None if next(script) == "." else "no"

    verdict = await watch_container("web", (alive, startup), "here", ask)
    assert verdict is not None
    assert (verdict.container, verdict.reason, len(seen)) == ("web", reason, asked)


def test_a_sub_path_is_a_volume_of_its_own_and_secrets_are_read_only() -> None:
    mounts = (
        VolumeMount(volume="data", path="/in", sub_path="in/"),
        VolumeMount(volume="data", path="/out", sub_path="out"),
        VolumeMount(volume="keys", path="/keys"),
    )
    one = ContainerSpec(
        name="a", image="i", command=(), args=(), env={}, resources=Resources(), mounts=mounts
    )
    pod = PodSpec(
        containers=(one,),
        volumes=(VolumeSpec(name="data"), VolumeSpec(name="keys", files=()), VolumeSpec(name="unused")),
    )
    volumes = engine_volumes("r", pod)
    assert set(volumes) == {("data", "in"), ("data", "out"), ("keys", "")}
    assert len({volume.name for volume in volumes.values()}) == 3
    assert [mount["ReadOnly"] for mount in member_mounts(mounts, volumes)] == [False, False, True]


def test_files_belong_to_numbers_only() -> None:
    assert [owner_of(user) for user in (None, "", "1000", "1000:50", "1000:staff", "www")] == [
        (0, 0),
        (0, 0),
        (1000, 0),
        (1000, 50),
        (1000, 0),
        (0, 0),
    ]


@pytest.mark.parametrize("machine", sorted(_PROGRAMS))
def test_the_holders_program_is_an_elf_file_of_its_machine(machine: str) -> None:
    program = _program(machine)
    number = int.from_bytes(program[18:20], "little")
    assert (program[:4], number, len(program) < 200) == (
        b"\x7fELF",
        {"amd64": 62, "arm64": 183}[machine],
        True,
    )
    assert int.from_bytes(program[24:32], "little") == 0x400000 + 120
