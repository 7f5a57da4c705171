"""The schemas are current, and every example loads and passes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scaler.config.load import load_paths
from scaler.config.schema import main, schema_files
from scaler.config.source import read_documents

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted((CONFIG / "examples").glob("*.yaml"))
ENV = {
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=store;AccountKey=Zm9v;"
    "EndpointSuffix=core.windows.net",
    "SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://localhost/;SharedAccessKeyName=Root;SharedAccessKey=Zm9vYmFy",
    "RABBITMQ_MANAGEMENT_URL": "http://guest:guest@localhost:15672/",
}
JOBS = {
    "azure-queue": ["thumbnails"],
    "kafka": ["parcels"],
    "manual": ["backfill"],
    "many": ["weekday-ping", "clean-up"],
    "rabbitmq-docker": ["orders"],
    "rabbitmq-http": ["mail"],
    "schedule": ["nightly-report"],
    "sidecar": ["report"],
    "servicebus-process": ["invoices"],
}


def _raw(file: Path) -> list[Any]:
    """Give a file's values as an editor sees them: numbers as numbers, variables not filled in."""
    text = re.sub(r"\$\{", "$${", file.read_text().replace("$${", "${"))
    documents, _broken = read_documents(text, {}, numbers=True)
    return [document.value for document in documents]


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((CONFIG / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_schema_files_are_current() -> None:
    stale = [name for name, text in schema_files().items() if (CONFIG / name).read_text() != text]
    assert stale == [], "run: python -m scaler.config.schema"


def test_the_generator_writes_both_files(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scaler.schema.json", "settings.schema.json"]


def test_every_example_loads() -> None:
    result = load_paths([CONFIG / "examples"], env=ENV)
    assert [str(fault) for fault in (*result.faults, *result.warnings)] == []
    names: dict[str, list[str]] = {}
    for loaded in result.jobs:
        names.setdefault(Path(loaded.file).stem, []).append(loaded.job.name)
    assert names == JOBS


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_passes_the_schema_and_names_it(file: Path) -> None:
    documents = _raw(file)
    assert [
        error.message for doc in documents for error in _validator("scaler.schema.json").iter_errors(doc)
    ] == []
    first = file.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../scaler.schema.json"


def test_the_sample_settings_pass_their_schema() -> None:
    (value,) = _raw(CONFIG / "scaler.yaml")
    assert [error.message for error in _validator("settings.schema.json").iter_errors(value)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pollingInterval", "polingInterval"),
        ("queueName", "queueNam"),
        ("triggerType: Event", "triggerType: Evnt"),
        ("replicaTimeout: 600", "replicaTimeout: 0"),
        ("name: orders\n", "nam: orders\n"),
        ("executor: docker", "executors: docker"),
        ("memory: 0.5Gi", "memory: 0.5GB"),
    ],
)
def test_the_schema_refuses_common_slips(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text((CONFIG / "examples" / "rabbitmq-docker.yaml").read_text().replace(old, new, 1))
    (value,) = _raw(file)
    assert not _validator("scaler.schema.json").is_valid(value)
