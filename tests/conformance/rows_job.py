"""The job resource: its top level and `properties`, and names."""

from __future__ import annotations

from tests.conformance.place import Place, answer, configured, faults, manual, merged, properties
from tests.conformance.table import EXECUTORS, row, unseen

FILES = "jobs are declared in files, and a file's removal removes the job"


# --- 1: top level ---------------------------------------------------------------------------------------


@row("1", "`type` is `Microsoft.App/jobs`; `id` and `name` are answered.")
def type_and_ids() -> None:
    document = manual()
    found = answer(document)
    assert found["type"] == "Microsoft.App/jobs"
    assert found["name"] == document["name"]
    assert found["id"] == f"/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/{document['name']}"


@row("1", "Read-only members that clients send back (`id`, `type`, `systemData`) are ignored.")
def read_only_members_are_ignored() -> None:
    document = manual()
    sent = document | {"id": "/other", "type": "Microsoft.App/jobs", "systemData": {"createdBy": "me"}}
    assert answer(sent) == answer(document)


@row("1", "`location` is required.", differs="a job file may leave it out; `local` is answered then")
def location_may_be_left_out() -> None:
    assert answer(manual())["location"] == "local"


@row("1", "`location` is answered in display form, as it was given.")
def location_is_answered_as_given() -> None:
    assert answer(manual(location="North Central US"))["location"] == "North Central US"


@row("1", "`tags` is a map of texts.")
def tags_are_answered() -> None:
    assert answer(manual(tags={"team": "a", "tier": "1"}))["tags"] == {"team": "a", "tier": "1"}


@row("1", "PATCH merges `tags`.", not_yet=f"PATCH is answered 405: {FILES}", executors=("process",))
def patch_is_refused(place: Place) -> None:
    name = place.put(place.job())
    assert place.refused("PATCH", name, {"tags": {"a": "b"}}) == (405, "MethodNotAllowed")


@row("1", "PUT creates or replaces a job.", not_yet=f"PUT is answered 405: {FILES}", executors=("process",))
def put_is_refused(place: Place) -> None:
    document = place.job()
    assert place.refused("PUT", document["name"], document) == (405, "MethodNotAllowed")


@row("1", "DELETE removes a job.", not_yet=f"DELETE is answered 405: {FILES}", executors=("process",))
def delete_is_refused(place: Place) -> None:
    assert place.refused("DELETE", place.put(place.job())) == (405, "MethodNotAllowed")


@row("1", "`identity.type` is `None`, `SystemAssigned`, `UserAssigned`, or both, with or without a blank.")
def identity_types_are_taken() -> None:
    for kind in ("None", "SystemAssigned", "UserAssigned"):
        assert answer(manual(identity={"type": kind}))["identity"]["type"] == kind
    for kind in ("SystemAssigned,UserAssigned", "SystemAssigned, UserAssigned"):
        assert faults(manual(identity={"type": kind})) == ""


