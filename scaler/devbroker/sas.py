"""Checks shared access signatures, the tokens a connection string's key makes.

Signature: base64(HMAC-SHA256(key, quote_plus(sr) + newline + se)); the token's own `sr` is signed, so
the broker may be reached under any host name.
"""

import base64
import hashlib
import hmac
import math
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote_plus

_AUTHORITY = re.compile(r"^[a-z]+://[^/]*/?")


class TokenError(Exception):
    """Raise when a token is not signed with the broker's key, or is out of date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a good token allows: until when (seconds since 1970), and whether more than receiving and peeking."""

    end: float
    may_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of the broker's two policies.

    Attributes:
        manage: of the policy that may do everything; None takes any token that `listen` did not sign.
        listen: of the policy that may only receive and peek; None: there is no such policy.
    """

    manage: str | None = field(default=None, repr=False)
    listen: str | None = field(default=None, repr=False)

    @property
    def takes_any(self) -> bool:
        """Whether no token is needed."""
        return self.manage is None and self.listen is None

    def grant(self, token: str, now: float) -> Grant:
        """Check a token.

        Raises:
            TokenError: none of the keys signed it, or it has expired.
        """
        if self.listen is not None:
            try:
                return Grant(end=check_token(token, self.listen, now), may_all=False)
            except TokenError:
                pass  # perhaps the other key's
        if self.manage is None:
            return Grant(end=math.inf, may_all=True)
        return Grant(end=check_token(token, self.manage, now), may_all=True)


def check_token(token: str, key: str, now: float) -> int:
    """Check a token and give its end, seconds since 1970.

    Raises:
        TokenError: The signature is wrong, the token has expired, or it is no token at all.
    """
    fields = {name: values[0] for name, values in parse_qs(token.partition(" ")[2]).items()}
    signed = f"{quote_plus(fields.get('sr', ''))}\n{fields.get('se')}".encode()
    wanted = base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest())
    if not hmac.compare_digest(wanted, fields.get("sig", "").encode()):
        raise TokenError("InvalidSignature: The token has an invalid signature.")
    expiry = fields.get("se", "")
    if not expiry.isdecimal() or len(expiry) > 12 or int(expiry) < now:
        raise TokenError("ExpiredToken: The token is expired.")
    return int(expiry)


def audience_path(audience: str) -> str:
    """Give the entity path a token's audience names, lower case: `sb://host/Jobs` is `jobs`."""
    return _AUTHORITY.sub("", audience.lower()).strip("/")
