"""The reference pages name every key that can be written, and the samples in them are good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from scaler.config.settings_wire import SettingsWire
from scaler.wire.job import JobWire

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def _rows(schema: dict[str, object]) -> Iterator[tuple[str, str]]:
    definitions = schema.get("$defs", {})
    assert isinstance(definitions, dict)
    for definition in [schema, *definitions.values()]:
        for key, value in definition.get("properties", {}).items():
            yield key, value.get("description", "")


@pytest.mark.parametrize(("page", "model"), [("job-file.md", JobWire), ("settings.md", SettingsWire)])
def test_every_key_has_its_row_with_its_own_words(page: str, model: type[BaseModel]) -> None:
    rows = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    schema = model.model_json_schema(by_alias=True)
    missing = [
        key
        for key, text in _rows(schema)
        if not any(row.startswith(f"| `{key}` |") and row.endswith(f"{text} |") for row in rows)
    ]
    assert missing == []
