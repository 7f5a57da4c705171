"""The messages of KEDA's external scaler protocol, built at run time so that there is no generated code.

Source: KEDA docs, "External scalers" (`externalscaler.proto`, proto3). Only the calls that a job needs are
here; the streams serve things that run all the time.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

PACKAGE: Final = "externalscaler"
SERVICE: Final = f"{PACKAGE}.ExternalScaler"

_STRING: Final = FieldDescriptorProto.TYPE_STRING
_BOOL: Final = FieldDescriptorProto.TYPE_BOOL
_INT64: Final = FieldDescriptorProto.TYPE_INT64
_DOUBLE: Final = FieldDescriptorProto.TYPE_DOUBLE
_ENTRY: Final = "ScaledObjectRef.ScalerMetadataEntry"

# Message -> its fields in the order of their numbers: name, type (a text is another message), repeated.
_MESSAGES: Final[dict[str, list[tuple[str, int | str, bool]]]] = {
    "ScaledObjectRef": [
        ("name", _STRING, False),
        ("namespace", _STRING, False),
        ("scalerMetadata", _ENTRY, True),
    ],
    "IsActiveResponse": [("result", _BOOL, False)],
    "MetricSpec": [
        ("metricName", _STRING, False),
        ("targetSize", _INT64, False),
        ("targetSizeFloat", _DOUBLE, False),
    ],
    "GetMetricSpecResponse": [("metricSpecs", "MetricSpec", True)],
    "GetMetricsRequest": [("scaledObjectRef", "ScaledObjectRef", False), ("metricName", _STRING, False)],
    "MetricValue": [
        ("metricName", _STRING, False),
        ("metricValue", _INT64, False),
        ("metricValueFloat", _DOUBLE, False),
    ],
    "GetMetricsResponse": [("metricValues", "MetricValue", True)],
}


def _add_fields(message: Any, fields: list[tuple[str, int | str, bool]]) -> None:
    for number, (name, kind, is_repeated) in enumerate(fields, start=1):
        field = message.field.add(name=name, number=number)
        field.label = (
            FieldDescriptorProto.LABEL_REPEATED if is_repeated else FieldDescriptorProto.LABEL_OPTIONAL
        )
        if isinstance(kind, str):
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{kind}"
        else:
            field.type = kind


def _build() -> dict[str, Any]:
    """Make the classes in a pool of their own, so that a program with generated ones beside is no conflict."""
    file = FileDescriptorProto(name=f"scaler/{PACKAGE}.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        _add_fields(file.message_type.add(name=name), fields)
    entry: DescriptorProto = file.message_type[0].nested_type.add(name=_ENTRY.partition(".")[2])
    _add_fields(entry, [("key", _STRING, False), ("value", _STRING, False)])
    entry.options.map_entry = True
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES: Final = _build()
ScaledObjectRef: Final = _CLASSES["ScaledObjectRef"]
IsActiveResponse: Final = _CLASSES["IsActiveResponse"]
MetricSpec: Final = _CLASSES["MetricSpec"]
GetMetricSpecResponse: Final = _CLASSES["GetMetricSpecResponse"]
GetMetricsRequest: Final = _CLASSES["GetMetricsRequest"]
MetricValue: Final = _CLASSES["MetricValue"]
GetMetricsResponse: Final = _CLASSES["GetMetricsResponse"]
