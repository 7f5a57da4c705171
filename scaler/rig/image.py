"""An image for measuring, made of this machine's own shell: the same everywhere, and no registry is needed."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from scaler.rig.daemon import RigError

_PROGRAMS: Final = ("sh", "mv", "sleep", "true")
_LIBRARY: Final = re.compile(r"(/\S+)")


def archive() -> bytes:
    """Pack the programs and what they are linked with.

    Raises:
        RigError: one of them is not on this machine.
    """
    files: dict[str, Path] = {}
    for program in _PROGRAMS:
        found = shutil.which(program, path="/bin:/usr/bin")
        if found is None:
            raise RigError(f"{program}: not on this machine; name an image that has a shell: --image")
        files[f"bin/{program}"] = Path(found)
        for library in _libraries(found):
            files[str(library).lstrip("/")] = library
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, path in sorted(files.items()):
            tar.add(path.resolve(), arcname=name, filter=_anonymous)
    return target.getvalue()


def tag_of(packed: bytes) -> str:
    """Name the image by what is in it."""
    return f"scaler-bench:{hashlib.sha256(packed).hexdigest()[:16]}"


def _libraries(program: str) -> list[Path]:
    """Ask the loader; a program that is linked with nothing has none."""
    ldd = shutil.which("ldd")
    if ldd is None:
        raise RigError("ldd: not on this machine; name an image that has a shell: --image")
    asked = subprocess.run([ldd, program], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    return [Path(found[1]) for line in asked.stdout.splitlines() if (found := _LIBRARY.search(line))]


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Drop what would make the same files another archive."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755
    return info
