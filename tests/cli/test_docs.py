"""The reference pages say what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from scaler.api.app import ROUTES
from scaler.cli.main import COMMANDS, cli
from scaler.model.audit import AuditAction
from tests.cli.help_page import ELSEWHERE, MARK, PAGE, commands, help_text

API_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def plain_path(path: str) -> str:
    return re.sub(r"\{_\d:\(\?i:([^)]*)\)\}", r"\1", path).replace("[.]", ".")


def test_the_page_holds_each_commands_help() -> None:
    assert PAGE.read_text().split(MARK)[1] == f"\n\n{help_text()}"


def test_every_command_of_the_tree_exists_and_has_a_text() -> None:
    names = {" ".join(path) for path in commands(cli)}
    assert set(COMMANDS) - ELSEWHERE <= names
    assert [name for name, (_where, text) in COMMANDS.items() if not text.endswith(".")] == []


def test_the_api_page_names_every_action_of_the_audit_and_no_other() -> None:
    page = API_PAGE.read_text().split("| `action` | what |")[1].split("##")[0]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert re.findall(r"`([a-z.]+)`", " ".join(rows)) != []
    assert set(re.findall(r"`([a-z.]+)`", " ".join(rows))) == {action.value for action in AuditAction}


def test_the_api_page_names_every_route() -> None:
    page = API_PAGE.read_text()
    missing = [
        f"{r.method} {plain_path(r.path)}" for r in ROUTES if f"`{r.method} {plain_path(r.path)}`" not in page
    ]
    assert missing == []
