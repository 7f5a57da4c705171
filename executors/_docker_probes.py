"""Asks containers whether they have started and still work, by connecting to the replica's address.

The daemon itself asks, so it must reach that address: it does on the engine's own Linux machine, and in a
container that is on the same network. Asking through the engine would need a program in the image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from executors._docker_plan import Verdict
from scaler.model.pod import Probe, ProbeType

_HTTP_GOOD = range(200, 400)
_LOCAL = "127.0.0.1"

Ask = Callable[[Probe, str], Awaitable[str | None]]


async def watch_container(name: str, probes: tuple[Probe, ...], address: str, ask: Ask) -> Verdict | None:
    """Ask until the answer fails the replica; None if there is nothing (more) to ask.

    Args:
        name: the container.
        probes: at most one of a type.
        address: of the replica.
        ask: one question: None if all is well, else what is wrong.
    """
    kinds = {probe.type: probe for probe in probes}
    startup, liveness = kinds.get(ProbeType.STARTUP), kinds.get(ProbeType.LIVENESS)
    if startup is not None:
        fault = await _ask_often(startup, address, ask, until_well=True)
        if fault is not None:
            return _verdict(name, startup, fault)
    if liveness is None:
        return None
    fault = await _ask_often(liveness, address, ask, until_well=False)
    return None if fault is None else _verdict(name, liveness, fault)


async def _ask_often(probe: Probe, address: str, ask: Ask, *, until_well: bool) -> str | None:
    """Ask each period; give the last fault of as many in a row as the threshold, or None once all is well."""
    failures = 0
    await asyncio.sleep(probe.initial_delay.total_seconds())
    while True:
        fault = await ask(probe, address)
        if fault is None and until_well:
            return None
        failures = failures + 1 if fault is not None else 0
        if fault is not None and failures >= probe.failure_threshold:
            return fault
        await asyncio.sleep(probe.period.total_seconds())


def _verdict(name: str, probe: Probe, fault: str) -> Verdict:
    grace = None if probe.grace is None else probe.grace.total_seconds()
    times = "once" if probe.failure_threshold == 1 else f"{probe.failure_threshold} times in a row"
    text = f"{probe.type.value} probe of port {probe.port} failed {times}: {fault}"
    return Verdict(container=name, reason=f"{probe.type.value}Failed", message=text, grace_s=grace)


async def ask(probe: Probe, address: str) -> str | None:
    """Ask once, within the probe's time; None if all is well."""
    seconds = probe.timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            if probe.path is None:
                _, writer = await asyncio.open_connection(address, probe.port)
                writer.close()
                return None
            return await _get(probe, address)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return str(exc) or type(exc).__name__


async def _get(probe: Probe, address: str) -> str | None:
    scheme = "https" if probe.is_https else "http"
    url = f"{scheme}://{address}:{probe.port}{probe.path}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
        session.get(url, headers=list(probe.headers), allow_redirects=False) as answer,
    ):
        return None if answer.status in _HTTP_GOOD else f"GET {probe.path} answered {answer.status}"


def address_of(holder: dict[str, Any]) -> str:
    """Give the address at which a replica is reached, from the description of what holds its network."""
    networks = holder["NetworkSettings"]["Networks"] or {}
    return next((str(one["IPAddress"]) for one in networks.values() if one.get("IPAddress")), _LOCAL)
