"""The files that are checked: those that version control knows or would take."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("scaler", "executors")
_FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


@cache
def files(*suffixes: str, under: str = "") -> tuple[Path, ...]:
    """List files by suffix (all without one), ignored ones left out."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "-C",
        str(ROOT),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    paths = [ROOT / name for name in listed.split("\0") if name.startswith(under)]
    return tuple(sorted(p for p in paths if p.is_file() and (not suffixes or p.suffix in suffixes)))


def sources() -> tuple[Path, ...]:
    """List the modules of both packages."""
    return tuple(p for p in files(".py") if p.relative_to(ROOT).parts[0] in PACKAGES)


def pages() -> tuple[Path, ...]:
    """List the pages for people."""
    return files(".md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of a page, its indentation taken off."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """Say where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> Iterator[Block]:
    """Give the fenced blocks of all pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            indent, language, body = found.groups()
            if language in languages:
                body = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
                line = text.count("\n", 0, found.start()) + 1
                yield Block(page=page, line=line, language=language, text=body)


def prose(page: Path) -> str:
    """Give a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
