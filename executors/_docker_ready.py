"""Decides on ready networks: which replica gets which, what is made ahead, what thrown away. Pure but for its memory.

A holder is a container that only waits and whose network others join. A network bears the marks of those who used it
(sockets that linger, the files of name resolution), so it is handed to one replica at a time, and only to those of
one job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from executors._docker_members import Seen
from scaler.model.replica import ReplicaSpec

IDLE_S = 30.0
"""For so long a job keeps what it has used, if nothing fresh is left for others."""
PAUSE_S = 60.0
"""How long nothing is made on a network on which it failed."""
_NOT_SHARED = frozenset({"none", "host"})
_ENDED = frozenset({"exited", "dead", "removing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One container of this daemon: whether it is such a holder, whose network it has joined, whose replica it is."""

    seen: Seen
    is_holder: bool = False
    joins: str | None = None
    replica: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """Make one more on a network."""

    network: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Remove one that nobody uses; it is forgotten already."""

    holder: str


@dataclass(slots=True, kw_only=True)
class _Holder:
    network: str
    idle_since: float
    job: str | None = None
    replica: str | None = None
    is_launching: bool = False


def network_of(spec: ReplicaSpec) -> str | None:
    """Give the network whose ready ones would do for a replica; None: it is the host's or none, or shared already."""
    network = spec.docker.network or "bridge"
    return None if spec.pod is not None or network in _NOT_SHARED or ":" in network else network


class Stock:
    """At most `size` holders a network. Times are seconds of any clock that only goes on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._holders: dict[str, _Holder] = {}
        self._networks: dict[str, float] = {}  # each with when something may be made on it again

    def take(self, network: str, job: str, replica: str) -> str | None:
        """Give a holder to a replica, the same if it has one; None: there is none."""
        if not self._size:
            return None
        self._networks.setdefault(network, 0.0)
        found = self._find(network, job, replica)
        if found is not None:
            one = self._holders[found]
            one.job, one.replica, one.is_launching = job, replica, True
        return found

    def _find(self, network: str, job: str, replica: str) -> str | None:
        idle: dict[str | None, str] = {}
        for name, one in self._holders.items():
            if one.replica == replica:
                return name
            if one.replica is None and one.network == network:
                idle[one.job] = name
        return idle.get(job) or idle.get(None)

    def launched(self, replica: str) -> None:
        """Take note that a launch is over, however it ended: from here on the engine's list tells who uses what."""
        for one in self._holders.values():
            if one.replica == replica:
                one.is_launching = False

    def give_back(self, replica: str, now: float) -> bool:
        """Take back what a removed replica had; say whether it had something."""
        for one in self._holders.values():
            if one.replica == replica and not one.is_launching:
                one.replica, one.idle_since = None, now
                return True
        return False

    def lost(self, holder: str | None) -> None:
        """Forget one that was found dead, and all that lie idle: what ended it will have ended them."""
        self._holders = {
            name: one
            for name, one in self._holders.items()
            if name != holder and (one.replica is not None or holder is None)
        }

    def made(self, holder: str, network: str, now: float) -> None:
        """Take in a fresh one."""
        self._holders[holder] = _Holder(network=network, idle_since=now)

    def failed(self, network: str, now: float) -> None:
        """Make nothing on a network for a while."""
        self._networks[network] = now + PAUSE_S

    def next(self, now: float) -> Make | Drop | None:
        """Say what to do next, if anything."""
        for network, since in self._networks.items():
            here = {name: one for name, one in self._holders.items() if one.network == network}
            if now < since:
                continue
            if len(here) < self._size:
                return Make(network=network)
            idle = {name: one for name, one in here.items() if one.replica is None}
            if not idle or any(one.job is None for one in idle.values()):
                continue
            oldest = min(idle, key=lambda name: idle[name].idle_since)
            if now - idle[oldest].idle_since >= IDLE_S:
                del self._holders[oldest]
                return Drop(holder=oldest)
        return None

    # against the engine's list

    def settled(self) -> Mapping[str, str]:
        """Give the replicas that have holders and are launched; ask before the list that they are compared with."""
        return {
            name: one.replica
            for name, one in self._holders.items()
            if one.replica is not None and not one.is_launching
        }

    def compare(self, listed: Iterable[Listed], settled: Mapping[str, str]) -> tuple[str, ...]:
        """Forget what is dead or whose replica is gone; give what to remove: holders that nobody knows or uses."""
        listed = tuple(listed)
        live = {one.seen.id for one in listed if one.seen.is_live}
        replicas = {one.replica for one in listed}
        for name, one in list(self._holders.items()):
            is_dead = one.replica is None and name not in live
            is_left = one.replica is not None and not one.is_launching and one.replica not in replicas
            if is_dead or (is_left and settled.get(name) == one.replica):
                del self._holders[name]
        joined = {one.joins for one in listed if one.seen.state not in _ENDED}
        return tuple(
            one.seen.id
            for one in listed
            if one.is_holder and one.seen.id not in self._holders and one.seen.id not in joined
        )

    def unused(self) -> tuple[str, ...]:
        """Forget everything; give what nobody uses."""
        idle = tuple(name for name, one in self._holders.items() if one.replica is None)
        self._holders.clear()
        self._networks.clear()
        return idle
