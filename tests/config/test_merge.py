"""What runs after an edit: a broken one keeps the old job alive."""

from __future__ import annotations

from scaler.config.document import LoadedJob
from scaler.config.load import Fault, LoadResult
from scaler.config.merge import merge
from scaler.model.job import Job
from tests.engine.world import manual_job


def _loaded(name: str, file: str = "jobs/a.yaml", **kw: object) -> LoadedJob:
    job: Job = manual_job(name, **kw)
    return LoadedJob(job=job, file=file, line=1, column=7)


def test_good_jobs_run_and_removed_ones_do_not() -> None:
    merged = merge({"old": _loaded("old")}, LoadResult(jobs=(_loaded("new"),)))
    assert (set(merged.jobs), dict(merged.faults)) == ({"new"}, {})


def test_a_broken_job_keeps_its_old_definition_and_its_neighbour_changes() -> None:
    running = {"a": _loaded("a"), "b": _loaded("b", parallelism=1)}
    edited = _loaded("b", parallelism=3)
    fault = Fault(file="jobs/a.yaml", line=3, column=1, message="unknown key", job="a")
    merged = merge(running, LoadResult(jobs=(edited,), faults=(fault,)))
    assert merged.jobs == {"a": running["a"], "b": edited}
    assert merged.faults == {"a": "jobs/a.yaml:3:1: unknown key"}


def test_a_file_that_cannot_be_read_keeps_all_its_jobs_and_no_others() -> None:
    running = {"a": _loaded("a"), "b": _loaded("b"), "c": _loaded("c", file="jobs/c.yaml")}
    fault = Fault(file="jobs/a.yaml", line=2, column=5, message="not YAML")
    merged = merge(running, LoadResult(faults=(fault,)))
    assert set(merged.jobs) == {"a", "b"}
    assert set(merged.faults) == {"a", "b"}


def test_a_folder_that_cannot_be_read_keeps_what_came_from_it() -> None:
    running = {"a": _loaded("a"), "x": _loaded("x", file="jobsx/x.yaml")}
    merged = merge(running, LoadResult(faults=(Fault(file="jobs", message="permission denied"),)))
    assert set(merged.jobs) == {"a"}


def test_a_new_faulty_job_is_named_by_its_own_fault() -> None:
    fault = Fault(file="jobs/n.yaml", line=1, column=1, message="missing", job="n")
    merged = merge({}, LoadResult(faults=(fault,)))
    assert (dict(merged.jobs), dict(merged.faults)) == ({}, {"n": "jobs/n.yaml:1:1: missing"})
