"""Characters that no program can be given, wherever a text of a job comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scaler.wire.faults import Path, WireFault

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL ends every text of the system; lone surrogates stand for bytes of a variable that are not UTF-8."""


def unusable(text: str) -> str | None:
    """Say which character of a text has to go, and None if all may stay."""
    odd = _UNUSABLE.search(text)
    return (
        f"holds the character U+{ord(odd[0]):04X}, which no program can be given; remove it" if odd else None
    )


def unusable_in(value: object, path: Path = ()) -> Iterator[WireFault]:
    """Find such texts in a document, keys included."""
    if isinstance(value, str) and (message := unusable(value)):
        yield WireFault(path=path, message=message)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unusable_in(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if message := unusable(str(key)):
                yield WireFault(path=path, message=f"a key {message}", at_key=True)
            else:
                yield from unusable_in(item, (*path, str(key)))
