"""Collects the secrets of one job file: written in it, in variables, in files beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from scaler.model.secret import Secret
from scaler.wire.base import read_text
from scaler.wire.faults import Node, WireFault

MAX_BYTES = 65_536
MOUNTED = "/run/secrets/"
"""Where compose and Swarm mount the secrets that are granted to a service."""


@dataclass(slots=True)
class SecretsReading:
    """What became of a job's secrets.

    Attributes:
        values: those that could be read, by name.
        files: every file that was named, absolute, read or not.
        faults: why others could not be read; no text of a secret in them.
    """

    values: dict[str, Secret] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    faults: list[WireFault] = field(default_factory=list)


def read_secrets(root: Node, *, folder: str, env: Mapping[str, str]) -> SecretsReading:
    """Read every secret that a document declares.

    Args:
        root: the document.
        folder: where relative file names start.
        env: the daemon's variables.
    """
    reading = SecretsReading()
    for node in root["properties"]["configuration"]["secrets"]:
        value = node["value"].value
        if isinstance(value, str | int | float):
            reading.values[node["name"].text] = Secret(str(read_text(value)))
    for node in root["x-scaler"]["secrets"]:
        if node["env"].text:
            text = _from_env(node["env"], env, reading)
        elif node["file"].text:
            text = _from_file(node["file"], folder, reading)
        else:
            continue
        if text is not None:
            reading.values[node["name"].text] = Secret(text)
    return reading


def _from_env(node: Node, env: Mapping[str, str], reading: SecretsReading) -> str | None:
    text = env.get(node.text)
    if not text:
        state = "not set" if text is None else "empty"
        reading.faults.append(
            node.fault(f"the variable {node.text} is {state}; set it where the daemon starts")
        )
        return None
    return text


def _from_file(node: Node, folder: str, reading: SecretsReading) -> str | None:
    path = os.path.normpath(os.path.join(folder, node.text))
    reading.files.append(path)
    try:
        text = read_secret_file(path)
    except (OSError, ValueError) as exc:
        reading.faults.append(node.fault(file_trouble(exc, node.text)))
        return None
    if not text:
        reading.faults.append(node.fault(f"the file '{node.text}' is empty; write the secret into it"))
        return None
    return text


def read_secret_file(path: str) -> str:
    """Give a secret file's text, without one line end at its end.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no UTF-8 text of at most 64 KiB.
    """
    with open(path, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"over {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def file_trouble(exc: OSError | ValueError, name: str) -> str:
    """Word why a file could not be read."""
    if isinstance(exc, FileNotFoundError) and name.startswith(MOUNTED):
        return f"no file '{name}'; grant that secret to the daemon's service in its compose or stack file"
    if isinstance(exc, FileNotFoundError):
        return f"no file '{name}'; create it or correct the path (relative to this file)"
    if isinstance(exc, PermissionError):
        return f"no permission to read '{name}'; allow it to the daemon's user"
    if isinstance(exc, IsADirectoryError):
        return f"'{name}' is a folder; name a file"
    reason = (exc.strerror or type(exc).__name__).lower() if isinstance(exc, OSError) else str(exc)
    return f"cannot read '{name}': {reason}"
