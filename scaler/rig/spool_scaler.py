"""Trigger `spool`: counts a queue of files. The daemon finds it as it finds the scalers of third parties."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.wire.metadata import KedaInt, TriggerMetadata


class Metadata(TriggerMetadata):
    """Parameters of `spool`."""

    path: str = Field(description="The folder.")
    value: Annotated[KedaInt, Field(gt=0)] = Field(
        default=1, description="Messages that one execution takes."
    )


class SpoolScaler:
    """One folder."""

    def __init__(self, meta: Metadata, context: ScalerContext) -> None:
        folder = Path(meta.path)
        self._ready, self._taken = folder / "ready", folder / "taken"
        self._context = context

    async def poll(self) -> Sample:
        """List both places. What waits is counted first: a message on its way is counted twice rather than missed."""
        await self._context.note_request()
        as_of = self._context.now()
        try:
            ready, taken = len(os.listdir(self._ready)), len(os.listdir(self._taken))
        except FileNotFoundError as exc:
            raise PollError(f"{exc.filename}: no such folder", reason="EntityNotFound") from exc
        except OSError as exc:
            raise PollError(f"{exc.filename}: {exc.strerror}", reason="Unreachable") from exc
        count = float(ready + taken)
        return Sample(value=count, active=count > 0, includes_taken=True, taken=float(taken), as_of=as_of)


@asynccontextmanager
async def open_spool(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Give the scaler of one rule."""
    yield SpoolScaler(meta, context)


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.value),
    open=open_spool,
    source=lambda meta: f"spool:{meta.path}",
    entities=lambda meta: frozenset({meta.path}),
    summary="a folder of files, for measuring",
)
