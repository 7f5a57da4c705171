"""A scaler and two executors that touch nothing, so that these tests depend on no SDK's wording."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

from scaler.errors import ConfigError
from scaler.plugins import Registry
from scaler.ports.executor import ExecutorType
from scaler.ports.scaler import AnyScalerType, Scaler, ScalerContext, ScalerType
from scaler.wire.faults import nearest
from scaler.wire.metadata import KedaBool, KedaInt, SecretStr, Sources, TriggerMetadata

P = TypeVar("P")


class ToyMetadata(TriggerMetadata):
    """Three parameters from three places, and one that hands out shares."""

    queue_name: str
    queue_length: KedaInt = 5
    by_part: KedaBool = False
    host: Annotated[SecretStr | None, Sources("AE")] = None


@asynccontextmanager
async def _open(_meta: ToyMetadata, _context: ScalerContext) -> AsyncIterator[Scaler]:
    raise NotImplementedError
    yield


TOY = ScalerType(
    metadata=ToyMetadata,
    target=lambda meta: float(meta.queue_length),
    open=_open,
    source=lambda _meta: "toy",
    summary="toy",
    shares=lambda meta: "byPart" if meta.by_part else None,
    check=lambda meta, _identity: ("give host by auth or hostFromEnv",) if meta.host is None else (),
)


def _no_executor(*_args: object) -> object:
    raise NotImplementedError


DOCKER = ExecutorType(open=_no_executor, summary="toy", settings={"allowedMounts": ([], "folders")})  # type: ignore[arg-type]
PROCESS = ExecutorType(
    open=_no_executor,  # type: ignore[arg-type]
    summary="toy",
    needs_image=False,
    check=lambda job, _settings: (
        (("x-scaler.process.cwd", "no such folder"),) if "missing" in str(job.template.process.cwd) else ()
    ),
)


class Fixed(Registry[P]):
    """A registry of given plugins."""

    def __init__(self, kind: str, plugins: dict[str, P]) -> None:
        super().__init__(kind=kind, package="", group="", constant="")
        self._plugins = plugins

    def known(self) -> list[str]:
        return sorted(self._plugins)

    def load(self, name: str) -> P:
        if name not in self._plugins:
            raise ConfigError(f"unknown {self._kind} '{name}'; {nearest(name, self._plugins)}")
        return self._plugins[name]


SCALERS: Registry[AnyScalerType] = Fixed("scaler", {"toy": TOY})
EXECUTORS: Registry[ExecutorType] = Fixed("executor", {"docker": DOCKER, "process": PROCESS})
