"""Kafka requests that the client library lacks, and its connection with what it lacks in SASL.

The library asks for the commits of one group a request and drops errors of the whole group; here one request
asks for all groups of a coordinator (OffsetFetch v8, FindCoordinator v4: Kafka 3.0 and later). And it takes
a refused OAuth token for an accepted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator  # type: ignore[import-untyped]
from aiokafka.protocol.api import Request, RequestStruct, Response  # type: ignore[import-untyped]
from aiokafka.protocol.types import (  # type: ignore[import-untyped]
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

METADATA: Final = 3
OFFSET_FETCH: Final = 9
FIND_COORDINATOR: Final = 10
_GROUP: Final = 0
_TEXT: Final = CompactString("utf-8")
_TAGS: Final = ("tags", TaggedFields)

Wanted = Mapping[str, Sequence[int]] | None
"""Partitions by topic; None: all that the group has commits for."""


class _FetchResponse(Response):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH
    API_VERSION = 8
    _PARTITION = (
        ("partition", Int32),
        ("offset", Int64),
        ("epoch", Int32),
        ("metadata", _TEXT),
        ("error", Int16),
        _TAGS,
    )
    _TOPIC = (("topic", _TEXT), ("partitions", CompactArray(*_PARTITION)), _TAGS)
    _ANSWER = (("group", _TEXT), ("topics", CompactArray(*_TOPIC)), ("error", Int16), _TAGS)
    SCHEMA = Schema(("throttle", Int32), ("groups", CompactArray(*_ANSWER)), _TAGS)


class _FetchStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH
    API_VERSION = 8
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _FetchResponse
    _TOPIC = (("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS)
    _QUESTION = (("group", _TEXT), ("topics", CompactArray(*_TOPIC)), _TAGS)
    SCHEMA = Schema(("groups", CompactArray(*_QUESTION)), ("require_stable", Boolean), _TAGS)


class FetchCommits(Request[_FetchStruct]):  # type: ignore[misc]
    """Asks a coordinator for committed offsets of many groups."""

    API_KEY = OFFSET_FETCH

    def __init__(self, groups: Mapping[str, Wanted]) -> None:
        self._groups = groups

    def build(self, request_struct_class: Any) -> Any:
        require_stable = False
        return request_struct_class([_row(*item) for item in self._groups.items()], require_stable, {})


def _row(group: str, wanted: Wanted) -> tuple[Any, ...]:
    if wanted is None:
        return group, None, {}
    return group, [(topic, list(partitions), {}) for topic, partitions in wanted.items()], {}


class _CoordinatorResponse(Response):  # type: ignore[misc]
    API_KEY = FIND_COORDINATOR
    API_VERSION = 4
    _ROW = (
        ("key", _TEXT),
        ("node", Int32),
        ("host", _TEXT),
        ("port", Int32),
        ("error", Int16),
        ("message", _TEXT),
        _TAGS,
    )
    SCHEMA = Schema(("throttle", Int32), ("coordinators", CompactArray(*_ROW)), _TAGS)


class _CoordinatorStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = FIND_COORDINATOR
    API_VERSION = 4
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _CoordinatorResponse
    SCHEMA = Schema(("type", Int8), ("keys", CompactArray(_TEXT)), _TAGS)


class FindCoordinators(Request[_CoordinatorStruct]):  # type: ignore[misc]
    """Asks any broker which brokers keep the commits of groups."""

    API_KEY = FIND_COORDINATOR

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(_GROUP, list(self._groups), {})


class _OAuth(OAuthAuthenticator):  # type: ignore[misc]
    """Answers a broker that refused the token, which only then says so by an error."""

    async def step(self, payload: bytes | None) -> tuple[str | bytes, bool] | None:
        if self._token_sent and payload:
            return b"\x01", True
        first: tuple[str | bytes, bool] | None = await super().step(payload)
        return first


class KafkaConnection(AIOKafkaConnection):  # type: ignore[misc]
    """One connection to one broker; `connect` raises the true cause of a failure."""

    def authenticator_oauth(self) -> _OAuth:
        """Give the exchange of a token that notices a refusal."""
        return _OAuth(sasl_oauth_token_provider=self._sasl_oauth_token_provider)

    def speaks(self, api: int, version: int) -> bool:
        """Tell whether the broker understands a version of a request; known once connected."""
        lowest, highest = self._versions.get(api, (0, -1))
        return bool(lowest <= version <= highest)
