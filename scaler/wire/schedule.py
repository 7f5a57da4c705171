"""What a schedule can have beyond one cron expression in UTC: the `schedule` section under `x-scaler`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError

from scaler.model.job import CatchUp, Overlap, ScheduleTrigger
from scaler.wire.base import Seconds, WireModel, Word, show
from scaler.wire.faults import Node, WireFault


class ScheduleExtensionWire(WireModel):
    """Only with `triggerType: Schedule`."""

    time_zone: Word = "UTC"
    """IANA name of the zone that the expressions mean, such as `Europe/Berlin`."""
    cron_expressions: tuple[Word, ...] = ()
    """Further expressions beside `cronExpression`; a minute at which several are due starts one execution."""
    overlap: Overlap = Overlap.ALLOW
    """While an earlier scheduled execution lives: `allow`, `forbid` (skip), `queue` or `replace` (stop it)."""
    catch_up: CatchUp = CatchUp.NONE
    """Due times that passed while the daemon was down: `none`, `latest` or `all` of them are made up for."""
    catch_up_window: Seconds = 3600
    """Seconds; older ones are never made up for."""
    jitter: Seconds | None = None
    """Each start is put off by less than so many seconds, so that many jobs do not start together."""

    def to_model(self, cron: str) -> ScheduleTrigger:
        """Give the trigger as the model has it."""
        return ScheduleTrigger(
            cron=cron,
            also=self.cron_expressions,
            time_zone=self.time_zone,
            overlap=self.overlap,
            catch_up=self.catch_up,
            catch_up_window=timedelta(seconds=self.catch_up_window),
            jitter=timedelta(seconds=self.jitter or 0),
        )


def check_schedule(own: Node) -> Iterator[WireFault]:
    """List the faults of the section that its types do not show."""
    for node in own["cronExpressions"]:
        yield from check_cron(node)
    zone = own["timeZone"]
    if zone.text and zone.text not in available_timezones():
        near = get_close_matches(zone.text, available_timezones(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "write an IANA name such as 'Europe/Berlin'"
        yield zone.fault(f"got {show(zone.value)}, which is no time zone; {hint}")
    if own["catchUpWindow"].is_set and own["catchUp"].text in ("", CatchUp.NONE):
        message = "says nothing without catchUp; add catchUp: latest (or all), or remove it"
        yield own["catchUpWindow"].fault(message, at_key=True)


def check_cron(node: Node) -> Iterator[WireFault]:
    """List the fault of a cron expression, if it has one."""
    got = f"got {show(node.value)}"
    if node.text.startswith("@"):
        yield node.fault(f"{got}; write five fields, such as '0 0 * * *' for every midnight")
    elif len(node.text.split()) != 5:
        count = len(node.text.split())
        yield node.fault(f"{got}, which has {count} fields; write five: minute hour day month weekday")
    else:
        try:
            next(CronSim(node.text, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as exc:
            reason = str(exc).lower() or "never due"
            yield node.fault(f"{got}: {reason}; write five fields, such as '0 0 * * *'")
