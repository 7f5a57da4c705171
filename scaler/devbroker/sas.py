"""Checks shared access signatures, the tokens a connection string's key makes.

Signature: base64(HMAC-SHA256(key, quote_plus(sr) + newline + se)); the token's own `sr` is signed, so
the broker may be reached under any host name.
"""

import base64
import hashlib
import hmac
import re
from urllib.parse import parse_qs, quote_plus

_AUTHORITY = re.compile(r"^[a-z]+://[^/]*/?")


class TokenError(Exception):
    """Raise when a token is not signed with the broker's key, or is out of date."""


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
