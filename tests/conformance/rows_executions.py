"""Executions: what they show, how they are started and stopped."""

from __future__ import annotations

import re

from scaler.model import names
from scaler.model.execution import ExecutionStatus
from tests.conformance.place import Body, Place, codes
from tests.conformance.table import EXECUTORS, elsewhere, row, unseen

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_LONG = "exec sleep 60"


# --- 2: what an execution shows -------------------------------------------------------------------------


@row(
    "2",
    "An execution's id is its job's, `/executions/` and its name; its type says so.",
    executors=("process",),
)
def ids_are_the_jobs(place: Place) -> None:
    name = place.put(place.job())
    execution = place.start(name)
    found = place.execution(name, execution)
    assert found["id"] == f"{place.ask('GET', name)['id']}/executions/{execution}"
    assert (found["name"], found["type"]) == (execution, "Microsoft.App/jobs/executions")


@row("2", "`status` is one of Running, Processing, Stopped, Degraded, Failed, Unknown, Succeeded.")
def statuses_are_the_services() -> None:
    assert {status.value for status in ExecutionStatus} == {
        "Running", "Processing", "Stopped", "Degraded", "Failed", "Unknown", "Succeeded",
    }  # fmt: skip


@row(
    "2",
    "`startTime` is always there; times are RFC 3339 in whole seconds with `+00:00`.",
    executors=EXECUTORS,
)
def start_time_is_always_there(place: Place) -> None:
    name = place.put(place.job())
    execution = place.start(name)
    first = place.execution(name, execution)["properties"]["startTime"]
    found = place.ended(name, execution)
    assert [bool(_TIME.fullmatch(text)) for text in (first, found["startTime"], found["endTime"])] == [
        True
    ] * 3


@row("2", "`endTime` is absent while it runs, and on a stopped one.", executors=EXECUTORS)
def end_time_is_absent_on_stopped_ones(place: Place) -> None:
    name = place.put(place.job(_LONG))
    execution = place.start(name)
    assert "endTime" not in place.running(name, execution)
    place.ask("POST", f"{name}/executions/{execution}/stop")
    found = place.ended(name, execution)
    assert (found["status"], "endTime" in found) == ("Stopped", False)


@row(
    "2",
    "`template` is what this execution ran with; `initContainers` is `[]` when there are none.",
    executors=EXECUTORS,
)
def template_is_what_ran(place: Place) -> None:
    document = place.job()
    name = place.put(document)
    execution = place.start(name)
    document["properties"]["template"]["containers"][0]["command"] = ["echo", "another"]
    place.put(document)
    found = place.ended(name, execution)["template"]
    assert found["containers"][0]["command"] == ["sh", "-c", "true"]
    assert found["initContainers"] == []


@row(
    "2",
    "`detailedStatus.replicas[]` has name and containers: name, code, status, additionalInformation.",
    executors=EXECUTORS,
)
def replicas_are_shown(place: Place) -> None:
    (replica,) = place.run(place.job("exit 9"))["detailedStatus"]["replicas"]
    (container,) = replica["containers"]
    assert (container["name"], container["code"], container["status"]) == ("main", 9, "Failed")
    assert container["additionalInformation"]
    assert replica["name"]


@row(
    "2",
    "`reason` and `message` tell how it ended: `BackoffLimitExceeded` and its sentence.",
    executors=EXECUTORS,
)
def reasons_are_told(place: Place) -> None:
    found = place.run(place.configured("exit 1", replicaRetryLimit=1))
    assert (found["status"], found["reason"]) == ("Failed", "BackoffLimitExceeded")
    assert found["message"]


@row(
    "2",
    "`BackoffLimitExceeded` is the reason also where no retry was allowed.",
    differs="the replica's own reason is told: no limit was exceeded",
    executors=EXECUTORS,
)
def reason_without_retries(place: Place) -> None:
    found = place.run(place.job("exit 1"))
    assert (found["status"], found["reason"]) == ("Failed", "Error")
    assert "exit code 1" in found["message"]


# --- 2: names -------------------------------------------------------------------------------------------


@row("2", "A manual start is named `<job>-` and 7 characters of a-z and 0-9.", executors=("process",))
def manual_names(place: Place) -> None:
    name = place.put(place.job())
    assert re.fullmatch(rf"{name}-[a-z0-9]{{7}}", place.start(name))