@row("1", "`userAssignedIdentities` is a map of ids to `{}`.")
def user_assigned_identities_are_answered() -> None:
    identity = {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/s/i": {}}}
    assert answer(manual(identity=identity))["identity"] == identity


@row("1", '`identity` is always answered, `{"type": "None"}` when there is none.')
def identity_is_always_answered() -> None:
    assert answer(manual())["identity"] == {"type": "None"}


unseen(
    "1",
    "`principalId`, `tenantId` and `clientId` of identities are answered.",
    "there are no identities here",
)


@row(
    "1",
    "`systemData` tells who created and changed a resource.",
    differs="it is left out: the author of a file is not known; `scaler audit` tells what is",
)
def system_data_is_left_out() -> None:
    assert "systemData" not in answer(manual())


@row(
    "1",
    "`extendedLocation` may be given (connected environments, previews).",
    differs="refused as an unknown key: there is no connected environment",
)
def extended_location_is_refused() -> None:
    assert "extendedLocation: unknown key" in faults(manual(extendedLocation={"name": "x"}))


# --- 1: properties --------------------------------------------------------------------------------------


@row("1", "`provisioningState` is one of InProgress, Succeeded, Failed, Canceled, Deleting.")
def provisioning_state_is_answered() -> None:
    assert properties(manual())["provisioningState"] == "Succeeded"


@row("1", "`provisioningState` and `runningState` in a document are read-only: they are ignored.")
def states_of_a_document_are_ignored() -> None:
    document = manual()
    states = {"provisioningState": "Failed", "runningState": "Suspended"}
    assert properties(merged(document, {"properties": states})) == properties(document)


@row("1", "`runningState` is Ready for a job that may start.")
def running_state_is_ready() -> None:
    assert properties(manual())["runningState"] == "Ready"


@row(
    "1",
    "`runningState` is Suspended for a suspended job, until it is resumed.",
    executors=EXECUTORS,
)
def suspended_jobs_say_so(place: Place) -> None:
    yearly = {"cronExpression": "0 0 1 1 *"}
    name = place.put(place.configured(trigger="Schedule", scheduleTriggerConfig=yearly))
    place.ask("POST", f"{name}/suspend")
    assert place.ask("GET", name)["properties"]["runningState"] == "Suspended"
    place.ask("POST", f"{name}/resume")
    assert place.ask("GET", name)["properties"]["runningState"] == "Ready"


@row(
    "1", "`environmentId` is required.", differs="it may be left out and is not used: this is the environment"
)
def environment_is_not_needed() -> None:
    assert faults(manual()) == ""
    assert properties(manual(properties={"environmentId": "/e"}))["environmentId"] == "/e"


@row(
    "1",
    "`workloadProfileName` must be one of the environment's profiles.",
    differs="any is taken and answered: there are no profiles",
)
def workload_profile_is_answered() -> None:
    assert properties(manual(properties={"workloadProfileName": "D4"}))["workloadProfileName"] == "D4"
    assert properties(manual())["workloadProfileName"] is None


@row("1", "`configuration` is required.")
def configuration_is_required() -> None:
    document = manual()
    del document["properties"]["configuration"]
    assert "properties.configuration: missing" in faults(document)


@row("1", "`template` is required.")
def template_is_required() -> None:
    document = manual()
    del document["properties"]["template"]
    assert "properties.template: missing" in faults(document)


@row("1", "`outboundIpAddresses` is answered.", differs="left out: replicas have the host's addresses")
def outbound_addresses_are_left_out() -> None:
    assert "outboundIpAddresses" not in properties(manual())


@row(
    "1",
    "`eventStreamEndpoint` names where logs are streamed from.",
    not_yet="left out: logs come from `/scaler/jobs/{job}/executions/{execution}/logs`",
)
def event_stream_endpoint_is_left_out() -> None:
    assert "eventStreamEndpoint" not in properties(manual())


# --- 1.4: names -----------------------------------------------------------------------------------------


@row(
    "1.4",
    "A job's name has 1 to 32 characters: lower-case letters, digits and single dashes, a letter first.",
)
def job_names_are_checked() -> None:
    for good in ("a", "a1", "orders-backfill-2", "a" * 32):
        assert faults(manual(name=good)) == "", good
    for bad in ("", "a" * 33, "Orders", "1a", "-a", "a-", "a--b", "a_b", "a.b"):
        assert "name" in faults(manual(name=bad)), bad


unseen("1.4", "The REST path takes names of `^[-\\w\\._\\(\\)]+$`.", "no job of such a name can be declared")


@row("1.4", "Resource group and job are matched without regard to case.", executors=EXECUTORS)
def names_match_in_any_case(place: Place) -> None:
    name = place.put(place.job())
    assert place.ask("GET", name.upper())["name"] == name


@row("1", "A job is listed under its group and under its subscription.", executors=("process",))
def jobs_are_listed(place: Place) -> None:
    name = place.put(place.job())
    client = place.daemon.client
    whole = client.fetch("GET", "/subscriptions/s/providers/Microsoft.App/jobs?api-version=2025-07-01")
    assert name in [one["name"] for one in whole["value"]]
    assert name in [one["name"] for one in client.jobs()]


@row("1", "A job that does not exist is 404 `ResourceNotFound`.", executors=("process",))
def a_missing_job_is_not_found(place: Place) -> None:
    assert place.refused("GET", "nobody") == (404, "ResourceNotFound")


@row("1", "A job of each trigger is taken: `Manual`, `Schedule`, `Event`.")
def all_triggers_are_taken() -> None:
    schedule = configured("Schedule", scheduleTriggerConfig={"cronExpression": "0 0 * * *"})
    assert [faults(one) for one in (configured(), schedule)] == ["", ""]
