"""A variable's name and value in, whether it is a secret in the clear out."""

from __future__ import annotations

import re

MAX_VALUE = 16_384  # characters; a private key of 16,384 bits has some 12,000

_NAME = re.compile(
    r"(?:^|[_.-])(?:PASS|PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|SECRETS|TOKEN|API_?KEY|APIKEY|PRIVATE_?KEY|ACCESS_?KEY|ENCRYPTION_?KEY"
    r"|SIGNING_?KEY|SECRET_?KEY|CREDENTIALS?)(?:$|[_.-])|(?:PASSWORD|SECRET|TOKEN|APIKEY|PASSWD)$",
    re.IGNORECASE,
)
# Names that speak of a secret without being one: where it lies, how long it lasts, what it is called.
_ABOUT = re.compile(
    r"(?:^OLD|^)PWD$|(?:FILE|PATH|DIR|DIRECTORY|URL|URI|ENDPOINT|NAME|ID|TTL|EXPIRY|EXPIRATION|EXPIRES|LIFETIME|TIMEOUT|LENGTH|SIZE"
    r"|TYPE|ALGORITHM|HEADER|PREFIX|ENABLED|REQUIRED|POLICY|VERSION|ROTATION|INTERVAL|ISSUER|AUDIENCE|COUNT|MODE|PROVIDER|BACKEND"
    r"|STORE|MANAGER|ENGINE|DRIVER|REGION|HOST|PORT|REALM|SCOPE|FORMAT|METHOD|ENCODING|CHARSET|PATTERN|HINT|PROMPT|LABEL|KIND"
    r"|STRATEGY|SOURCE|LOCATION|MOUNT|SERVICE|SERVER)S?$"
    r"|PUBLIC|ALLOW_EMPTY|RANDOM",
    re.IGNORECASE,
)
# Forms that their issuers chose so that they can be recognised.
_FORM = re.compile(
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|sk_live_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{35}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|eyJ[A-Za-z0-9_-]{10,400}\.eyJ[A-Za-z0-9_-]{10}|dckr_pat_[A-Za-z0-9_-]{20,}"
)
_LOGIN = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}://[^\s/:@$]*:([^\s/@$]+)@")
_NOT_A_VALUE = re.compile(r"\$|<[^>]*>$|\{\{|/|\*+$|x+$|(?:true|false|yes|no|none|null|nil|undefined|0|1)$", re.IGNORECASE)


def names_secret(name: str) -> bool:
    """Say whether a variable of this name is meant to hold a secret."""
    return _NAME.search(name) is not None and _ABOUT.search(name) is None


def holds_secret(name: str, value: str) -> bool:
    """Say whether a value is a secret: by its form whatever the name, else by the name. References are none."""
    text = value[:MAX_VALUE].strip().strip("'\"")
    if _FORM.search(text) or _LOGIN.search(text):
        return True
    return bool(text) and names_secret(name) and _NOT_A_VALUE.match(text) is None
