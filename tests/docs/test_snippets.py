"""What a page shows can be done: job files load, settings load, commands and targets exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from scaler.cli.main import cli
from scaler.config.load import load_paths
from scaler.config.settings import load_settings
from tests.docs.tree import ROOT, Block, blocks

ENV = {
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9v;"
    "EndpointSuffix=core.windows.net",
    "SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://localhost/;SharedAccessKeyName=Root;SharedAccessKey=Zm9v",
    "RABBITMQ_URL": "amqp://guest:guest@localhost:5672/",
    "RABBITMQ_MANAGEMENT_URL": "http://guest:guest@localhost:15672/",
    "SCALER_TOKEN": "token",
}
YAML = list(blocks("yaml"))
JOBS = [block for block in YAML if re.search(r"^name: ", block.text, re.MULTILINE)]
SETTINGS = [
    block for block in YAML if re.match(r"(stateDir|listen|executors|history|limits|log):", block.text)
]
SHELL = list(blocks("sh", "shell", "bash", "console"))


def ids(found: list[Block]) -> list[str]:
    return [block.where for block in found]


def words_of(block: Block, program: str) -> list[list[str]]:
    """Give the words of each line that runs a program, as a shell would split them."""
    text = block.text.replace("\\\n", " ")
    lines = [line.removeprefix("$ ").removeprefix(".venv/bin/").strip() for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("block", JOBS, ids=ids(JOBS))
def test_a_job_file_of_a_page_loads(block: Block, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(block.text)
    for name in re.findall(r"^ +file: (\S+)", block.text, re.MULTILINE):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    result = load_paths([tmp_path], env=ENV, executor_settings={"docker": {"allowedMounts": ["/srv"]}})
    assert [str(fault) for fault in result.faults] == []
    assert len(result.jobs) >= 1


@pytest.mark.parametrize("block", SETTINGS, ids=ids(SETTINGS))
def test_settings_of_a_page_load(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "scaler.yaml"
    path.write_text(block.text)
    assert load_settings(path, env=ENV).state_dir.is_absolute()


def test_job_files_and_settings_are_shown_at_all() -> None:
    assert len(JOBS) >= 5
    assert SETTINGS


def fault_of(words: list[str]) -> str | None:
    """Say what is wrong with a command line, up to the first thing that is no command."""
    command: click.Command = cli
    rest = words[1:]
    known = {opt for param in cli.params for opt in param.opts}
    while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return f"no command '{rest[0]}'"
        command, rest = found, rest[1:]
        known |= {opt for param in command.params for opt in param.opts}
    known |= set(command.get_help_option_names(click.Context(command)))
    strange = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]
    return f"no option {strange}" if strange else None


@pytest.mark.parametrize("block", SHELL, ids=ids(SHELL))
def test_every_command_of_a_page_exists(block: Block) -> None:
    assert [(words, fault) for words in words_of(block, "scaler") if (fault := fault_of(words))] == []


@pytest.mark.parametrize("block", SHELL, ids=ids(SHELL))
def test_every_make_target_of_a_page_exists(block: Block) -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for words in words_of(block, "make") for word in words[1:] if "=" not in word}
    assert asked - targets == set()


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    names = cli.list_commands(click.Context(cli))
    assert [name for name in names if f"`scaler {name}" not in readme] == []
