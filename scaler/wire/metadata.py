"""Base of all scaler parameters: where a value may come from, and how its text is read.

Source of the rules: KEDA's typed scaler configuration (metadata, authentication, `<key>FromEnv`), as
observed on its own code. Left behind on purpose: unknown keys are refused instead of ignored, and a comma
list does not pass as one word of an enum.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from scaler.wire.faults import choice

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INT = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

_BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
"""Keys of pydantic's limits, worded."""


def _read_bool(value: object) -> object:
    if isinstance(value, str):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise ValueError(f"got '{value}'; write true or false")
    return value


_INT_DIGITS = 15
"""What a float holds exactly; no queue is longer."""


def _read_int(value: object) -> object:
    if isinstance(value, str):
        if not _INT.fullmatch(value):
            raise ValueError(f"got '{value}'; write a whole number")
        if len(value) > _INT_DIGITS:
            raise ValueError(f"got a number of {len(value)} digits; write one of at most {_INT_DIGITS}")
        return int(value)
    return value


def _read_float(value: object) -> object:
    if isinstance(value, str):
        if not _FLOAT.fullmatch(value) or float(value) in (float("inf"), float("-inf")):
            raise ValueError(f"got '{value}'; write a number such as 5 or 0.5")
        return float(value)
    return value


KedaBool = Annotated[bool, BeforeValidator(_read_bool)]
"""`true`/`false` in the spellings that KEDA takes."""
KedaInt = Annotated[int, BeforeValidator(_read_int)]
"""A whole number in JSON's syntax."""
KedaFloat = Annotated[float, BeforeValidator(_read_float)]
"""A number in JSON's syntax, finite."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a parameter may come from, in order: `M` metadata, `A` auth, `E` environment (`<key>FromEnv`)."""

    order: str = "M"


class TriggerMetadata(BaseModel):
    """Base of a scaler's parameters. Field names are snake_case, keys camelCase (or the field's alias).

    Annotate a field with `Sources("AME")` to say where it may come from; `M` alone is the default.
    Values arrive as trimmed strings; an empty one counts as not given.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
    )
    examples: ClassVar[Mapping[str, str]] = {}
    """A value for each parameter whose type does not tell one: see `example_of`."""
    free_keys: ClassVar[bool] = False
    """Whether keys that are no parameters are taken too; see `FreeMetadata`."""

    @classmethod
    def parameters(cls) -> dict[str, tuple[FieldInfo, Sources]]:
        """Every parameter by its key, with its field and its sources."""
        found: dict[str, tuple[FieldInfo, Sources]] = {}
        for info in cls.model_fields.values():
            sources = next((m for m in info.metadata if isinstance(m, Sources)), Sources())
            found[str(info.alias)] = (info, sources)
        return found


class FreeMetadata(TriggerMetadata):
    """Base for scalers that pass on keys they do not know themselves.

    Such keys come from metadata or from the environment (`<key>FromEnv`), never from auth. Their texts may
    be secrets, so they are kept as such. A key that differs from a parameter in upper and lower case only
    is refused as a slip.
    """

    model_config = ConfigDict(extra="allow")
    free_keys: ClassVar[bool] = True
    __pydantic_extra__: dict[str, SecretStr]

    @property
    def free(self) -> Mapping[str, SecretStr]:
        """The keys that are no parameters; what `<key>FromEnv` names is there as `<key>` and as itself."""
        return self.__pydantic_extra__ or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterFault:
    """One fault: the metadata key (or auth parameter) it stands at, and what to do."""

    key: str
    message: str
    in_auth: bool = False


def _clean(values: Mapping[str, str]) -> dict[str, str]:
    return {key: text.strip() for key, text in values.items() if text.strip()}


def resolve(
    model: type[TriggerMetadata],
    metadata: Mapping[str, str],
    auth: Mapping[str, str],
    env: Mapping[str, str],
) -> tuple[dict[str, str], tuple[ParameterFault, ...]]:
    """Pick each parameter's value from its sources and list keys that have no business here.

    The result maps keys to texts, for `model.model_validate`.
    """
    params = model.parameters()
    chosen: dict[str, str] = {}
    plain, given = _clean(metadata), _clean(auth)
    for key, (_info, sources) in params.items():
        for source in sources.order:
            if source == "M":
                text = plain.get(key)
            elif source == "A":
                text = given.get(key)
            else:
                text = env.get(plain.get(f"{key}FromEnv", ""), "").strip()
            if text:
                chosen[key] = text
                break
    if model.free_keys:
        chosen = _free(params, plain, env) | chosen
    return chosen, tuple(_key_faults(model, metadata, auth, env))


def _free(params: Mapping[str, object], plain: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """Give the keys that are no parameters; a plain one wins over its `<key>FromEnv`."""
    named = {key: env.get(text, "") for key, text in plain.items() if key.endswith("FromEnv")}
    short = {key.removesuffix("FromEnv"): text for key, text in named.items()}
    found = {**_clean(short), **plain, **named}
    return _clean({key: text for key, text in found.items() if key.removesuffix("FromEnv") not in params})


def _key_faults(
    model: type[TriggerMetadata],
    metadata: Mapping[str, str],
    auth: Mapping[str, str],
    env: Mapping[str, str],
) -> list[ParameterFault]:
    params = model.parameters()
    faults = [
        ParameterFault(key=key, message=message)
        for key, text in metadata.items()
        if (message := _key_fault(model, params, key, text, env)) is not None
    ]
    for key in auth:
        if key not in params:
            faults.append(ParameterFault(key=key, message=_unknown(key, params), in_auth=True))
        elif "A" not in params[key][1].order:
            message = "not an auth parameter; give it in metadata"
            faults.append(ParameterFault(key=key, message=message, in_auth=True))
    return faults


def _key_fault(
    model: type[TriggerMetadata],
    params: Mapping[str, tuple[FieldInfo, Sources]],
    key: str,
    text: str,
    env: Mapping[str, str],
) -> str | None:
    """Say what is wrong with a key of metadata, if anything."""
    base = key.removesuffix("FromEnv")
    if key in params:
        return None if "M" in params[key][1].order else "not allowed in metadata; give it by auth"
    if base != key and _is_readable(model, params, base):
        hint = "name one that the container's env declares"
        return None if text.strip() in env else f"no variable '{text}'; {hint}"
    if not model.free_keys or base in params:
        return _unknown(key, params)
    slip = _slip(base, params)
    return None if slip is None else f"unknown key; did you mean '{slip}'?"


def _is_readable(
    model: type[TriggerMetadata], params: Mapping[str, tuple[FieldInfo, Sources]], base: str
) -> bool:
    """Whether `<base>FromEnv` is allowed."""
    if base in params:
        return "E" in params[base][1].order
    return model.free_keys and _slip(base, params) is None


def _slip(key: str, params: Mapping[str, object]) -> str | None:
    """Give the parameter that `key` is, but for upper and lower case."""
    return next((known for known in params if known.lower() == key.lower()), None)


def _unknown(key: str, params: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, params, n=1)
    return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"


def validate(
    model: type[TriggerMetadata],
    metadata: Mapping[str, str],
    auth: Mapping[str, str],
    env: Mapping[str, str],
) -> tuple[TriggerMetadata | None, tuple[ParameterFault, ...]]:
    """Build the parameters, or say everything that is wrong with them."""
    chosen, faults = resolve(model, metadata, auth, env)
    try:
        built = model.model_validate(chosen)
    except ValidationError as exc:
        more = tuple(_fault(error, metadata, auth) for error in exc.errors(include_url=False))
        return None, faults + more
    return (None if faults else built), faults


def _fault(error: Any, metadata: Mapping[str, str], auth: Mapping[str, str]) -> ParameterFault:
    key = str(error["loc"][0]) if error["loc"] else ""
    return ParameterFault(key=key, message=_reworded(error), in_auth=key in auth and key not in metadata)


def _reworded(error: Any) -> str:
    """Word an error of pydantic's as ours are: what was got, what to do."""
    if error["type"] == "missing":
        return "missing"
    if error["type"] in ("enum", "literal_error"):
        return choice(error["input"], error["ctx"]["expected"])
    bounds = [(error.get("ctx", {}).get(kind), text) for kind, text in _BOUNDS.items()]
    bound = next((f"{text} {value:g}" for value, text in bounds if value is not None), None)
    if bound is not None and isinstance(error["input"], int | float | str):
        return f"got '{error['input']}'; write a number {bound}"
    return str(error["msg"]).removeprefix("Value error, ")


