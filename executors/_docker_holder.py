"""The image of the container that holds a replica's network and volumes: one program, which waits.

It is made here and loaded into the engine, so that no registry is asked for it. The program is so small that
its instructions stand below.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile

from aiodocker import Docker, DockerError

from executors._docker_errors import engine_call
from executors._docker_settings import Limits
from scaler.errors import LaunchError

_BASE = 0x400000
_HEADERS = 64 + 56
_PROGRAMS = {
    # pause() in a loop
    "amd64": (62, bytes.fromhex("b8220000000f05ebf7")),
    # ppoll(NULL, 0, NULL, NULL, 0) in a loop
    "arm64": (
        183,
        struct.pack(
            "<8I",
            0xD2800928, 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004, 0xD4000001, 0x17FFFFF9,
        ),
    ),
}  # fmt: skip
_NAME = "scaler-holder"
_REFUSED = 403  # what a guard before the engine answers
_NAME_ONE = "name an image that only waits by executors.docker.holderImage, such as registry.k8s.io/pause:3.9"


async def ensure_holder(client: Docker, named: str | None, limits: Limits) -> str:
    """Give the image to hold a replica with: the one that settings name, else ours, loaded if need be.

    Raises:
        LaunchError: there is none for the engine's machine, or a guard lets none be loaded.
        DockerError: the engine refuses ours.
        ExecutorUnavailable: the engine does not answer.
    """
    if named is not None:
        return named
    async with engine_call("version", limits.inspect_s):
        machine = str((await client.version())["Arch"])
    if machine not in _PROGRAMS:
        raise LaunchError(
            f"several containers a replica: no built-in holder for an engine on {machine}; {_NAME_ONE}",
            reason="HolderMissing",
        )
    name = f"{_NAME}:1-{machine}"
    async with engine_call(f"image {name}", limits.create_s):
        try:
            await client.images.inspect(name)
        except DockerError as exc:
            if exc.status != 404:
                raise
            await _load(client, name, machine)
    return name


async def _load(client: Docker, name: str, machine: str) -> None:
    try:
        await client.images.import_image(_archive(name, machine))
    except DockerError as exc:
        if exc.status != _REFUSED:
            raise
        raise LaunchError(
            f"several containers a replica: {exc.message.strip()}; {_NAME_ONE}", reason="HolderMissing"
        ) from None


def _archive(name: str, machine: str) -> bytes:
    """Give the image as `docker load` takes it."""
    layer = _tar({"hold": (_program(machine), 0o755)})
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Entrypoint": ["/hold"], "StopSignal": "SIGKILL"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    text = json.dumps(config).encode()
    member = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = json.dumps([{"Config": member, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    return _tar({member: (text, 0o644), "layer.tar": (layer, 0o644), "manifest.json": (manifest, 0o644)})


def _program(machine: str) -> bytes:
    """Write the smallest ELF file that runs: a header, one segment, the instructions."""
    number, code = _PROGRAMS[machine]
    size = _HEADERS + len(code)
    ident = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    head = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return ident + head + segment + code


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
