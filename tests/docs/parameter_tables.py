"""Writes the tables of parameters on the scalers' pages; `python -m tests.docs.parameter_tables` renews them."""

from __future__ import annotations

from scaler.plugins import SCALERS
from scaler.wire.metadata import describe
from tests.docs.tree import ROOT

PAGES = ROOT / "docs" / "scalers"
MARKS = ("<!-- parameters -->\n", "<!-- /parameters -->")


def table(name: str) -> str:
    """Write the table of a scaler's parameters as its page must have it."""
    rows = [
        f"| `{row['parameter']}` | {row['from']} | {row['default']} | `{row['example']}` | {row['description']} |"
        for row in describe(SCALERS.load(name).metadata)
    ]
    head = [
        "| parameter | from | default | example | description |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"


def main() -> None:
    """Renew the table of every page; what stands around the marks is kept."""
    for name in SCALERS.known():
        page = PAGES / f"{name}.md"
        before, mark, rest = page.read_text().partition(MARKS[0])
        page.write_text(f"{before}{mark}{table(name)}{MARKS[1]}{rest.partition(MARKS[1])[2]}")


if __name__ == "__main__":
    main()
