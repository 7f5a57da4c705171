"""Names a template by its content, so that two executions can be seen to have run the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from scaler.model.job import Template


def template_hash(template: Template) -> str:
    """Give `sha256:` and the hash of a template's content.

    What has its default is left out, so that a release which adds an option keeps the names of templates that
    do not use it.
    """
    text = json.dumps(_plain(template), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        told = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: _plain(one) for field, one in told if one != field.default}
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
