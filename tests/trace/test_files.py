"""Trace files: bounded, without secrets, and honest about what is missing."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from scaler.errors import ConfigError
from scaler.model.decision import Occasion
from scaler.model.job import AuthRef, ScaleRule
from scaler.model.sample import Sample
from scaler.model.share import Share
from scaler.planning.counts import Counts
from scaler.planning.decide import Inputs, decide
from scaler.planning.plan import RuleReading
from scaler.trace.lines import Arrival, Decided
from scaler.trace.read import Trace
from scaler.trace.recorder import TraceFile, TraceRecorder, open_recorder
from tests.planning.builders import NOW, reading, trigger

CANARY = "canary-77aa10"


def now() -> datetime:
    return NOW


def made(value: int = 3) -> Inputs:
    rule = ScaleRule(
        name="rule",
        type="toy",
        metadata={"connection": CANARY},
        auth=(AuthRef(parameter="p", secret=CANARY),),
    )
    share = Share(key="t/1", value=value, env=(("TOKEN", CANARY),))
    sample = Sample(value=value, active=True, as_of=NOW, shares=(share,))
    return Inputs(
        job="orders", trigger=replace(trigger(), rules=(rule,)), counts=Counts(running=0, pending=0), at=NOW,
        readings=(RuleReading(rule=rule, target=1, reading=sample),), occasion=Occasion.TICK,
    )  # fmt: skip


def write(recorder: TraceRecorder, count: int) -> None:
    for number in range(count):
        inputs = made()
        recorder.decided(inputs, decide(inputs), decision_id=number, read_s=0.01)


def test_what_may_be_secret_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with open_recorder(TraceFile(path=path), version="1", now=now) as recorder:
        write(recorder, 1)
    assert CANARY not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (placed,) = Trace(path)
    assert isinstance(placed.entry, Decided)
    assert placed.entry.outcome.handed == ("t/1",)


def test_files_are_bounded_and_the_kept_ones_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with open_recorder(TraceFile(path=path, max_bytes=4000, keep=2), version="1", now=now) as recorder:
        write(recorder, 60)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["t.jsonl", "t.jsonl.1", "t.jsonl.2"]
    assert all(file.stat().st_size < 6000 for file in tmp_path.iterdir())
    ids = [p.entry.decision_id for p in Trace(path) if isinstance(p.entry, Decided)]
    assert ids == list(range(60 - len(ids), 60))
    assert len(ids) > 6


def test_a_line_that_a_kill_cut_off_is_counted_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with open_recorder(TraceFile(path=path), version="1", now=now) as recorder:
        write(recorder, 2)
    path.write_bytes(path.read_bytes()[:-20])
    with open_recorder(TraceFile(path=path), version="1", now=now) as recorder:
        write(recorder, 2)
    trace = Trace(path)
    assert (len(list(trace)), trace.torn) == (3, 1)


def test_what_could_not_be_written_is_counted(tmp_path: Path) -> None:
    recorder = TraceRecorder(TraceFile(path=tmp_path / "t.jsonl"), version="1", now=now)
    write(recorder, 10_003)  # nobody writes yet
    recorder.start()
    recorder.close()
    trace = Trace(tmp_path / "t.jsonl")
    assert (len(list(trace)), trace.dropped) == (10_000, 3)


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="Is a directory; name a file for the trace"),
        open_recorder(TraceFile(path=tmp_path), version="1", now=now),
    ):
        pass


GOOD = '{"kind":"arrival","job":"orders","at":"2026-03-01T12:00:00Z","count":2}\n'


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("no json\n", "t.jsonl:2: is no JSON object"),
        (
            '{"kind":"arival"}\n',
            "t.jsonl:2: arival: got 'arival'; a line's kind is one of trace, job, decision",
        ),
        ('{"kind":"trace","version":9}\n', "t.jsonl:2: trace: version 9; this program reads 1"),
        ('{"kind":"arrival","job":"a"}\n', "t.jsonl:2: arrival: the line: missing at"),
        (
            '{"kind":"arrival","job":"a","at":"2026-03-01T12:00:00"}\n',
            "t.jsonl:2: arrival: at: got '2026-03-01T12:00:00'; write a time with its zone",
        ),
        (
            '{"kind":"arrival","job":"a","at":"2026-03-01T12:00:00Z","count":0}\n',
            "t.jsonl:2: arrival: count: got 0; it must be 1 or more",
        ),
        (
            '{"kind":"arrival","job":"a","at":"2026-03-01T12:00:00Z","cuont":1}\n',
            "t.jsonl:2: arrival: the line: unknown key 'cuont'",
        ),
        ('{"kind":"decision","inputs":{"job":"a"}}\n', "no line of kind job for 'a' stands before it"),
    ],
)
def test_a_faulty_line_is_told_with_its_place(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(GOOD + line + GOOD)
    with pytest.raises(ConfigError) as caught:
        list(Trace(path))
    assert fault in str(caught.value)


def test_arrivals_may_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(GOOD)
    (placed,) = Trace(path)
    assert placed.entry == Arrival(job="orders", at=NOW, count=2)


def test_no_trace_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match="no decision, end or arrival in it"):
        list(Trace(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="No such file or directory; name a trace"):
        list(Trace(tmp_path / "none"))


def test_every_kind_of_reading_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    inputs = replace(made(), trigger=trigger(), readings=(reading(3, taken=1, includes_taken=False),))
    with open_recorder(TraceFile(path=path), version="1", now=now) as recorder:
        recorder.decided(inputs, decide(inputs), decision_id=1, read_s=0.0)
    (placed,) = Trace(path)
    assert isinstance(placed.entry, Decided)
    assert placed.entry.inputs == inputs
