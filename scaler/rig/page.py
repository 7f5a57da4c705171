"""One page of HTML that needs nothing else: what every report is written on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #66707c; --paper: #fff; --line: #d8dde3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #9aa4b1; --paper: #15181c; --line: #343b44; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .4rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
.text td { white-space: normal; }
.scroll { overflow-x: auto; } .note { color: var(--dim); } .bad { color: #c62f2f; font-weight: 600; }
svg { width: 100%; height: auto; margin-top: 1rem; } svg text { fill: var(--ink); font-size: 12px; }
svg .title { font-weight: 600; } svg .axis { fill: var(--dim); font-size: 11px; } svg .grid { stroke: var(--line); }
"""


def page(title: str, heading: str, parts: Iterable[str]) -> str:
    """Write a page; `parts` are HTML, the other two are text."""
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(heading)}</h1>",
        *parts,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"
