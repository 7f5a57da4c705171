"""What a run comes to: nothing is counted twice, nothing unknown is zero."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.load.account import Notes, Outcome, Report, Sample, account, ideal, read_report
from scaler.load.plan import Plan
from scaler.load.report import report_body, report_page
from scaler.rig.charts import Line, chart, spark, ticks

PLAN = Plan(count=5, poison=0.2, think_s=1.0)


def said(name: str | None, started: float, reported: float, *, is_poison: bool = False) -> Report:
    return Report(id=name, started=started, reported=reported, is_poison=is_poison)


def notes() -> Notes:
    """Four good messages, of which one is done twice and one is lost; a poison one; an execution too many."""
    made = Notes(job="orders", kind="rabbitmq", max_executions=2)
    made.sent = {"r/0": 100.0, "r/1": 100.0, "r/2": 101.0, "r/3": 102.0}
    made.poison = {"r/4"}
    made.reports = [
        said("r/0", 102.0, 103.0),
        said("r/2", 105.0, 106.0),
        said("r/1", 104.0, 105.0),
        said("r/0", 104.5, 107.0),
        said("r/4", 104.0, 104.1, is_poison=True),
        said("r/4", 108.0, 108.1, is_poison=True),
        said(None, 109.0, 110.0),
    ]
    made.samples = [
        Sample(at_s=0.0, sent=2, done=0, depth=2, running=0),
        Sample(at_s=3.0, sent=4, done=1, depth=None, running=2),
        Sample(at_s=6.0, sent=4, done=3, depth=1, running=None),
    ]
    made.executions = [1.0, 2.0, 3.0]
    made.statuses.update({"Succeeded": 5, "Failed": 2})
    return made


def test_the_sums_of_a_run() -> None:
    assert account(notes(), think_s=1.0) == Outcome(
        job="orders",
        kind="rabbitmq",
        max_executions=2,
        sent=4,
        poison=1,
        done=3,
        duplicates=1,
        lost=1,
        poison_tries=2,
        empty=1,
        executions=7,
        wasted=4,
        statuses={"Succeeded": 5, "Failed": 2},
        peak=2,
        wait_p50_s=4.0,
        wait_p99_s=4.0,
        drain_s=6.0,
        ideal_s=4.0,
        work_s=3.0,
        interrupted=False,
        faults=(),
    )


def test_poison_is_waited_for_only_where_there_is_nothing_else() -> None:
    made = Notes(job="j", kind="k", max_executions=4, poison={"r/1", "r/2"}, reports=[said("r/1", 1.0, 2.0)])
    assert not made.is_drained()
    made.reports.append(said("r/2", 2.0, 3.0))
    assert made.is_drained()
    made.sent["r/3"] = 3.0
    assert not made.is_drained()
    made.reports = [said("r/3", 4.0, 5.0)]
    assert made.is_drained()


def test_executions_that_still_run_when_it_ends_are_not_wasted_yet() -> None:
    made = Notes(job="j", kind="k", max_executions=4)
    made.statuses.update({"Running": 2, "Processing": 1, "Failed": 1})
    found = account(made, think_s=0.0)
    assert (found.executions, found.wasted) == (4, 1)


def test_a_run_of_which_nothing_is_known_has_no_figures() -> None:
    found = account(Notes(job="j", kind="k", max_executions=1), think_s=0.0)
    unknown = (found.peak, found.wait_p50_s, found.wait_p99_s, found.drain_s, found.ideal_s, found.work_s)
    assert unknown == (None,) * 6


@pytest.mark.parametrize("change", ["lost", "above", "interrupted", "fault"])
def test_what_does_not_sum_up_is_told(change: str) -> None:
    made = notes()
    made.reports.append(said("r/3", 110.0, 111.0))
    assert account(made, think_s=1.0).sums_up
    if change == "lost":
        made.sent["r/9"] = 103.0
    elif change == "above":
        made.samples.append(Sample(at_s=7.0, sent=4, done=4, depth=0, running=3))
    elif change == "interrupted":
        made.interrupted = True
    else:
        made.faults.append("the broker went away")
    assert not account(made, think_s=1.0).sums_up


@given(
    st.lists(st.floats(0, 50, allow_nan=False), min_size=1, max_size=30), st.floats(0, 10), st.integers(1, 8)
)
def test_the_ideal_lies_between_its_bounds(sent: list[float], each_s: float, slots: int) -> None:
    found = ideal(sorted(sent), each_s, slots)
    assert found is not None
    span = max(sent) - min(sent)
    work = math.ceil(len(sent) / slots) * each_s
    assert max(span, work if span == 0 else 0) - 1e-6 <= found <= span + len(sent) * each_s + 1e-6


def test_reports_of_other_runs_and_other_texts_are_none_of_ours() -> None:
    facts = {"startedAt": 1, "reportedAt": 2.5}
    assert read_report(json.dumps({"id": "r/1", **facts}), run="r") == said("r/1", 1.0, 2.5)
    assert read_report(json.dumps({"id": None, **facts}), run="r") == said(None, 1.0, 2.5)
    others = [
        "",
        "[]",
        '{"id": "r/1"}',
        json.dumps({"id": "q/1", **facts}),
        json.dumps({"id": "rr/1", **facts}),
    ]
    assert [read_report(text, run="r") for text in others] == [None] * 5


def test_the_report_in_json_has_the_sums_and_the_samples() -> None:
    made = notes()
    body = report_body(PLAN, [made], [account(made, think_s=1.0)], begun="today")
    assert json.loads(json.dumps(body)) == body
    assert (body["sumsUp"], body["total"]["lost"], body["plan"]["poisonMessages"]) == (False, 1, 1)
    assert [sample["running"] for sample in body["jobs"][0]["samples"]] == [0, 2, None]
    assert body["jobs"][0]["drainToIdeal"] == 1.5


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    made = notes()
    made.faults.append("<script>alert(1)</script>")
    page = report_page(PLAN, [made], [account(made, think_s=1.0)], begun="today")
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<svg") == 2
    assert '<td class="bad">1</td>' in page


def test_a_chart_is_well_formed_and_leaves_gaps_where_nothing_is_known() -> None:
    points = [(0.0, 1.0), (1.0, None), (2.0, 3.0), (3.0, 2.0)]
    drawn = ET.fromstring(chart("a < b", [Line(label="x & y", colour="#000", points=points)]))
    (path,) = drawn.iter("path")
    assert path.get("d", "").count("M") == 2
    ET.fromstring(chart("empty", [Line(label="none", colour="#000", points=[])]))


@given(st.floats(0.001, 1e6))
def test_ticks_are_round_and_reach_the_top(top: float) -> None:
    found = ticks(top)
    assert ticks(top, least=1.0)[1] >= 1
    assert found[0] == 0
    assert found[-1] >= top * (1 - 1e-6)
    assert 2 <= len(found) <= 7


def test_a_spark_shows_the_latest_values() -> None:
    assert spark([0, 5, None, 10], width=3, top=10.0) == "▅ █"
    assert spark([], width=5, top=0.0) == ""
