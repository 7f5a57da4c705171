"""A file holds one idea, a function one thought."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.docs.tree import ROOT, files, sources

FILE_LINES = 400
TEST_FILE_LINES = 450
FUNCTION_LINES = 60


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def long_functions(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines")
    return found


def test_no_file_of_the_packages_has_more_than_400_lines() -> None:
    assert [f"{p.relative_to(ROOT)}: {lines(p)}" for p in sources() if lines(p) > FILE_LINES] == []


def test_no_test_file_has_more_than_450_lines() -> None:
    tests = files(".py", under="tests/")
    assert [f"{p.relative_to(ROOT)}: {lines(p)}" for p in tests if lines(p) > TEST_FILE_LINES] == []


def test_no_function_has_more_than_60_lines() -> None:
    assert [fault for path in files(".py") for fault in long_functions(path)] == []


def test_every_module_says_why_it_exists() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files(".py")
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_every_test_asserts_something() -> None:
    words = ("assert", "raises", "check_", "expect", "verify", "failing(")
    silent = []
    for path in files(".py", under="tests/"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if named and not any(word in (ast.get_source_segment(text, node) or "") for word in words):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert silent == []
