"""The settings of the docker executor: names, defaults, help, and the checks that name a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scaler.errors import ConfigError

_WHERE = "executors.docker"
_VOLUME = re.compile(r"[a-zA-Z0-9*?][a-zA-Z0-9_.*?-]*")
_SIZE = re.compile(r"[1-9][0-9]*[kmg]?", re.IGNORECASE)


class PullPolicy(StrEnum):
    """When an image is fetched before a launch (the words are Kubernetes')."""

    IF_NOT_PRESENT = "ifNotPresent"
    ALWAYS = "always"
    NEVER = "never"


HELP: Mapping[str, tuple[Any, str]] = {
    "host": (None, "engine address (unix://, tcp://); default: DOCKER_HOST, else the current docker context"),
    "allowedMounts": ([], "host folders that jobs may mount, with all below them; none by default"),
    "allowedVolumes": ([], "named volumes that jobs may mount; * and ? stand for any text; none by default"),
    "storageLimit": (
        False,
        "enforce resources.ephemeralStorage; needs an engine on xfs with pquota, or the like",
    ),
    "holderImage": (None, "image that only waits, for replicas of several containers; built in by default"),
    "pidsLimit": (512, "processes and threads one container may have"),
    "logMaxSize": ("10m", "size at which the engine turns over a container's log (number and k, m or g)"),
    "logMaxFile": (2, "log files the engine keeps of one container, the current one included; 2 or more"),
    "stopGrace": (10, "seconds between TERM and KILL when the engine itself stops a container"),
    "maxConcurrentLaunches": (
        16,
        "upper bound of launches under way at once; the executor finds its own below",
    ),
    "pullPolicy": ("ifNotPresent", "when images are pulled: ifNotPresent, always or never"),
    "pullTimeout": (900, "seconds one pull of an image may take"),
    "readyNetworks": (
        0,
        "networks made ahead, each for one replica at a time, that containers join instead of making one; 0: none",
    ),
    "init": (True, "run a small init as process 1, which passes signals on and reaps orphans"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """Checked settings; `host` None means "as the docker command line would choose"."""

    host: str | None
    allowed_mounts: tuple[str, ...]
    allowed_volumes: tuple[str, ...]
    storage_limit: bool
    holder_image: str | None
    pids_limit: int
    log_max_size: str
    log_max_file: int
    stop_grace_s: int
    max_concurrent_launches: int
    pull_policy: PullPolicy
    pull_timeout_s: int
    ready_networks: int
    init: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the engine may take for an answer, in seconds."""

    inspect_s: float = 15.0  # reads: milliseconds, unless the engine is swamped
    create_s: float = 60.0  # create and start take seconds when many containers start at once
    remove_s: float = 60.0  # deleting a large writable layer is disk-bound
    log_s: float = 60.0  # bounded by logMaxSize x logMaxFile
    stop_margin_s: float = 20.0  # on top of the grace
    goodbye_s: float = 3.0  # how long an engine that goes down may still answer after it ended a container
    reconcile_s: float = 3.0  # how often the watcher compares with a list, events being hints only
    backoff_s: float = 2.0  # longest pause between two attempts to reach the engine again


def parse_settings(settings: Mapping[str, Any]) -> DockerSettings:
    """Check the plain mapping of the settings file.

    Raises:
        ConfigError: an unknown name or a value of the wrong kind; the text names it and what is right.
    """
    for name in settings:
        if name not in HELP:
            near = difflib.get_close_matches(str(name), HELP, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(HELP)}"
            raise ConfigError(f"{_WHERE}.{name}: unknown setting; {hint}")
    given = {name: default for name, (default, _) in HELP.items()}
    given |= {name: value for name, value in settings.items() if value is not None}
    return DockerSettings(
        host=_host(given["host"]),
        allowed_mounts=_folders(given["allowedMounts"]),
        allowed_volumes=_names(given["allowedVolumes"]),
        storage_limit=_truth("storageLimit", given["storageLimit"]),
        holder_image=_image(given["holderImage"]),
        pids_limit=_number("pidsLimit", given["pidsLimit"]),
        log_max_size=_size(given["logMaxSize"]),
        log_max_file=_number("logMaxFile", given["logMaxFile"], least=2),
        stop_grace_s=_number("stopGrace", given["stopGrace"], least=0),
        max_concurrent_launches=_number("maxConcurrentLaunches", given["maxConcurrentLaunches"]),
        pull_policy=_policy(given["pullPolicy"]),
        pull_timeout_s=_number("pullTimeout", given["pullTimeout"]),
        ready_networks=_number("readyNetworks", given["readyNetworks"], least=0),
        init=_truth("init", given["init"]),
    )


def _wrong(name: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(f"{_WHERE}.{name}: got {value!r}; give {wanted}")


def _host(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(("unix://", "tcp://", "http://", "https://")):
        raise _wrong("host", value, "an address that begins with unix:// or tcp://")
    return value


def _folders(value: object) -> tuple[str, ...]:
    good = isinstance(value, list | tuple) and all(isinstance(one, str) and one[:1] == "/" for one in value)
    if not good:
        raise _wrong("allowedMounts", value, "a list of absolute host paths")
    assert isinstance(value, list | tuple)
    return tuple(value)


def _names(value: object) -> tuple[str, ...]:
    good = isinstance(value, list | tuple) and all(
        isinstance(one, str) and _VOLUME.fullmatch(one) for one in value
    )
    if not good:
        raise _wrong("allowedVolumes", value, "a list of names of volumes, such as cache or team-*")
    assert isinstance(value, list | tuple)
    return tuple(value)


def _image(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise _wrong("holderImage", value, "the name of an image")
    return value


def _number(name: str, value: object, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(name, value, f"a whole number of at least {least}")
    return value


def _size(value: object) -> str:
    if not isinstance(value, str | int) or not _SIZE.fullmatch(str(value)):
        raise _wrong("logMaxSize", value, "a number and k, m or g, such as 10m")
    return str(value)


def _policy(value: object) -> PullPolicy:
    try:
        return PullPolicy(str(value))
    except ValueError:
        raise _wrong("pullPolicy", value, "ifNotPresent, always or never") from None


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value
