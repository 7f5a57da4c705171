"""`properties.configuration`: triggers, retries, fan-out, schedules, scaling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scaler.model.job import CatchUp, EventTrigger, Overlap, ScheduleTrigger
from scaler.planning.counts import Counts
from scaler.planning.plan import plan
from scaler.planning.schedule import next_fire
from tests.conformance.place import Place, codes, configured, event, faults, load, properties
from tests.conformance.table import EXECUTORS, elsewhere, row, unseen
from tests.planning.builders import NOW, reading, trigger

SEED_CRONS = (
    "0 */2 * * *", "0 0 * * *", "0 0 * * 0", "0 0 1 * *", "0 */6 * * *", "0 2 * * 0", "*/1 * * * *",
)  # fmt: skip


def _schedule(cron: str) -> str:
    return faults(configured("Schedule", scheduleTriggerConfig={"cronExpression": cron}))


def _event_trigger(**scale: object) -> EventTrigger:
    found = load(event(**scale)).jobs[0].job.trigger
    assert isinstance(found, EventTrigger)
    return found


# --- trigger and its objects ----------------------------------------------------------------------------


@row("1.1", "`triggerType` is required: `Manual`, `Schedule` or `Event`.")
def trigger_type_is_required() -> None:
    document = configured()
    del document["properties"]["configuration"]["triggerType"]
    assert "configuration.triggerType: missing" in faults(document)
    assert "triggerType" in faults(configured("Never"))


@row("1.1", "`triggerType` is taken in any case of letters and answered in the proper one.")
def trigger_type_in_any_case() -> None:
    for word in ("manual", "MANUAL", "Manual"):
        assert properties(configured(word))["configuration"]["triggerType"] == "Manual"


@row("1.1", "The trigger objects that don't match `triggerType` are answered as null.")
def other_trigger_objects_are_null() -> None:
    found = properties(configured())["configuration"]
    assert (found["scheduleTriggerConfig"], found["eventTriggerConfig"]) == (None, None)
    found = properties(event())["configuration"]
    assert (found["scheduleTriggerConfig"], found["manualTriggerConfig"]) == (None, None)


@row("1.1", "`manualTriggerConfig` is `{1, 1}` when the trigger is Manual and it is absent.")
def manual_trigger_config_has_a_default() -> None:
    found = properties(configured())["configuration"]["manualTriggerConfig"]
    assert found == {"parallelism": 1, "replicaCompletionCount": 1}


@row("1.1", "`parallelism` and `replicaCompletionCount` default to 1.")
def fan_out_defaults_to_one() -> None:
    found = properties(event())["configuration"]["eventTriggerConfig"]
    assert (found["parallelism"], found["replicaCompletionCount"]) == (1, 1)


@row("1.1", "`scheduleTriggerConfig` is required when the trigger is Schedule, and its `cronExpression` too.")
def schedule_needs_its_expression() -> None:
    assert "scheduleTriggerConfig: missing" in faults(configured("Schedule"))
    assert "cronExpression: missing" in faults(
        configured("Schedule", scheduleTriggerConfig={"parallelism": 1})
    )


@row("1.1", "`eventTriggerConfig.scale` is in each answer of an Event job.")
def scale_is_always_answered() -> None:
    assert properties(event())["configuration"]["eventTriggerConfig"]["scale"]["rules"][0]["name"] == "queue"


@row("1.1", "`secrets` and `registries` are null when there are none.")
def absent_lists_are_null() -> None:
    found = properties(configured())["configuration"]
    assert (found["secrets"], found["registries"]) == (None, None)


@row("1.1", "`identitySettings` has `identity` (required) and `lifecycle`: None, Main, Init or All.")
def identity_settings_are_answered() -> None:
    given = [{"identity": "system", "lifecycle": "Main"}]
    assert properties(configured(identitySettings=given))["configuration"]["identitySettings"] == given
    assert "identity: missing" in faults(configured(identitySettings=[{"lifecycle": "Main"}]))


@row("1.1", "`dapr` is not supported for jobs; null is taken and answered.")
def dapr_is_not_supported() -> None:
    assert properties(configured(dapr=None))["configuration"]["dapr"] is None
    assert "not supported for jobs" in faults(configured(dapr={"enabled": True}))


# --- time limit and retries -----------------------------------------------------------------------------


@row("1.1", "`replicaTimeout` is required, and above 0.")
def replica_timeout_is_required() -> None:
    document = configured()
    del document["properties"]["configuration"]["replicaTimeout"]
    assert "replicaTimeout: missing" in faults(document)
    assert "replicaTimeout" in faults(configured(replicaTimeout=0))


@row("1.1", "`replicaTimeout` is the longest run of one replica; a timeout fails it.", executors=EXECUTORS)
def a_timeout_fails_the_replica(place: Place) -> None:
    found = place.run(place.configured("exec sleep 60", replicaTimeout=1))
    assert found["status"] == "Failed"
    assert "Timeout" in found["detailedStatus"]["replicas"][0]["containers"][0]["additionalInformation"]


@row("1.1", "`replicaRetryLimit` 0 means no retry, and is the default.", executors=EXECUTORS)
def no_retry_by_default(place: Place) -> None:
    found = place.run(place.job("exit 3"))
    assert (found["status"], codes(found)) == ("Failed", [3])


@row("1.1", "A replica with a non-zero exit is replaced while retries are left.", executors=EXECUTORS)
def a_failed_replica_is_replaced(place: Place) -> None:
    found = place.run(place.configured("exit 4", replicaRetryLimit=1))
    assert (found["status"], codes(found)) == ("Failed", [4, 4])


@row("1.1", "A replica that ran into the timeout is replaced while retries are left.", executors=("process",))
def a_timed_out_replica_is_replaced(place: Place) -> None:
    found = place.run(place.configured("exec sleep 60", replicaTimeout=1, replicaRetryLimit=1))
    assert (found["status"], len(found["detailedStatus"]["replicas"])) == ("Failed", 2)


@row("1.1", "Retries are counted over the whole execution, as a Kubernetes Job does.", executors=("process",))
def retries_count_over_the_execution(place: Place) -> None:
    both = {"parallelism": 1, "replicaCompletionCount": 3}
    found = place.run(place.configured("exit 5", replicaRetryLimit=1, manualTriggerConfig=both))
    assert (found["status"], len(found["detailedStatus"]["replicas"])) == ("Failed", 2)


@row(
    "1.1",
    "When the limit is passed, the execution is Failed and its other replicas are ended.",
    executors=EXECUTORS,
)
def other_replicas_are_ended(place: Place) -> None:
    script = '[ "$SCALER_REPLICA_INDEX" = 0 ] && exit 6; exec sleep 60'
    both = {"parallelism": 2, "replicaCompletionCount": 2}
    found = place.run(place.configured(script, manualTriggerConfig=both))
    statuses = sorted(one["containers"][0]["status"] for one in found["detailedStatus"]["replicas"])
    assert (found["status"], statuses) == ("Failed", ["Failed", "Stopped"])


@row(
    "1.1", "`replicaCompletionCount` replicas must succeed for the execution to succeed.", executors=EXECUTORS
)
def so_many_must_succeed(place: Place) -> None:
    both = {"parallelism": 1, "replicaCompletionCount": 3}
    found = place.run(place.configured("true", manualTriggerConfig=both))
    assert (found["status"], codes(found)) == ("Succeeded", [0, 0, 0])


@row("1.1", "`parallelism` replicas of one execution may run at once.", executors=EXECUTORS)
def parallel_replicas_run_at_once(place: Place) -> None:
    both = {"parallelism": 2, "replicaCompletionCount": 2}
    document = place.configured("exec sleep 60", manualTriggerConfig=both)
    name = place.put(document)
    execution = place.start(name)

    def both_run() -> bool:
        found = place.execution(name, execution)["properties"]["detailedStatus"]["replicas"]
        return [one["containers"][0]["status"] for one in found] == ["Running", "Running"]

    place.until(both_run, "both replicas run")
    place.ask("POST", f"{name}/executions/{execution}/stop")
    assert place.ended(name, execution)["status"] == "Stopped"


@row(
    "1.1",
    "No more replicas are started than completions are missing: 8 at once of 3 runs 3.",
    executors=EXECUTORS,
)
def no_more_than_are_missing(place: Place) -> None:
    both = {"parallelism": 8, "replicaCompletionCount": 3}
    found = place.run(place.configured("true", manualTriggerConfig=both))
    assert (found["status"], codes(found)) == ("Succeeded", [0, 0, 0])


# --- schedules ------------------------------------------------------------------------------------------


@row("1.1", "A cron expression has five fields; all of the documents' examples are taken.")
def cron_has_five_fields() -> None:
    assert [_schedule(cron) for cron in SEED_CRONS] == [""] * len(SEED_CRONS)
    assert "cronExpression" in _schedule("0 0 * *")


@row("1.1", "There is no field for seconds, and no `@daily`.")
def no_seconds_and_no_words() -> None:
    assert "cronExpression" in _schedule("0 0 0 * * *")
    assert "cronExpression" in _schedule("@daily")


@row("1.1", "Names of days and months are taken.")
def names_of_days_are_taken() -> None:
    assert _schedule("0 9 * JAN MON-FRI") == ""


@row("1.1", "Cron expressions are evaluated in UTC.")
def cron_is_utc() -> None:
    after = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert next_fire("0 2 * * *", after) == datetime(2026, 7, 2, 2, tzinfo=UTC)


@row("1.1", "Day of month and day of week both given: either matches.")
def either_day_matches() -> None:
    after = datetime(2026, 6, 1, tzinfo=UTC)  # a Monday
    days, moment = [], after
    for _ in range(3):
        moment = next_fire("0 0 10 * 5", moment)
        days.append(moment.day)
    assert days == [5, 10, 12]


@row("1.1", "Scheduled runs may overlap, as those of a Kubernetes CronJob.")
def scheduled_runs_may_overlap() -> None:
    document = configured("Schedule", scheduleTriggerConfig={"cronExpression": "* * * * *"})
    found = load(document).jobs[0].job.trigger
    assert isinstance(found, ScheduleTrigger)
    assert (found.overlap, found.catch_up, found.time_zone) == (Overlap.ALLOW, CatchUp.NONE, "UTC")


unseen("1.1", "What becomes of a missed run is not documented.", "here `x-scaler.schedule.catchUp` says it")


# --- scaling --------------------------------------------------------------------------------------------


@row("1.1", "`pollingInterval` is how often each source is asked; default 30 s.")
def polling_interval_defaults_to_30() -> None:
    assert _event_trigger().polling_interval == timedelta(seconds=30)
    assert _event_trigger(pollingInterval=5).polling_interval == timedelta(seconds=5)


@row("1.1", "`minExecutions` defaults to 0, `maxExecutions` to 100.")
def executions_default_to_0_and_100() -> None:
    assert (_event_trigger().min_executions, _event_trigger().max_executions) == (0, 100)


@row(
    "1.1",
    "`minExecutions` and `maxExecutions` bound how many are started in one polling interval.",
    differs="they bound how many live: starts are never more than that (ADR 0001, 0002)",
)
def executions_are_bounded_by_those_that_live() -> None:
    readings = (reading(100),)
    assert plan(trigger(high=10), readings, Counts(running=0, pending=0), NOW).launch == 10
    assert plan(trigger(high=10), readings, Counts(running=7, pending=0), NOW).launch == 3
    assert plan(trigger(low=2), (reading(0),), Counts(running=0, pending=0), NOW).launch == 2
    assert plan(trigger(low=2), (reading(0),), Counts(running=2, pending=0), NOW).launch == 0


@row("1.1", "Of several rules the largest number counts.")
def the_largest_rule_counts() -> None:
    readings = (reading(2, name="a"), reading(9, target=2, name="b"))
    assert plan(trigger(), readings, Counts(running=0, pending=0), NOW).launch == 5


elsewhere(
    "1.1",
    "How many to start is the rule of KEDA's ScaledJob.",
    "tests/planning/test_keda_decisions.py::test_with_one_rule_every_decision_is_kedas_cut_to_the_maximum",
)


@row(
    "1.1", "A rule has `name`, `type`, `metadata`, and `auth`: a list of `secretRef` and `triggerParameter`."
)
def rules_are_answered() -> None:
    rule = properties(event())["configuration"]["eventTriggerConfig"]["scale"]["rules"][0]
    assert rule["auth"] == [{"secretRef": "address", "triggerParameter": "connection"}]
    assert (rule["name"], rule["type"]) == ("queue", "azure-queue")


@row("1.1", "Numbers in `metadata` are taken and mean their text.")
def numbers_of_metadata_are_texts() -> None:
    document = event()
    rule = document["properties"]["configuration"]["eventTriggerConfig"]["scale"]["rules"][0]
    rule["metadata"]["queueLength"] = 5
    found = load(document).jobs[0].job.trigger
    assert isinstance(found, EventTrigger)
    assert found.rules[0].metadata["queueLength"] == "5"


@row("1.1", "A rule may have an `identity`: an id or `system`.")
def rules_may_have_an_identity() -> None:
    document = event()
    rule = document["properties"]["configuration"]["eventTriggerConfig"]["scale"]["rules"][0]
    rule["identity"] = "system"
    del rule["auth"]
    assert faults(document) == ""


@row(
    "1.1",
    "The preview's template writes `auth` as a map and puts the limits beside `scale`.",
    differs="refused with the present form in the message",
)
def the_old_form_is_refused() -> None:
    document = event()
    rule = document["properties"]["configuration"]["eventTriggerConfig"]["scale"]["rules"][0]
    rule["auth"] = {"connection": "address"}
    assert "auth" in faults(document)


elsewhere(
    "1.1",
    "One execution handles one event; nothing is passed to the container but its environment.",
    "tests/e2e/test_floods.py::test_300_messages_make_exactly_300_executions_eight_at_a_time",
)
