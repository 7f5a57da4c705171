"""`${NAME}` and `${NAME:-default}` in texts; `$${` writes a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_FORM = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-[^}]*)?\}|\$\{")


class Unusable(Exception):
    """A reference cannot be filled in; the text says why, and shows no value."""


@dataclass(frozen=True, slots=True)
class Interpolated:
    """The finished text, and the texts within it that came from the environment."""

    text: str
    drawn: frozenset[str]


def interpolate(text: str, env: Mapping[str, str]) -> Interpolated:
    """Fill in variables. A default also stands in for a variable that is set to nothing.

    Raises:
        Unusable: a variable without default is not set, or the form is not known.
    """
    drawn: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, fallback = match["name"], match["fallback"]
        if name is None:
            raise Unusable("'${' without a name and '}'; write ${NAME}, or $${ for a literal '${'")
        value = env.get(name)
        if fallback is not None and not value:
            return str(fallback[2:])
        if value is None:
            raise Unusable(f"the variable {name} is not set; set it, or write ${{{name}:-default}}")
        drawn.add(value)
        return value

    return Interpolated(_FORM.sub(fill, text), frozenset(drawn))
