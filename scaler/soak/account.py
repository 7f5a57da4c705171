"""Holds what was seen against what was promised; each promise gets a verdict that says how it was judged. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scaler.soak.notes import Notes
from scaler.soak.plan import Deed

STILL_RUNNING_S: Final = 120.0
"""How long executions may run on that were begun under a higher maximum: no message of a soak takes that long."""

MINUTE_S: Final = 60
BACK_S: Final = 20.0
"""How long after a daemon was killed or held a minute counts as one at which it was not there."""

FATAL: Final = frozenset({Deed.KILL_WORKER, Deed.KILL_SHIM, Deed.KILL_CONTAINER, Deed.REMOVE_CONTAINER})
TIMEOUT: Final = "ReplicaTimeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a promise was kept (None: could not be judged), what was looked at, and each breach."""

    name: str
    ok: bool | None
    text: str
    breaches: tuple[str, ...] = ()


def account(notes: Notes) -> tuple[Verdict, ...]:
    """Judge everything but growth."""
    return tuple(
        judge(notes)
        for judge in (
            _lost,
            _twice,
            _returned,
            _outcomes,
            _maximum,
            _parallelism,
            _schedule,
            _suspended,
            _promises,
            _mishaps,
            _left,
        )
    )


def _verdict(name: str, breaches: Iterable[str], text: str) -> Verdict:
    found = tuple(breaches)
    return Verdict(name=name, ok=not found, text=text, breaches=found)


def sent_names(notes: Notes) -> list[tuple[str, str]]:
    """Give job and name of each message sent."""
    return [(send.job, name) for send in notes.sent for name in send.names]


def _lost(notes: Notes) -> Verdict:
    sent = sent_names(notes)
    done = {(job, name) for job, names in notes.done.items() for name in names}
    text = f"{len(done)} of {len(sent)} messages done"
    if notes.interrupted:
        gone = [f"{job}: {name}" for job, name in sent if notes.places.get(job, Counter())[name] == 0]
        if gone:
            return _verdict("nothing lost", gone, text)
        return Verdict(
            name="nothing lost", ok=None, text=f"{text}; ended early, the others are in their queues"
        )
    missing = [
        f"{name}: {'waits or is held' if notes.places.get(job, Counter())[name] else 'is gone'}"
        for job, name in sent
        if (job, name) not in done
    ]
    return _verdict("nothing lost", missing, text)


def _twice(notes: Notes) -> Verdict:
    ends = Counter(message for word, _replica, message in notes.journal if word == "done")
    known = set(sent_names(notes))
    breaches = [f"{message}: done {number} times" for message, number in ends.items() if number > 1]
    for job, places in notes.places.items():
        breaches += [f"{name}: is there {number} times" for name, number in places.items() if number > 1]
        breaches += [f"{name}: was never sent" for name in places if (job, name) not in known]
    return _verdict("done once", breaches, f"{sum(ends.values())} ends noted by workers")


def _returned(notes: Notes) -> Verdict:
    """A message may be worked on again only if what ended its first worker is known."""
    killed = {done.subject for done in notes.acts if done.act.deed in FATAL}
    stopped = {done.subject for done in notes.acts if done.act.deed is Deed.STOP}
    late = {replica for ran in notes.ran.values() for replica, reason in ran.replicas if reason == TIMEOUT}
    breaches = [
        f"{one.message}: came back at {one.at_s:.0f} s although nobody ended {one.replica}"
        for one in notes.returned
        if one.replica not in killed | late and execution_of(one.replica) not in stopped
    ]
    failed = sum(word == "failed" for word, _replica, _message in notes.journal)
    text = f"{len(notes.returned)} messages came back from dead workers, {failed} from workers that failed as told"
    return _verdict("again only after a fault", [*breaches, *_unexplained(notes)], text)


def _unexplained(notes: Notes) -> list[str]:
    """Find messages that were taken more often than they came back."""
    took: Counter[str] = Counter()
    back: Counter[str] = Counter(one.message for one in notes.returned)
    for word, _replica, message in notes.journal:
        took[message] += word == "took"
        back[message] += word == "failed"
    return [
        f"{message}: taken {number} times, came back {back[message]} times"
        for message, number in took.items()
        if number > back[message] + 1
    ]


def _outcomes(notes: Notes) -> Verdict:
    ended = [ran for ran in notes.ran.values() if ran.is_final]
    breaches = [f"{ran.name}: {ran.status} without a reason" for ran in ended if not ran.reason]
    breaches += [f"{name}: ended twice" for name in notes.changed]
    breaches += [f"{name}: gone before it had ended" for name in notes.unseen]
    if not notes.interrupted:
        breaches += [f"{ran.name}: is still {ran.status}" for ran in notes.ran.values() if not ran.is_final]
    words = Counter(ran.status for ran in ended)
    text = f"{len(ended)} executions ended: {', '.join(f'{n} {word}' for word, n in words.most_common())}"
    return _verdict("one outcome with a reason", breaches, text)