elsewhere(
    "2",
    "A scheduled execution is named `<job>-` and the minutes since 1970.",
    "tests/engine/test_schedule.py::test_each_due_time_starts_one_execution_that_says_by_what_it_was_started",
)


@row(
    "2",
    "An event execution is named `<job>-` and 5 random characters.",
    differs="10 characters: with unlimited history 5 would collide within days",
)
def event_names() -> None:
    assert re.fullmatch(r"job-[a-z0-9]{10}", names.event_execution_name("job"))


@row("2", "A replica is named after its execution, `-` and 5 characters.", executors=EXECUTORS)
def replica_names(place: Place) -> None:
    name = place.put(place.job())
    execution = place.start(name)
    (replica,) = place.ended(name, execution)["detailedStatus"]["replicas"]
    assert re.fullmatch(rf"{execution}-[a-z0-9]{{5}}", replica["name"])


# --- 2: life --------------------------------------------------------------------------------------------


@row("2", "An execution is Running, then Succeeded when its replicas ended with 0.", executors=EXECUTORS)
def it_runs_and_succeeds(place: Place) -> None:
    name = place.put(place.job("sleep 2"))
    execution = place.start(name)
    assert place.running(name, execution)["status"] == "Running"
    assert place.ended(name, execution)["status"] == "Succeeded"


@row("2", "It is Failed when its retries are used up.", executors=EXECUTORS)
def it_fails(place: Place) -> None:
    assert place.run(place.configured("exit 2", replicaRetryLimit=1))["status"] == "Failed"


@row("2", "It is Stopped by a stop call.", executors=EXECUTORS)
def it_is_stopped(place: Place) -> None:
    name = place.put(place.job(_LONG))
    execution = place.start(name)
    place.running(name, execution)
    place.ask("POST", f"{name}/executions/{execution}/stop")
    assert place.ended(name, execution)["status"] == "Stopped"


unseen("2", "`Degraded` is for the platform's own trouble.", "this engine never needs it; `Unknown` is used")


@row("2", "Executions are listed newest first.", executors=("process",))
def newest_first(place: Place) -> None:
    name = place.put(place.job())
    started = [place.start(name) for _ in range(3)]
    listed = [one["name"] for one in place.ask("GET", f"{name}/executions")["value"]]
    assert listed == started[::-1]


@row(
    "2",
    "An execution that is not there is 404; its message has `Requested job execution` and `not found`.",
    executors=("process",),
)
def missing_executions_are_404(place: Place) -> None:
    name = place.put(place.job())
    assert place.refused("GET", f"{name}/executions/nothing") == (404, "JobExecutionNotFound")


@row(
    "2",
    "A job's deletion removes its executions.",
    differs="they stay for as long as history keeps them, and can be read and stopped",
    executors=("process",),
)
def executions_outlive_their_job(place: Place) -> None:
    document = place.job()
    name = place.put(document)
    execution = place.start(name)
    place.ended(name, execution)
    (place.daemon.jobs / f"{name}.yaml").unlink()
    place.until(lambda: name not in [one["name"] for one in place.daemon.client.jobs()], "the job is gone")
    assert place.execution(name, execution)["properties"]["status"] == "Succeeded"


# --- 2: start -------------------------------------------------------------------------------------------


@row("2", "Start without a body runs the job's template; the answer is its id and name.", executors=EXECUTORS)
def start_without_body(place: Place) -> None:
    name = place.put(place.job("echo own"))
    answered = place.ask("POST", f"{name}/start")
    assert set(answered) == {"id", "name"}
    place.ended(name, answered["name"])
    assert place.lines(name, answered["name"]) == ["own"]


def _other(place: Place, script: str) -> Body:
    container = place.job(script)["properties"]["template"]["containers"][0]
    return {"containers": [container]}


@row("2", 'The body of a start is the template, also wrapped as `{"template": …}`.', executors=EXECUTORS)
def start_with_body(place: Place) -> None:
    document = place.job("echo own")
    assert place.printed(document, _other(place, "echo other")) == ["other"]
    name = document["name"]
    execution = place.start(name, {"template": _other(place, "echo wrapped")})
    place.ended(name, execution)
    assert place.lines(name, execution) == ["wrapped"]