def example_of(model: type[TriggerMetadata], key: str) -> str:
    """Give a value as one would write it: the model's own, or one that the type tells.

    A choice is shown by one that is not the default, for the default need not be written.
    """
    if key in model.examples:
        return model.examples[key]
    info, sources = model.parameters()[key]
    kinds = (info.annotation, *get_args(info.annotation))
    if bool in kinds:
        return "false" if info.default is True else "true"
    if int in kinds or float in kinds:
        return f"{info.default or 5:g}" if isinstance(info.default, int | float) else "5"
    choices = [
        str(kind)
        for kind in (*_members(info.annotation), *get_args(info.annotation))
        if isinstance(kind, str)
    ]
    if choices:
        return next((choice for choice in choices if choice != str(info.default)), choices[0])
    is_secret = SecretStr in kinds or sources.order == "A"
    return "(a secret)" if is_secret else "(text)"


def _members(kind: object) -> tuple[object, ...]:
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def describe(model: type[TriggerMetadata]) -> list[dict[str, str]]:
    """Describe each parameter for people: key, sources, default, required, example, help."""
    names = {"M": "metadata", "A": "auth", "E": "environment"}
    rows = []
    for key, (info, sources) in model.parameters().items():
        default = "" if info.is_required() or info.default is None else info.default
        rows.append(
            {
                "parameter": key,
                "from": ", ".join(names[s] for s in sources.order),
                "default": "required" if info.is_required() else json.dumps(default, default=str),
                "example": example_of(model, key),
                "description": info.description or "",
            }
        )
    return rows


__all__ = [
    "FreeMetadata",
    "KedaBool",
    "KedaFloat",
    "KedaInt",
    "ParameterFault",
    "SecretStr",
    "Sources",
    "TriggerMetadata",
    "describe",
    "example_of",
    "resolve",
    "validate",
]
