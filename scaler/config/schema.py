"""Generates the JSON Schemas of job files and settings: completion and checks in editors while typing.

`python -m scaler.config.schema` writes them into `config/`; a test fails if they are out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from scaler.config.settings_wire import SettingsWire
from scaler.plugins import SCALERS
from scaler.wire.job import HOISTED, JobWire
from scaler.wire.metadata import TriggerMetadata

FOLDER = Path("config")
JOB_SCHEMA_FILE = "scaler.schema.json"
SETTINGS_SCHEMA_FILE = "settings.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALAR = {"type": ["string", "number", "boolean", "null"]}


def job_schema() -> dict[str, Any]:
    """Make the schema of one job document."""
    schema = JobWire.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    for definition in definitions.values():
        _allow_null(definition)
        if "enum" not in definition:
            definition.pop("title", None)
    _allow_null(schema)
    inner = definitions["PropertiesWire"]
    for key in HOISTED:
        schema["properties"][key] = inner["properties"][key]
    inner.pop("required", None)
    schema["required"] = ["name"]
    schema["anyOf"] = [
        {"required": ["properties"]},
        {"required": ["configuration", "template"]},
    ]
    rule = definitions["RuleWire"]
    rule["properties"]["type"] = {"type": "string", "examples": SCALERS.known()}
    rule["allOf"] = [_rule_schema(name) for name in SCALERS.known()]
    return {
        "$schema": _DIALECT,
        "title": "Container Apps job of the queue scaler",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _allow_null(definition: dict[str, Any]) -> None:
    """Let every optional member be null, which means absent."""
    required = definition.get("required", [])
    for key, value in definition.get("properties", {}).items():
        value.pop("title", None)
        if key in required or {"type": "null"} in value.get("anyOf", []):
            continue
        described = {name: value.pop(name) for name in ("description", "default") if name in value}
        definition["properties"][key] = {"anyOf": [value, {"type": "null"}], **described}


def _rule_schema(name: str) -> dict[str, Any]:
    model: type[TriggerMetadata] = SCALERS.load(name).metadata
    keys: dict[str, Any] = {}
    for key, (info, sources) in model.parameters().items():
        text = info.description or ""
        if "M" in sources.order:
            keys[key] = {**_SCALAR, **({"description": text} if text else {})}
        if "E" in sources.order:
            keys[f"{key}FromEnv"] = {
                **_SCALAR,
                "description": f"variable of the container that holds {key}",
            }
    others: Any = _SCALAR if model.free_keys else False
    metadata = {"type": "object", "properties": keys, "additionalProperties": others}
    condition = {"properties": {"type": {"const": name}}, "required": ["type"]}
    return {"if": condition, "then": {"properties": {"metadata": metadata}}}


def settings_schema() -> dict[str, Any]:
    """Make the schema of the daemon's settings file."""
    schema = SettingsWire.model_json_schema(by_alias=True)
    for definition in [schema, *schema["$defs"].values()]:
        _allow_null(definition)
    return {
        "$schema": _DIALECT,
        **schema,
        "title": "Settings of the queue scaler",
    }


def schema_files() -> dict[str, str]:
    """Write both schemas as they stand in their files, by file name."""
    schemas = {JOB_SCHEMA_FILE: job_schema(), SETTINGS_SCHEMA_FILE: settings_schema()}
    return {name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


def main(arguments: list[str]) -> int:
    """Write the schema files into `config`, or into the folder named."""
    folder = Path(arguments[0]) if arguments else FOLDER
    for name, text in schema_files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
