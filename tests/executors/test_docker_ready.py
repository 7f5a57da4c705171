"""Who gets which ready network, what is made and thrown away: decided without an engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from executors._docker_members import Seen
from executors._docker_ready import IDLE_S, PAUSE_S, Drop, Listed, Make, Stock, network_of
from scaler.model.job import DockerOptions
from scaler.model.replica import PodSpec
from scaler.testing.executor_contract import make_spec


def filled(*names: str) -> Stock:
    """Give a stock that has made what it may."""
    stock = Stock(len(names))
    assert stock.take("bridge", "first", "first-1") is None
    for name in names:
        assert stock.next(0.0) == Make(network="bridge")
        stock.made(name, "bridge", 0.0)
    assert stock.next(0.0) is None
    return stock


def listed(name: str, state: str = "running", **more: str) -> Listed:
    return Listed(seen=Seen(id=name, state=state), is_holder=not more, **more)


def replica_on(holder: str, replica: str, state: str = "running") -> Listed:
    return Listed(seen=Seen(id=f"c-{replica}", state=state), joins=holder, replica=replica)


@pytest.mark.parametrize(
    ("network", "wanted"),
    [(None, "bridge"), ("orders", "orders"), ("none", None), ("host", None), ("container:x", None)],
)
def test_only_what_would_have_a_network_of_its_own_joins_one(network: str | None, wanted: str | None) -> None:
    spec = replace(make_spec(["true"]), docker=DockerOptions(network=network))
    assert network_of(spec) == wanted
    assert network_of(replace(spec, pod=PodSpec(containers=()))) is None


def test_one_is_handed_to_one_replica_at_a_time_and_again_only_to_its_job() -> None:
    stock = filled("a")
    assert stock.take("bridge", "one", "one-1") == "a"
    assert stock.take("bridge", "one", "one-1") == "a"  # the same launch, repeated
    assert stock.take("bridge", "one", "one-2") is None
    assert not stock.give_back("one-1", 1.0)  # it is just being launched
    stock.launched("one-1")
    assert stock.give_back("one-1", 1.0)
    assert not stock.give_back("one-1", 1.0)
    assert stock.take("bridge", "two", "two-1") is None
    assert stock.take("bridge", "one", "one-2") == "a"


def test_networks_have_stocks_of_their_own() -> None:
    stock = filled("a")
    assert stock.take("orders", "one", "one-1") is None
    assert stock.next(0.0) == Make(network="orders")


def test_without_a_size_there_is_nothing() -> None:
    stock = Stock(0)
    assert (stock.take("bridge", "one", "one-1"), stock.next(0.0)) == (None, None)


def test_what_a_job_has_used_is_replaced_when_it_rests_and_nothing_fresh_is_left() -> None:
    stock = filled("a", "b")
    for name, replica in (("b", "one-1"), ("a", "one-2")):
        assert stock.take("bridge", "one", replica) == name
        stock.launched(replica)
    stock.give_back("one-1", 5.0)
    stock.give_back("one-2", 2.0)
    assert stock.next(IDLE_S) is None
    assert stock.next(2.0 + IDLE_S) == Drop(holder="a")
    assert stock.next(2.0 + IDLE_S) == Make(network="bridge")
    stock.made("c", "bridge", 40.0)
    assert stock.next(1000.0) is None  # one is fresh; the job keeps the other
    assert stock.take("bridge", "two", "two-1") == "c"


def test_a_network_on_which_it_failed_rests_and_others_do_not() -> None:
    stock = filled("a")
    stock.take("orders", "one", "one-1")
    stock.failed("orders", 10.0)
    assert stock.next(10.0 + PAUSE_S - 1) is None
    assert stock.next(10.0 + PAUSE_S) == Make(network="orders")


def test_one_that_is_found_dead_takes_the_idle_ones_with_it_and_leaves_those_in_use() -> None:
    stock = filled("a", "b", "c")
    assert stock.take("bridge", "one", "one-1") == "c"
    assert stock.take("bridge", "one", "one-2") == "b"
    stock.lost("b")
    stock.launched("one-1")
    assert stock.take("bridge", "one", "one-1") == "c"
    assert stock.compare([listed("a"), listed("b", "exited"), listed("c")], {}) == ("a", "b")


def test_strays_are_removed_once_nobody_has_joined_them() -> None:
    stock = Stock(2)
    both = [listed("a"), listed("b"), listed("e", "created")]
    assert stock.compare([*both, replica_on("a", "r-1"), replica_on("b", "r-2", "created")], {}) == ("e",)
    assert stock.compare([*both, replica_on("a", "r-1", "exited")], {}) == ("a", "b", "e")


def test_what_died_while_it_lay_idle_is_not_handed_out() -> None:
    stock = filled("a", "b")
    assert stock.compare([listed("a", "exited")], {}) == ("a",)
    assert stock.take("bridge", "one", "one-1") is None


def test_one_whose_replica_vanished_is_removed_but_not_one_whose_launch_is_under_way() -> None:
    stock = filled("a", "b")
    stock.take("bridge", "one", "one-1")
    stock.take("bridge", "one", "one-2")
    stock.launched("one-1")
    settled = stock.settled()
    stock.launched("one-2")  # after the list was asked for, so that it may not hold the container yet
    assert settled == {"b": "one-1"}
    assert stock.compare([listed("a"), listed("b")], settled) == ("b",)
    assert stock.compare([listed("a")], stock.settled()) == ("a",)


def test_at_the_end_those_in_use_stay() -> None:
    stock = filled("a", "b")
    stock.take("bridge", "one", "one-1")
    assert stock.unused() == ("a",)
    assert stock.next(0.0) is None
