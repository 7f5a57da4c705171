"""What must not stand in a file that everybody gets: addresses of registries, paths of one machine, loose marks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from scaler import __version__
from tests.docs.tree import ROOT, files

HOSTS = {
    "example.com",
    "127.0.0.1",
    "localhost",
    "json-schema.org",  # names the dialect of our schemas
    "schemas.microsoft.com",  # a namespace of XML
    "www.w3.org",  # the same
    "keda.sh",
    "learn.microsoft.com",
    "keepachangelog.com",
    "semver.org",
}
"""Hosts that pages, settings and samples may name; nothing is ever fetched from one when the program is built."""

_HOST = re.compile(r"\bhttps?://(?:[^\s/@\"'`]*@)?([\w.-]+)")
_MARKS = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
_HOME = re.compile(r"(?<![\w.])/(?:home|Users|root|work|farm)/\w")
"""Folders under which people and machines keep their checkouts."""


def text_files() -> list[tuple[Path, str]]:
    found = []
    for path in files():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def is_known(host: str) -> bool:
    return host in HOSTS or host.endswith((".example.com", ".example", ".test")) or "." not in host


def test_no_file_for_people_or_tools_names_a_strange_host() -> None:
    strange = [
        f"{path.relative_to(ROOT)}: {host}"
        for path, text in text_files()
        if path.suffix != ".py"
        for host in _HOST.findall(text)
        if not is_known(host)
    ]
    assert strange == []


def test_the_pins_carry_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements" / "dev.txt").read_text()
    pins = re.findall(r"^[\w.\[\]-]+==[^\n]*(?:\n    [^\n#]*)*", text, re.MULTILINE)
    assert pins
    assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == []
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host", text) == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:80]}"
        for path, text in text_files()
        for line in text.splitlines()
        if (_HOME.search(line) or str(ROOT) + "/" in line) and path != Path(__file__).resolve()
    ]
    assert found == []


def test_no_file_holds_an_unfinished_mark() -> None:
    marked = [str(path.relative_to(ROOT)) for path, text in text_files() if _MARKS.search(text)]
    assert marked == []


def test_the_changelog_has_a_section_of_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[Unreleased\]$", text, re.MULTILINE) == ["## [Unreleased]"]


def test_the_version_is_told_once() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__
