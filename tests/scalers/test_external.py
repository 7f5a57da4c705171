"""The `external` scaler against a real gRPC server of KEDA's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from scaler.engine.clock import SystemClock
from scaler.engine.sessions import Sessions
from scaler.engine.sources import RuleSource, SourcePorts
from scaler.errors import PollError
from scaler.model.job import EventTrigger, ScaleRule
from scaler.model.sample import Sample as Reading
from scaler.planning.counts import Counts
from scaler.planning.plan import plan
from scaler.ports.scaler import Scaler, ScalerContext
from scaler.scalers.external import SCALER, Metadata
from scaler.wire.metadata import validate
from scaler.wire.rules import resolve_rule
from tests.engine.world import event_job
from tests.scalers.external_kit import ALL, Sample, serving
from tests.scalers.rabbitmq_kit import Authority, Relay

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CANARY = "canary-7f3a"


def parameters(
    metadata: Mapping[str, str], auth: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
) -> Metadata:
    built, faults = validate(Metadata, metadata, auth or {}, env or {})
    assert faults == ()
    assert isinstance(built, Metadata)
    return built


@asynccontextmanager
async def opened(meta: Metadata, *, pool: Any = None, timeout_s: float = 5.0) -> AsyncIterator[Scaler]:
    async with contextlib.AsyncExitStack() as stack:
        used = pool if pool is not None else await stack.enter_async_context(Sessions())
        context = ScalerContext(job="orders", rule="r", timeout_s=timeout_s, sessions=used, now=lambda: NOW)
        yield await stack.enter_async_context(SCALER.open(meta, context))


@contextmanager
def failing(reason: str, *, transient: bool) -> Iterator[Any]:
    with pytest.raises(PollError) as caught:
        yield caught
    assert (caught.value.reason, caught.value.transient) == (reason, transient), str(caught.value)


@pytest.fixture
def sample() -> Sample:
    return Sample()


async def test_a_reading_has_value_activity_and_the_target_of_the_server(sample: Sample) -> None:
    async with serving(sample) as port, opened(parameters({"scalerAddress": f"127.0.0.1:{port}"})) as scaler:
        found = await scaler.poll()
    assert found == Reading(value=5.0, active=True, as_of=NOW, target=2.0)
    assert sample.calls == ["GetMetricSpec", "GetMetrics", "IsActive"]
    assert sample.metrics == ["depth"]


async def test_the_server_is_sent_the_job_and_all_metadata_with_the_environment_resolved(
    sample: Sample,
) -> None:
    async with serving(sample) as port:
        given = {
            "scalerAddress": f"127.0.0.1:{port}",
            "enableTLS": "F",
            "tenant": "a",
            "passwordFromEnv": "PW",
        }
        async with opened(parameters(given, env={"PW": CANARY})) as scaler:
            await scaler.poll()
    expected = {
        "name": "orders",
        "namespace": "default",
        "scalerAddress": given["scalerAddress"],
        "enableTLS": "false",
        "tenant": "a",
        "password": CANARY,
        "passwordFromEnv": CANARY,
    }
    assert sample.asked == [expected] * 3


@pytest.mark.parametrize(
    ("specs", "values", "active", "expected"),
    [
        ([("q", 4, 0.0)], [("q", 7, 0.0)], True, (7.0, True, 4.0)),
        ([("q", 4, 2.5)], [("q", 7, 1.5)], True, (1.5, True, 2.5)),
        ([("q", 4, -1.0)], [("q", 7, -1.0)], True, (7.0, True, 4.0)),
        ([("q", 0, 2.0), ("r", 0, 4.0)], [("q", 0, 1.0), ("r", 0, 9.0), ("q", 0, 2.0)], True, (3, True, 3)),
        ([("q", 0, 1.0)], [("other", 0, 1.0), ("", 0, 2.0)], True, (3.0, True, 1.0)),
        ([("q", 0, 1.0)], [("q", 0, 6.0)], False, (6.0, False, 1.0)),
        ([("q", 0, 1.0)], [], False, (0.0, False, 1.0)),
    ],
    ids=[
        "old numbers",
        "new numbers win",
        "negative new ones do not",
        "two metrics",
        "unnamed",
        "idle",
        "none",
    ],
)
async def test_values_and_targets_are_read_as_keda_reads_them(
    sample: Sample, specs: Any, values: Any, active: bool, expected: tuple[float, bool, float]
) -> None:
    sample.specs, sample.values, sample.active = specs, values, active
    async with serving(sample) as port, opened(parameters({"scalerAddress": f"127.0.0.1:{port}"})) as scaler:
        found = await scaler.poll()
    assert (found.value, found.active, found.target) == expected
    assert sample.metrics == ["q"]


@pytest.mark.parametrize(
    ("specs", "values", "reason", "transient", "words"),
    [
        ([], [], "BadAnswer", False, "names no metric"),
        ([("q", 0, 0.0)], [("q", 0, 1.0)], "BadAnswer", False, "has target 0"),
        ([("q", -3, 0.0)], [("q", 0, 1.0)], "BadAnswer", False, "has target -3"),
        ([("q", 0, 1.0)], [], "CountMissing", True, "no value of metric 'q'"),
    ],
)
async def test_an_answer_without_a_number_is_a_fault_and_never_zero(
    sample: Sample, specs: Any, values: Any, reason: str, transient: bool, words: str
) -> None:
    sample.specs, sample.values = specs, values
    async with serving(sample) as port, opened(parameters({"scalerAddress": f"127.0.0.1:{port}"})) as scaler:
        with failing(reason, transient=transient) as caught:
            await scaler.poll()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("code", "reason", "transient"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "AuthenticationFailed", False),
        (grpc.StatusCode.PERMISSION_DENIED, "AuthorizationFailed", False),
        (grpc.StatusCode.NOT_FOUND, "EntityNotFound", False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Throttled", True),
        (grpc.StatusCode.INVALID_ARGUMENT, "BadRequest", False),
        (grpc.StatusCode.INTERNAL, "ServiceError", True),
        (grpc.StatusCode.UNKNOWN, "ServiceError", True),
        (grpc.StatusCode.UNAVAILABLE, "Unreachable", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Timeout", True),
    ],
)
async def test_a_status_is_told_apart_and_what_the_server_repeats_is_masked(
    sample: Sample, code: Any, reason: str, transient: bool
) -> None:
    sample.fault = (code, f"bad login with {CANARY}")
    async with serving(sample) as port:
        given = {"scalerAddress": f"127.0.0.1:{port}", "passwordFromEnv": "PW"}
        meta = parameters(given, env={"PW": CANARY})
        async with opened(meta) as scaler:
            with failing(reason, transient=transient) as caught:
                await scaler.poll()
    assert f"127.0.0.1:{port}, GetMetricSpec: " in str(caught.value)
    assert CANARY not in f"{caught.value!s} {meta!r} {meta.reference('j')!r} {SCALER.source(meta)}"


async def test_a_server_without_the_service_is_a_bad_answer(sample: Sample) -> None:
    address = {"scalerAddress": ""}
    for methods, missing in ((frozenset[str](), "GetMetricSpec"), (ALL - {"IsActive"}, "IsActive")):
        async with serving(sample, methods=methods) as port:
            address["scalerAddress"] = f"127.0.0.1:{port}"
            async with opened(parameters(address)) as scaler:
                with failing("BadAnswer", transient=False) as caught:
                    await scaler.poll()
        assert f"{missing}: UNIMPLEMENTED" in str(caught.value)


async def test_a_server_that_hangs_is_a_timeout(sample: Sample) -> None:
    sample.delay_s = 30.0
    async with serving(sample) as port:
        meta = parameters({"scalerAddress": f"127.0.0.1:{port}"})
        async with opened(meta, timeout_s=0.3) as scaler:
            with failing("Timeout", transient=True) as caught:
                await scaler.poll()
    assert "no answer within 0.3 s" in str(caught.value)


async def test_three_slow_answers_share_one_limit(sample: Sample) -> None:
    sample.delay_s = 0.25
    async with serving(sample) as port:
        meta = parameters({"scalerAddress": f"127.0.0.1:{port}"})
        async with opened(meta, timeout_s=0.4) as scaler:
            with failing("Timeout", transient=True):
                await scaler.poll()
    assert sample.calls == ["GetMetricSpec", "GetMetrics"]


async def test_a_server_that_comes_back_is_read_again_on_the_same_channel(sample: Sample) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with serving(sample) as port:
            scaler = await stack.enter_async_context(
                opened(parameters({"scalerAddress": f"127.0.0.1:{port}"}))
            )
            assert (await scaler.poll()).value == 5.0
        with failing("Unreachable", transient=True):
            await scaler.poll()
        async with serving(sample, port=port):
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(PollError):
                        found = await scaler.poll()
                        break
                    await asyncio.sleep(0.1)
    assert found.value == 5.0


async def test_an_unknown_host_is_unreachable() -> None:
    async with opened(parameters({"scalerAddress": "no-such-host.invalid:1"})) as scaler:
        with failing("Unreachable", transient=True) as caught:
            await scaler.poll()
    assert "no-such-host.invalid:1, GetMetricSpec: cannot be reached" in str(caught.value)


async def test_rules_of_one_address_share_a_channel_and_others_do_not(sample: Sample) -> None:
    async with serving(sample) as port, Sessions() as pool:
        one = parameters({"scalerAddress": f"127.0.0.1:{port}", "queue": "a"})
        two = parameters({"scalerAddress": f"127.0.0.1:{port}", "queue": "b"})
        far = parameters({"scalerAddress": f"localhost:{port}"})
        async with opened(one, pool=pool) as first, opened(two, pool=pool) as second:
            await first.poll()
            await second.poll()
            shared = set(sample.peers)
            async with opened(far, pool=pool) as third:
                await third.poll()
    assert len(shared) == 1
    assert len(sample.peers) == 2


async def test_the_engine_plans_with_the_target_that_the_server_tells(sample: Sample) -> None:
    async with serving(sample) as port, Sessions() as pool:
        rule = ScaleRule(name="r", type="external", metadata={"scalerAddress": f"127.0.0.1:{port}"})
        job = replace(event_job(), trigger=EventTrigger(rules=(rule,)))
        ports = SourcePorts(clock=SystemClock(), sessions=pool, resolve=resolve_rule, close_s=1.0)
        source = RuleSource(job, rule, ports, timeout_s=5.0)
        async with asyncio.TaskGroup() as group:
            serve = group.create_task(source.run())
            found = await source.poll()
            serve.cancel()
    made = plan(job.trigger, (found,), Counts(running=0, pending=0), NOW)
    assert (found.target, made.launch) == (2.0, 3)


# --- TLS -------------------------------------------------------------------------------------------------


def credentials(authority: Authority, *, ask_client: bool = False) -> Any:
    cert, key = authority.pair()
    root = authority.pem.encode() if ask_client else None
    return grpc.ssl_server_credentials([(key.encode(), cert.encode())], root, ask_client)


async def test_tls_with_a_given_ca_works_and_needs_no_switch(sample: Sample, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving(sample, credentials=credentials(authority)) as port:
        address = {"scalerAddress": f"127.0.0.1:{port}"}
        for metadata in (address, {**address, "enableTLS": "true"}):
            async with opened(parameters(metadata, {"caCert": authority.pem})) as scaler:
                assert (await scaler.poll()).value == 5.0


async def test_an_untrusted_certificate_is_refused_unless_told_otherwise(
    sample: Sample, tmp_path: Path
) -> None:
    async with serving(sample, credentials=credentials(Authority(tmp_path))) as port:
        metadata = {"scalerAddress": f"localhost:{port}", "enableTLS": "true"}
        async with opened(parameters(metadata)) as scaler:
            with failing("TlsFailed", transient=False) as caught:
                await scaler.poll()
        assert "certificate verify failed: unable to get local issuer certificate; check" in str(caught.value)
        async with opened(parameters({**metadata, "unsafeSsl": "true"})) as scaler:
            assert (await scaler.poll()).value == 5.0


async def test_a_client_certificate_is_shown(sample: Sample, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.pair()
    async with serving(sample, credentials=credentials(authority, ask_client=True)) as port:
        metadata, auth = {"scalerAddress": f"127.0.0.1:{port}"}, {"caCert": authority.pem}
        async with opened(
            parameters(metadata, {**auth, "tlsClientCert": cert, "tlsClientKey": key})
        ) as scaler:
            assert (await scaler.poll()).value == 5.0
        async with opened(parameters(metadata, auth)) as scaler:
            with pytest.raises(PollError) as caught:
                await scaler.poll()
    assert caught.value.reason in ("TlsFailed", "Unreachable")


async def test_a_pem_text_that_cannot_be_read_is_a_fault_of_tls(sample: Sample, tmp_path: Path) -> None:
    async with serving(sample, credentials=credentials(Authority(tmp_path))) as port:
        meta = parameters({"scalerAddress": f"127.0.0.1:{port}"}, {"caCert": "no pem"})
        async with opened(meta) as scaler:
            with failing("TlsFailed", transient=False):
                await scaler.poll()


async def test_a_server_that_takes_its_time_to_connect_is_read(sample: Sample) -> None:
    async with serving(sample) as port, Relay(f"tcp://127.0.0.1:{port}") as relay:
        relay.delay_s = 0.25
        async with opened(parameters({"scalerAddress": f"127.0.0.1:{relay.port}"})) as scaler:
            assert (await scaler.poll()).value == 5.0


async def test_a_plain_server_asked_for_tls_is_a_fault(sample: Sample) -> None:
    async with serving(sample) as port:
        metadata = {"scalerAddress": f"127.0.0.1:{port}", "enableTLS": "true"}
        async with opened(parameters(metadata)) as scaler:
            with failing("TlsFailed", transient=False):
                await scaler.poll()
        with failing("TlsFailed", transient=False):
            async with opened(parameters({**metadata, "unsafeSsl": "true"})):
                pytest.fail("it opened")


async def test_without_checks_an_absent_server_is_unreachable() -> None:
    meta = parameters({"scalerAddress": "127.0.0.1:1", "enableTLS": "true", "unsafeSsl": "true"})
    with failing("Unreachable", transient=True):
        async with opened(meta):
            pytest.fail("it opened")


# --- Parameters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "auth", "words"),
    [
        ({}, {}, "scalerAddress: missing"),
        ({"scalerAddress": "scaler"}, {}, "scalerAddress: got 'scaler'; write host:port, without http://"),
        ({"scalerAddress": "http://scaler:80"}, {}, "write host:port"),
        ({"scalerAddress": "s:1", "enableTLS": "yes"}, {}, "enableTLS: got 'yes'"),
        (
            {"scalerAddress": "s:1", "enableTls": "true"},
            {},
            "enableTls: unknown key; did you mean 'enableTLS'?",
        ),
        ({"scalerAddress": "s:1", "caCert": "pem"}, {}, "caCert: not allowed in metadata; give it by auth"),
        ({"scalerAddress": "s:1"}, {"tlsClientCert": CANARY}, "give both or none"),
        ({"scalerAddress": "s:1"}, {"tenant": CANARY}, "tenant: unknown key"),
    ],
)
def test_bad_parameters_are_refused(metadata: dict[str, str], auth: dict[str, str], words: str) -> None:
    built, faults = validate(Metadata, metadata, auth, {})
    text = "; ".join(f"{fault.key}: {fault.message}" for fault in faults)
    assert built is None
    assert words in text
    assert CANARY not in text


def test_the_quiet_of_grpc_is_not_handed_to_other_programs() -> None:
    assert "GRPC_VERBOSITY" not in os.environ
