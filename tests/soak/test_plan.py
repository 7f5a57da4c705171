"""The plan follows from the seed, and leaves what has to be judged room to be judged in."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.soak.kinds import EXECUTORS
from scaler.soak.plan import KILLS_UNTIL, Deed, make_plan

PLANS = st.builds(
    make_plan,
    seed=st.integers(0, 10**9),
    seconds=st.floats(60, 2000),
    executors=st.sampled_from([("process",), ("docker",), EXECUTORS]),
    faults=st.booleans(),
)
USE = set(list(Deed)[: list(Deed).index(Deed.RESUME) + 1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**9))
def test_a_seed_gives_the_same_plan_again_and_another_one_another(seed: int) -> None:
    first, again, other = (
        make_plan(seed=one, seconds=120, executors=EXECUTORS, faults=True) for one in (seed, seed, seed + 1)
    )
    assert first == again
    assert first.sends != other.sends
    assert first.acts != other.acts


@settings(deadline=None, max_examples=25)
@given(plan=PLANS)
def test_everything_has_its_time_and_every_message_its_own_name(plan) -> None:
    names = Counter(name for send in plan.sends for name in send.names)
    assert set(names.values()) == {1}
    assert all("@" not in name and not name.startswith("~") for name in names)
    for row in (plan.sends, plan.acts):
        assert all(one.at_s <= two.at_s for one, two in pairwise(row))
        assert all(0 <= one.at_s <= plan.seconds for one in row)
    assert {one.job for one in plan.sends} <= set(plan.jobs)
    assert all(len(name) <= 32 for name in (*plan.jobs, *plan.manual, *plan.scheduled))


@settings(deadline=None, max_examples=25)
@given(plan=PLANS)
def test_without_faults_there_is_use_alone(plan) -> None:
    deeds = {act.deed for act in plan.acts}
    assert (deeds <= USE) != (Deed.KILL_DAEMON in deeds)


@settings(deadline=None, max_examples=25)
@given(plan=PLANS)
def test_the_daemon_is_killed_early_so_that_a_long_stretch_is_left(plan) -> None:
    kills = [act.at_s for act in plan.acts if act.deed is Deed.KILL_DAEMON]
    assert all(at <= KILLS_UNTIL * plan.seconds for at in kills)
    assert len(kills) in (0, 2, 3, 4, 5)


@settings(deadline=None, max_examples=25)
@given(plan=PLANS)
def test_deeds_fit_what_runs_the_workers(plan) -> None:
    deeds = {act.deed for act in plan.acts}
    if "docker" not in plan.executors:
        assert not deeds & {Deed.KILL_CONTAINER, Deed.REMOVE_CONTAINER}
    if "process" not in plan.executors:
        assert not deeds & {Deed.KILL_WORKER, Deed.KILL_SHIM, Deed.SUSPEND, Deed.REMOVE}
