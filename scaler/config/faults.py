"""One fault of a file, as people read it, with every secret masked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from scaler.wire.faults import Path

MASK = "***"
_SHORT = 8
"""Below so many characters only whole words are masked: a secret such as `user` stands in many words."""
_TELLING = 12
"""From how many characters on a piece of a secret is taken for the secret."""
_USERINFO = re.compile(r"(?<=://)[^/\s@']+(?=@)")
_KEY = re.compile(r"((?:key|signature|password|secret|token)=)[^;&\s']+", re.IGNORECASE)
_KEY_WORDS = (
    "UseDevelopmentEmulator",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "DefaultEndpointsProtocol",
    "EndpointSuffix",
    "QueueEndpoint",
    "AccountName",
    "AccountKey",
    "EntityPath",
)
_PART = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: where, what was got, what to do.

    Attributes:
        file: the file's path, as the user gave it.
        line, column: from 1; 0 if the fault is the file itself.
        where: path within the document, or ''.
        message: one line, no secrets.
        job: name of the job it belongs to, if it could be read; None: any job of the file.
    """

    file: str
    line: int = 0
    column: int = 0
    where: str = ""
    message: str
    job: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return printable(": ".join(part for part in (place, self.where, self.message) if part))


def printable(text: str) -> str:
    """Spell out what would break a line, steer a terminal or cannot be written at all."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def parse_where(text: str) -> Path:
    """Read a path that `where` wrote."""
    return tuple(int(index) if index else key for key, index in _PART.findall(text))


def mask(message: str, secrets: Iterable[str]) -> str:
    """Replace every secret, and every telling piece of one, by stars; keep the message on one line.

    Credentials in addresses and connection strings are recognised without being declared. The key words of
    connection strings stay readable: they are no part of what is secret.
    """
    longest_first = sorted({s.strip() for s in secrets if s.strip()}, key=len, reverse=True)
    for secret in longest_first:
        if len(secret) < _SHORT:
            message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, message)
        else:
            message = message.replace(secret, MASK)
    for number, word in enumerate(_KEY_WORDS):
        message = message.replace(word, f"\0{number}\0")
    for secret in longest_first:
        message = _mask_pieces(message, secret)
    for number, word in enumerate(_KEY_WORDS):
        message = message.replace(f"\0{number}\0", word)
    message = _KEY.sub(rf"\1{MASK}", _USERINFO.sub(MASK, message))
    return " ".join(message.split())


def _mask_pieces(message: str, secret: str) -> str:
    """Replace every piece of a secret that is long enough to tell."""
    while len(secret) > _TELLING:
        match = SequenceMatcher(None, message, secret, autojunk=False).find_longest_match()
        if match.size < _TELLING:
            break
        message = message[: match.a] + MASK + message[match.a + match.size :]
    return message
