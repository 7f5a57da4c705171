"""Reads and writes the Atom documents of the management API.

Element names, namespaces and their order are those `azure-servicebus` reads; the five counters live
in a namespace of their own.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from scaler.devbroker.entities import Queue, QueueSettings, Subscription
from scaler.devbroker.namespace import Entity, Topic

_ATOM = "http://www.w3.org/2005/Atom"
_SERVICE_BUS = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
_COUNTS = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
_DURATION = re.compile(r"P(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?")
_FOR_EVER_S = 10**10  # the SDK writes "no limit" as the longest .NET time span
NAMESPACE_NAME = "sbemulatorns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a PUT asks for: the kind of entity and its settings, None where the document has none."""

    is_topic: bool
    settings: QueueSettings


def parse_description(document: bytes) -> Description:
    """Read the body of a PUT.

    Raises:
        ValueError: The document is no Atom entry with a description, or a value is out of range.
    """
    if b"<!DOCTYPE" in document:
        raise ValueError("the body may not declare a document type")
    try:
        content = ET.fromstring(document).find(f"{{{_ATOM}}}content")
    except ET.ParseError as exc:
        raise ValueError(f"the body is no XML: {exc}") from exc
    if content is None or not len(content):
        raise ValueError("the body has no <content> with a description")
    values = {child.tag.partition("}")[2]: (child.text or "").strip() for child in content[0]}
    defaults = QueueSettings()
    lock_s = _seconds(values, "LockDuration")
    ttl_s = _seconds(values, "DefaultMessageTimeToLive")
    settings = QueueSettings(
        lock_duration_s=defaults.lock_duration_s if lock_s is None else lock_s,
        max_delivery_count=_count(values, defaults.max_delivery_count),
        default_ttl_s=None if ttl_s is None or ttl_s > _FOR_EVER_S else ttl_s,
        requires_session=values.get("RequiresSession") == "true",
        dead_letter_on_expiry=values.get("DeadLetteringOnMessageExpiration") == "true",
    )
    return Description(is_topic=content[0].tag.endswith("TopicDescription"), settings=settings)


def _seconds(values: dict[str, str], name: str) -> float | None:
    text = values.get(name)
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError(f"{name}: '{text}' is no ISO 8601 duration such as PT30S")
    parts = zip(match.groups(), (86400, 3600, 60, 1), strict=True)
    return sum(float(value or 0) * seconds for value, seconds in parts)


def _count(values: dict[str, str], default: int) -> int:
    text = values.get("MaxDeliveryCount")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(f"MaxDeliveryCount: '{text}' is no whole number")
    return int(text)


def render_entry(entity: Entity, name: str) -> bytes:
    """Write one entity."""
    return _bytes(_entry(entity, name))


def render_feed(entities: Sequence[tuple[str, Entity]], *, skip: int, top: int) -> bytes:
    """Write one page of entities; the SDK takes the second link of a feed as the next page."""
    root = ET.Element(f"{{{_ATOM}}}feed")
    ET.SubElement(root, f"{{{_ATOM}}}title").text = "Entities"
    ET.SubElement(root, f"{{{_ATOM}}}link", rel="self", href="self")
    if len(entities) > skip + top:
        following = f"next?$skip={skip + top}&$top={top}"
        ET.SubElement(root, f"{{{_ATOM}}}link", rel="next", href=following)
    for name, entity in entities[skip : skip + top]:
        root.append(_entry(entity, name))
    return _bytes(root)


def render_namespace() -> bytes:
    """Write the namespace's own properties; they are fixed."""
    root = ET.Element(f"{{{_ATOM}}}entry")
    ET.SubElement(root, f"{{{_ATOM}}}title").text = NAMESPACE_NAME
    content = ET.SubElement(root, f"{{{_ATOM}}}content", type="application/xml")
    info = ET.SubElement(content, f"{{{_SERVICE_BUS}}}NamespaceInfo")
    _add(info, "CreatedTime", _iso(0))
    _add(info, "MessagingSKU", "Standard")
    _add(info, "ModifiedTime", _iso(0))
    _add(info, "Name", NAMESPACE_NAME)
    _add(info, "NamespaceType", "Messaging")
    return _bytes(root)


def render_error(status: int, detail: str) -> bytes:
    """Write an error body."""
    root = ET.Element("Error")
    ET.SubElement(root, "Code").text = str(status)
    ET.SubElement(root, "Detail").text = detail
    return _bytes(root)


def _bytes(root: ET.Element) -> bytes:
    return bytes(ET.tostring(root))


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _add(parent: ET.Element, tag: str, value: object) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    ET.SubElement(parent, f"{{{_SERVICE_BUS}}}{tag}").text = text


def _entry(entity: Entity, name: str) -> ET.Element:
    root = ET.Element(f"{{{_ATOM}}}entry")
    for tag in ("id", "title"):
        ET.SubElement(root, f"{{{_ATOM}}}{tag}").text = name
    for tag in ("published", "updated"):
        ET.SubElement(root, f"{{{_ATOM}}}{tag}").text = _iso(entity.created)
    content = ET.SubElement(root, f"{{{_ATOM}}}content", type="application/xml")
    content.append(_describe(entity))
    return root


def _describe(entity: Entity) -> ET.Element:
    if isinstance(entity, Topic):
        return _describe_topic(entity)
    is_subscription = isinstance(entity, Subscription)
    kind = "Subscription" if is_subscription else "Queue"
    root = ET.Element(f"{{{_SERVICE_BUS}}}{kind}Description")
    settings = entity.settings
    _add(root, "LockDuration", f"PT{settings.lock_duration_s:g}S")
    _add(root, "RequiresSession", settings.requires_session)
    if settings.default_ttl_s is not None:
        _add(root, "DefaultMessageTimeToLive", f"PT{settings.default_ttl_s:g}S")
    _add(root, "DeadLetteringOnMessageExpiration", settings.dead_letter_on_expiry)
    _add(root, "MaxDeliveryCount", settings.max_delivery_count)
    _add(root, "MessageCount", entity.total_count)
    if not is_subscription:
        _add(root, "SizeInBytes", 0)
    _add_life(root, entity)
    _add_counts(root, active=entity.active_count, dead=entity.dead_letter_count, scheduled=_waiting(entity))
    return root


def _waiting(queue: Queue) -> int:
    return len(queue.scheduled)


def _describe_topic(topic: Topic) -> ET.Element:
    root = ET.Element(f"{{{_SERVICE_BUS}}}TopicDescription")
    _add(root, "SizeInBytes", 0)
    _add_life(root, topic)
    _add(root, "SubscriptionCount", len(topic.subscriptions))
    _add_counts(root, active=0, dead=0, scheduled=topic.scheduled_count)
    return root


def _add_life(root: ET.Element, entity: Entity) -> None:
    _add(root, "Status", "Active")
    for tag in ("CreatedAt", "UpdatedAt", "AccessedAt"):
        _add(root, tag, _iso(entity.created))


def _add_counts(root: ET.Element, *, active: int, dead: int, scheduled: int) -> None:
    counts = ET.SubElement(root, f"{{{_SERVICE_BUS}}}CountDetails")
    for tag, number in (
        ("ActiveMessageCount", active),
        ("DeadLetterMessageCount", dead),
        ("ScheduledMessageCount", scheduled),
        ("TransferDeadLetterMessageCount", 0),
        ("TransferMessageCount", 0),
    ):
        ET.SubElement(counts, f"{{{_COUNTS}}}{tag}").text = str(number)
