"""A part of a source that only one execution at a time may work on, such as a partition of a topic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One part of a source.

    Attributes:
        key: what tells it from the source's other parts, for people too: `orders/3`.
        value: what waits in it, in messages (or lag), finite and >= 0.
        env: variables that tell a replica which part it was handed: name and value.
    """

    key: str
    value: float
    env: tuple[tuple[str, str], ...] = ()
