"""A sample external scaler of KEDA's protocol, in this process, that can be told what to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from scaler.scalers import _external_protocol as wire


class Sample:
    """The servicer. `specs` and `values` are (name, old number, new number)."""

    def __init__(self) -> None:
        self.specs: list[tuple[str, int, float]] = [("depth", 0, 2.0)]
        self.values: list[tuple[str, int, float]] = [("depth", 0, 5.0)]
        self.active = True
        self.delay_s = 0.0
        self.fault: tuple[Any, str] | None = None
        self.calls: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.metrics: list[str] = []
        self.peers: set[str] = set()

    async def _meet(self, name: str, who: Any, context: Any) -> None:
        self.calls.append(name)
        self.peers.add(context.peer())
        self.asked.append({"name": who.name, "namespace": who.namespace, **dict(who.scalerMetadata)})
        await asyncio.sleep(self.delay_s)
        if self.fault is not None:
            await context.abort(*self.fault)

    async def is_active(self, request: Any, context: Any) -> Any:
        await self._meet("IsActive", request, context)
        return wire.IsActiveResponse(result=self.active)

    async def get_metric_spec(self, request: Any, context: Any) -> Any:
        await self._meet("GetMetricSpec", request, context)
        specs = [
            wire.MetricSpec(metricName=name, targetSize=old, targetSizeFloat=new)
            for name, old, new in self.specs
        ]
        return wire.GetMetricSpecResponse(metricSpecs=specs)

    async def get_metrics(self, request: Any, context: Any) -> Any:
        await self._meet("GetMetrics", request.scaledObjectRef, context)
        self.metrics.append(request.metricName)
        values = [
            wire.MetricValue(metricName=name, metricValue=old, metricValueFloat=new)
            for name, old, new in self.values
        ]
        return wire.GetMetricsResponse(metricValues=values)


def _handlers(sample: Sample, methods: set[str]) -> Any:
    known = {
        "IsActive": (sample.is_active, wire.ScaledObjectRef),
        "GetMetricSpec": (sample.get_metric_spec, wire.ScaledObjectRef),
        "GetMetrics": (sample.get_metrics, wire.GetMetricsRequest),
    }
    return grpc.method_handlers_generic_handler(
        wire.SERVICE,
        {
            name: grpc.unary_unary_rpc_method_handler(
                call,
                request_deserializer=kind.FromString,
                response_serializer=lambda m: m.SerializeToString(),
            )
            for name, (call, kind) in known.items()
            if name in methods
        },
    )


ALL = frozenset({"IsActive", "GetMetricSpec", "GetMetrics"})


@asynccontextmanager
async def serving(
    sample: Sample, *, port: int = 0, credentials: Any = None, methods: frozenset[str] = ALL
) -> AsyncIterator[int]:
    """Serve on 127.0.0.1; gives the port."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_handlers(sample, set(methods)),))
    address = f"127.0.0.1:{port}"
    bound = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)