@row(
    "2",
    "The body replaces and does not merge: variables that are not repeated are gone.",
    executors=EXECUTORS,
)
def overrides_replace(place: Place) -> None:
    document = place.job("echo own")
    document["properties"]["template"]["containers"][0]["env"] = [{"name": "WORD", "value": "kept"}]
    assert place.printed(document, _other(place, 'echo "[$WORD]"')) == ["[]"]


@row("2", "Resources that the body does not repeat fall back to 0.5 core and 1Gi.", executors=("docker",))
def overridden_resources_fall_back(place: Place) -> None:
    body = _other(place, "true")
    del body["containers"][0]["resources"]
    found = place.run(place.job(), body)["template"]["containers"][0]["resources"]
    assert (found["cpu"], found["memory"]) == (0.5, "1Gi")


@row("2", "Secrets, retry limit, timeout, parallelism and count stay the job's.", executors=EXECUTORS)
def limits_stay_the_jobs(place: Place) -> None:
    document = place.configured("true", replicaRetryLimit=1, secrets=[{"name": "word", "value": "deep"}])
    body = _other(place, 'echo "$WORD"; exit 8')
    body["containers"][0]["env"] = [{"name": "WORD", "secretRef": "word"}]
    name = place.put(document)
    execution = place.start(name, body)
    assert codes(place.ended(name, execution)) == [8, 8]
    assert place.lines(name, execution)[:1] == ["deep"]


@row("2", "A start does not change the job.", executors=("process",))
def a_start_does_not_change_the_job(place: Place) -> None:
    name = place.put(place.job())
    before = place.ask("GET", name)
    place.ended(name, place.start(name, _other(place, "echo other")))
    assert place.ask("GET", name) == before


@row("2", "A container of the body without an image gets that of the job.", executors=("docker",))
def a_missing_image_is_the_jobs(place: Place) -> None:
    body = _other(place, "echo hello")
    del body["containers"][0]["image"]
    assert place.printed(place.job(), body) == ["hello"]


@row("2", "A job of any trigger may be started by hand.", executors=EXECUTORS)
def any_trigger_starts_by_hand(place: Place) -> None:
    yearly = {"cronExpression": "0 0 1 1 *"}
    document = place.configured("echo now", "Schedule", scheduleTriggerConfig=yearly)
    assert place.printed(document) == ["now"]


@row("2", "A body that is no template is refused with 400.", executors=("process",))
def bad_bodies_are_refused(place: Place) -> None:
    name = place.put(place.job())
    assert place.refused("POST", f"{name}/start", {"containers": 5}) == (400, "InvalidRequestContent")


# --- 2: stop --------------------------------------------------------------------------------------------


@row(
    "2",
    "One execution is stopped by `executions/{name}/stop`, and by the older `stop/{name}`.",
    executors=EXECUTORS,
)
def both_ways_to_stop_one(place: Place) -> None:
    name = place.put(place.job(_LONG))
    one, two = place.start(name), place.start(name)
    place.running(name, one)
    place.ask("POST", f"{name}/executions/{one}/stop")
    place.ask("POST", f"{name}/stop/{two}")
    assert [place.ended(name, each)["status"] for each in (one, two)] == ["Stopped", "Stopped"]


@row("2", "All running ones are stopped by `stop`, which answers a collection.", executors=("process",))
def stop_all(place: Place) -> None:
    name = place.put(place.job(_LONG))
    started = {place.start(name), place.start(name)}
    answered = place.ask("POST", f"{name}/stop")
    assert {one["name"] for one in answered["value"]} == started
    assert [place.ended(name, each)["status"] for each in started] == ["Stopped", "Stopped"]


@row("2", "Stopping what has ended is answered 200 and leaves it as it is.", executors=("process",))
def stopping_what_ended(place: Place) -> None:
    name = place.put(place.job())
    execution = place.start(name)
    before = place.ended(name, execution)
    answered = place.ask("POST", f"{name}/executions/{execution}/stop")
    assert (answered["properties"]["status"], place.ended(name, execution)) == ("Succeeded", before)
