"""A leak is found, noise is not taken for one."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.soak.slopes import LEAST_POINTS, Bound, longest, slope

BOUND = Bound(per_minute=0.1, in_all=0.0, why="a test")


def noisy(seed: int, *, per_minute: float, noise: float, seconds: int = 1200) -> list[tuple[float, float]]:
    """A line with noise that is spread, comes in waves, and has a wild sample here and there."""
    random = Random(seed)
    turn = random.uniform(0, 6)
    return [
        (
            float(at),
            70
            + per_minute * at / 60
            + random.uniform(-noise, noise)
            + noise * math.sin(turn + at / 40)
            + (random.random() < 0.02) * 50,
        )
        for at in range(seconds)
    ]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(), noise=st.floats(0, 2))
def test_noise_passes(seed: int, noise: float) -> None:
    found = slope(noisy(seed, per_minute=0, noise=noise), BOUND)
    assert found is not None
    assert found.is_flat


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(), noise=st.floats(0, 2), leak=st.floats(0.6, 50))
def test_a_leak_is_found_whatever_the_noise(seed: int, noise: float, leak: float) -> None:
    found = slope(noisy(seed, per_minute=leak, noise=noise), BOUND)
    assert found is not None
    assert not found.is_flat
    assert found.per_minute == pytest.approx(leak, abs=0.25)


@settings(deadline=None, max_examples=25)
@given(slope_=st.floats(-100, 100), begin=st.floats(-1e3, 1e3), points=st.integers(LEAST_POINTS, 700))
def test_a_line_without_noise_is_told_as_it_is(slope_: float, begin: float, points: int) -> None:
    found = slope([(float(at), begin + slope_ * at / 60) for at in range(points)], BOUND)
    assert found is not None
    assert found.per_minute == pytest.approx(slope_, abs=1e-6)
    assert found.noise == pytest.approx(0, abs=1e-6)
    assert found.first == pytest.approx(begin, abs=1e-5)
    assert (found.points, found.seconds) == (points, points - 1)


def test_what_shrinks_is_flat() -> None:
    found = slope(noisy(1, per_minute=-5, noise=0.1), BOUND)
    assert found is not None and found.is_flat


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(1.0, 1.0)] * LEAST_POINTS])
def test_too_few_samples_say_nothing(points: list[tuple[float, float]]) -> None:
    assert slope(points, BOUND) is None


def test_what_may_be_in_all_counts_in_a_short_stretch_and_not_in_a_long_one() -> None:
    bound = Bound(per_minute=0.1, in_all=4.0, why="a test")
    assert bound.over(60) == 4.0
    assert bound.over(3600) == 0.1


def test_the_longest_stretch_is_taken_and_of_equal_ones_the_last() -> None:
    assert longest([0, 10, 70], 100) == (10, 70)
    assert longest([0, 50], 100) == (50, 100)
