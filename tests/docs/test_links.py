"""Links between pages lead somewhere, and tests named in pages exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.tree import ROOT, files, pages, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"`(test_\w+)`")
_FILE = re.compile(r"`((?:scaler|executors|tests|config|compose|docs|requirements)/[\w./-]*\w\.\w+)`")


def anchors(page: Path) -> set[str]:
    """Give the names by which the headings of a page are linked."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    found = []
    for target in _LINK.findall(prose(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            found.append(f"{page.relative_to(ROOT)}: {target}")
    return found


def test_every_link_between_pages_leads_somewhere() -> None:
    assert [link for page in pages() for link in broken(page)] == []


def test_every_test_that_a_page_names_exists() -> None:
    known = {
        name
        for path in files(".py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    } | {path.stem for path in files(".py")}
    named = {(name, str(page.relative_to(ROOT))) for page in pages() for name in _TEST.findall(prose(page))}
    assert sorted(entry for entry in named if entry[0] not in known) == []


def test_every_file_that_a_page_names_exists() -> None:
    named = {(name, str(page.relative_to(ROOT))) for page in pages() for name in _FILE.findall(prose(page))}
    assert sorted(entry for entry in named if not (ROOT / entry[0]).exists()) == []