def allowed(maxima: Sequence[tuple[float, str, int]], job: str, at_s: float) -> int | None:
    """Give the highest maximum under which an execution may have begun that lives at a moment."""
    own = [(since, most) for since, name, most in maxima if name == job and since <= at_s]
    if not own:
        return None
    until = [*(since for since, _ in own[1:]), at_s]
    return max(most for (_, most), end in zip(own, until, strict=True) if end >= at_s - STILL_RUNNING_S)


def _maximum(notes: Notes) -> Verdict:
    peaks: dict[str, int] = defaultdict(int)
    breaches = []
    for crowd in notes.crowds:
        most = allowed(notes.maxima, crowd.job, crowd.at_s)
        if most is None:
            continue
        peaks[crowd.job] = max(peaks[crowd.job], crowd.executions)
        if crowd.executions > most:
            text = f"{crowd.job}: {crowd.executions} executions lived at {crowd.at_s:.1f} s; {most} may"
            breaches.append(text)
    text = ", ".join(f"{job} {peak}/{_top(notes, job)}" for job, peak in sorted(peaks.items()))
    return _verdict("never above the maximum", breaches, f"most seen alive at once: {text or 'none'}")


def _top(notes: Notes, job: str) -> int:
    return max(most for _, name, most in notes.maxima if name == job)


def _parallelism(notes: Notes) -> Verdict:
    kinds = notes.plan.jobs
    breaches = [
        f"{one.job}: {one.replicas} replicas of one lived at {one.at_s:.1f} s; {kinds[one.job].parallelism} may"
        for one in notes.crowds
        if one.job in kinds and one.replicas > kinds[one.job].parallelism
    ]
    return _verdict("never above the parallelism", breaches, f"{len(notes.crowds)} looks from outside")


def _schedule(notes: Notes) -> Verdict:
    """Each minute has its execution, but for those at which the daemon was down, held, or had just come back."""
    away = [
        (done.at_s - 1, done.at_s + done.act.lasts_s + BACK_S)
        for done in notes.acts
        if done.act.deed in (Deed.KILL_DAEMON, Deed.PAUSE_DAEMON)
    ]
    first = math.ceil((notes.begun_at + BACK_S) / MINUTE_S)
    last = math.floor((notes.begun_at + notes.load_until - 1) / MINUTE_S)
    due = [
        minute
        for minute in range(first, last + 1)
        if not any(begin <= minute * MINUTE_S - notes.begun_at <= end for begin, end in away)
    ]
    breaches = [
        f"{job}: nothing was started at minute {minute}"
        for job in notes.plan.scheduled
        for minute in due
        if f"{job}-{minute}" not in notes.ran
    ]
    text = f"{len(due)} minutes at which the daemon was there, {len(notes.plan.scheduled)} jobs"
    return _verdict("each minute its execution", breaches, text)


def _suspended(notes: Notes) -> Verdict:
    """From the answer to a suspension on until somebody asks to resume, nothing of the job begins."""
    deeds = [done for done in notes.acts if done.act.deed in (Deed.SUSPEND, Deed.RESUME)]
    spans = [
        (one.act.job, one.at_s, two.at_s)
        for one, two in pairwise(sorted(deeds, key=lambda done: done.at_s))
        if one.act.deed is Deed.SUSPEND and one.subject and two.act.deed is Deed.RESUME
    ]
    breaches = [
        f"{ran.name}: begun at {ran.begun_at - notes.begun_at:.1f} s, {job} was suspended from {since:.1f} s on"
        for job, since, until in spans
        for ran in notes.ran.values()
        if ran.job == job and ran.begun_at is not None and since < ran.begun_at - notes.begun_at < until
    ]
    return _verdict("suspended jobs start nothing", breaches, f"{len(spans)} suspensions")


def _promises(notes: Notes) -> Verdict:
    breaches = [f"{text} (at {at:.0f} s)" for text, at in notes.broken.items()]
    text = f"the daemon was asked {notes.looks} times for broken promises; an executor was silent {notes.silent} times"
    if notes.looks == 0:
        return Verdict(name="the daemon's own promises", ok=None, text=text)
    return _verdict("the daemon's own promises", breaches, text)


def _mishaps(notes: Notes) -> Verdict:
    text = (
        f"starts of the daemon: {len(notes.starts)}; it was killed {_number(notes, Deed.KILL_DAEMON)} times"
    )
    return _verdict("the daemon lives", notes.mishaps, text)


def _left(notes: Notes) -> Verdict:
    if notes.interrupted:
        return Verdict(name="nothing left", ok=None, text="ended early; what still ran was ended")
    return _verdict("nothing left", notes.left, "workers and containers after the end of the daemon")


def _number(notes: Notes, deed: Deed) -> int:
    return sum(done.act.deed is deed for done in notes.acts)


def execution_of(replica: str) -> str:
    """Name the execution of a replica."""
    return replica.rpartition("-")[0]


Judge = Callable[[Notes], Verdict]
