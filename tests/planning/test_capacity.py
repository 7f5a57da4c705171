"""Who may begin how much when all jobs together are limited: no cap is passed, shares are fair, nobody starves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scaler.model.capacity import Amount, GlobalLimits, need_of
from scaler.model.decision import Bound, Reason
from scaler.model.job import Container, Resources, Template
from scaler.planning.capacity import (
    Claim,
    Given,
    Room,
    explain_cut,
    fits,
    passed_after,
    refusal,
    share_out,
)

GIB = 1 << 30
ONE = Amount(executions=1, cpu=0.5, memory_bytes=GIB)


def claim(
    job: str, asks: int = 100, *, live: int = 0, need: Amount = ONE, since: float = 0.0, **kw: float
) -> Claim:
    return Claim(
        job=job, need=need, live=Amount().plus(need, live), asks=asks, since=since,
        priority=int(kw.get("priority", 0)), weight=kw.get("weight", 1.0),
    )  # fmt: skip


def shares(limits: GlobalLimits, *claims: Claim, used: int = 0, starts: int | None = None) -> Counter[str]:
    room = Room(limits=limits, used=Amount(executions=used), starts=starts)
    return Counter(item.job for item in share_out(room, claims).given)


def test_two_jobs_that_flood_at_once_get_half_each() -> None:
    assert shares(GlobalLimits(executions=4), claim("a"), claim("b")) == {"a": 2, "b": 2}


def test_who_needs_less_than_its_share_leaves_the_rest_to_the_others() -> None:
    assert shares(GlobalLimits(executions=9), claim("a", 1), claim("b"), claim("c")) == {
        "a": 1,
        "b": 4,
        "c": 4,
    }


def test_who_has_less_of_its_share_gets_the_room_first() -> None:
    assert shares(GlobalLimits(executions=4), claim("a", live=3), claim("b"), used=3) == {"b": 1}


def test_shares_follow_weights() -> None:
    found = shares(GlobalLimits(executions=8), claim("a", weight=3.0), claim("b", weight=1.0))
    assert found == {"a": 6, "b": 2}


def test_the_higher_priority_comes_first_and_every_eleventh_start_is_for_who_waits_longest() -> None:
    limits = GlobalLimits(executions=22)
    assert shares(limits, claim("high", priority=5, since=9.0), claim("low")) == {"high": 20, "low": 2}


def test_between_several_caps_the_scarcest_makes_the_share() -> None:
    limits = GlobalLimits(cpu=9, memory_bytes=18 * GIB)
    memory_heavy = Amount(executions=1, cpu=1, memory_bytes=4 * GIB)
    cpu_heavy = Amount(executions=1, cpu=3, memory_bytes=GIB)
    found = shares(limits, claim("m", need=memory_heavy), claim("c", need=cpu_heavy))
    assert found == {"m": 3, "c": 2}, "two thirds of the memory and of the cores"


def test_what_does_not_fit_is_passed_over_and_later_room_is_kept_for_it() -> None:
    limits, large = GlobalLimits(cpu=4), Amount(executions=1, cpu=4)
    room = Room(limits=limits, used=Amount(cpu=2.0))
    claims = [claim("large", 1, need=large), claim("small", 1, since=5.0)]
    found = share_out(room, claims)
    assert found.given == (Given(job="small", past=True),)
    assert share_out(replace(room, passed=10), claims).kept_for == "large"
    assert share_out(replace(room, passed=10, used=Amount()), claims).given == (
        Given(job="large", in_turn=True),
    )


def test_ten_tenths_of_a_core_fit_into_one() -> None:
    assert shares(GlobalLimits(cpu=1), claim("a", need=Amount(executions=1, cpu=0.1))) == {"a": 10}


def test_the_launch_rate_is_shared_like_room() -> None:
    assert shares(GlobalLimits(launch_rate=2), claim("a"), claim("b"), starts=2) == {"a": 1, "b": 1}


def test_the_limit_that_held_is_named() -> None:
    limits = GlobalLimits(executions=4, cpu=100, launch_rate=5)

    def cut(mine: Claim, room: Room, *others: Claim) -> tuple[int, Bound, Reason] | None:
        found = explain_cut(room, mine, share_out(room, [mine, *others]))
        return None if found is None else (found.launch, found.bound, found.reason)

    empty = Room(limits=limits)
    assert cut(claim("a", 4), empty) is None
    assert cut(claim("a", 5), empty) == (4, Bound.GLOBAL_EXECUTIONS, Reason.AT_GLOBAL_LIMIT)
    assert cut(claim("a", 4), replace(empty, starts=1)) == (1, Bound.LAUNCH_RATE, Reason.LAUNCH_RATE)
    assert cut(claim("a", 4), empty, claim("b")) == (2, Bound.FAIR_SHARE, Reason.FAIR_SHARE)
    large = claim("a", 1, need=Amount(executions=1, cpu=200.0))
    assert cut(large, empty) == (0, Bound.GLOBAL_CPU, Reason.TOO_LARGE)
    full = replace(empty, used=Amount(executions=4, cpu=2.0))
    found = refusal(full, ONE)
    assert found is not None
    assert found.message == "limits.global.executions = 4 is reached: all executions together take 4"
    assert refusal(replace(full, used=ONE), ONE) is None


def test_an_execution_needs_its_containers_resources_for_each_parallel_replica() -> None:
    template = Template(container=Container(name="x", resources=Resources(cpu=0.25, memory_bytes=GIB)))
    assert need_of(template, 3) == Amount(executions=1, cpu=0.75, memory_bytes=3 * GIB)


amounts = st.builds(
    Amount,
    executions=st.just(1),
    cpu=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    memory_bytes=st.sampled_from([GIB // 2, GIB, 4 * GIB]),
)
limits_of_all_kinds = st.builds(
    GlobalLimits,
    executions=st.one_of(st.none(), st.integers(1, 12)),
    cpu=st.one_of(st.none(), st.sampled_from([0.5, 1.0, 3.3, 8.0])),
    memory_bytes=st.one_of(st.none(), st.integers(1, 20).map(lambda n: n * GIB)),
)


@st.composite
def claims_of_jobs(draw: st.DrawFn) -> list[Claim]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        mine = claim(
            f"j{number}", draw(st.integers(1, 8)), need=draw(amounts), live=draw(st.integers(0, 3)),
            since=float(draw(st.integers(0, 5))), priority=draw(st.integers(0, 2)),
            weight=draw(st.sampled_from([1.0, 2.0, 5.0])),
        )  # fmt: skip
        found.append(mine)
    return found


@given(limits_of_all_kinds, claims_of_jobs(), st.integers(0, 12), st.integers(0, 6))
def test_no_cap_is_passed_and_no_room_is_left_that_somebody_could_use(
    limits: GlobalLimits, claims: list[Claim], passed: int, starts: int
) -> None:
    used = Amount()
    for item in claims:
        used = used.plus(Amount(executions=1), item.live.executions)
        used = used.plus(Amount(cpu=item.live.cpu, memory_bytes=item.live.memory_bytes))
    room = Room(limits=limits, used=used, passed=passed, starts=starts)
    found = share_out(room, claims)
    by_name = {item.job: item for item in claims}
    for item in found.given:
        assert fits(limits, used, by_name[item.job].need) is None
        used = used.plus(by_name[item.job].need)
    counts = Counter(item.job for item in found.given)
    assert all(counts[item.job] <= item.asks for item in claims)
    assert len(found.given) <= starts
    if len(found.given) < starts and found.kept_for is None:
        left = [item for item in claims if counts[item.job] < item.asks]
        assert all(fits(limits, used, item.need) is not None for item in left)


@given(st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_shares_of_equals_are_max_min_fair(cap: int, asks: list[int]) -> None:
    """Nobody could get more without taking from somebody who has no more: KEDA has no word for it, the books do."""
    found = shares(GlobalLimits(executions=cap), *(claim(f"j{n}", asked) for n, asked in enumerate(asks)))
    got = [found[f"j{n}"] for n in range(len(asks))]
    assert sum(got) == min(cap, sum(asks))
    for mine, asked in zip(got, asks, strict=True):
        assert mine == asked or mine >= max(got) - 1


@given(st.integers(2, 6), st.integers(1, 4), st.integers(1, 20), st.randoms(use_true_random=False))
def test_nobody_starves_whatever_the_priorities(jobs: int, cap: int, pass_over: int, rng: object) -> None:
    """All flood for ever and executions end one at a time: each job begins one within a bounded number of starts."""
    limits = GlobalLimits(executions=cap, pass_over=pass_over)
    live: list[str] = []
    since = {f"j{n}": float(-n) for n in range(jobs)}
    passed, starts, latest = 0, 0, dict.fromkeys(since, 0)
    for moment in range(1, jobs * (pass_over + 1) * 4):
        if len(live) == cap:
            live.pop(rng.randrange(cap))  # type: ignore[attr-defined]
        claims = [claim(job, live=live.count(job), since=since[job], priority=int(job[1:])) for job in since]
        found = share_out(Room(limits=limits, used=Amount(executions=len(live)), passed=passed), claims)
        passed = passed_after(passed, found.given)
        for item in found.given:
            starts += 1
            live.append(item.job)
            since[item.job], latest[item.job] = float(moment), starts
        assert all(starts - last <= jobs * (pass_over + 1) + cap for last in latest.values())
