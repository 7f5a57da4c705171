"""`scaler why` has a sentence for each reason and each limit that may have held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.api.views import decision_body
from scaler.cli import why
from scaler.model.decision import Bound, Occasion, Reason, bare_decision
from tests.api.fakes import NOW, make_decision

SAID_BY_THE_NUMBER = {Reason.LAUNCHED}
"""`Started 3 executions` says it."""


@pytest.mark.parametrize("reason", sorted(set(Reason) - SAID_BY_THE_NUMBER))
def test_each_reason_has_words(reason: Reason) -> None:
    assert reason.value in why._REASONS


@pytest.mark.parametrize("occasion", Occasion)
def test_each_occasion_has_words(occasion: Occasion) -> None:
    assert occasion.value in why._OCCASIONS


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (
            Bound.GLOBAL_EXECUTIONS,
            "The setting limits.global.executions of the daemon held (3 were waiting).",
        ),
        (Bound.GLOBAL_CPU, "The setting limits.global.cpu of the daemon held (3 were waiting)."),
        (Bound.GLOBAL_MEMORY, "The setting limits.global.memory of the daemon held (3 were waiting)."),
        (Bound.LAUNCH_RATE, "The setting limits.global.launchRate of the daemon held (3 were waiting)."),
        (Bound.FAIR_SHARE, "Other jobs that wait have less than their share"),
    ],
)
def test_the_limit_of_the_daemon_that_held_is_told(bound: Bound, said: str) -> None:
    decision = replace(make_decision(launch=0), bound=bound, reason=Reason.AT_GLOBAL_LIMIT, waiting=3)
    told = list(why.sentences(decision_body(decision)))
    assert any(sentence.startswith(said) for sentence in told)
    assert "Started nothing (AtGlobalLimit: a limit of the whole daemon was reached)." in told


def test_a_moved_message_is_told_in_its_own_words() -> None:
    text = "message 'm0' was delivered 5 times and its executions failed; it is moved to queue 'dead'"
    decision = bare_decision("orders", NOW, Occasion.POISON, Reason.POISON_MOVED, text)
    assert list(why.sentences(decision_body(decision))) == [f"M{text[1:]}"]
