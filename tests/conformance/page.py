"""Writes the table for people; `python -m tests.conformance.page` renews the page."""

from __future__ import annotations

from collections import Counter

from tests.conformance import rows_executions, rows_job, rows_pods, rows_template, rows_trigger
from tests.conformance.table import ROWS, Row, Verdict
from tests.docs.tree import ROOT

PAGE = ROOT / "docs" / "reference" / "conformance.md"
SECTIONS = {
    "1": "The job resource",
    "1.1": "Configuration",
    "1.2": "Secrets and registries",
    "1.3": "Template",
    "1.4": "Names",
    "2": "Executions",
}
MODULES = (rows_job, rows_trigger, rows_template, rows_pods, rows_executions)
_HEAD = """\
# Conformance with Container Apps jobs

What Microsoft's service says of jobs and executions, a sentence a row, and how Scaler stands to it. This page is
written from the table of `tests/conformance`, where each row but those marked *cannot be observed* is a test; rows with
executors run on each that is named.

"""


def _on(one: Row) -> str:
    return ", ".join(one.executors) or "—"


def _why(one: Row) -> str:
    return f"`{one.why}`" if one.verdict is Verdict.ELSEWHERE else one.why


def page() -> str:
    """Write the page."""
    counts = Counter(one.verdict for one in ROWS)
    said = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    parts = [_HEAD, f"{len(ROWS)} sentences: {said}.\n"]
    for section, title in SECTIONS.items():
        parts.append(f"\n## {title}\n\n| the service | here | executors | |\n| --- | --- | --- | --- |\n")
        parts += [
            f"| {one.sentence} | {one.verdict.value} | {_on(one)} | {_why(one)} |\n"
            for one in ROWS
            if one.section == section
        ]
    return "".join(parts)


def main() -> None:
    """Renew the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
