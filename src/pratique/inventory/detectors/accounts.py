"""passwd, shadow, group and gshadow in, who is there and whether a password opens the account out. No hash leaves this module.

https://man7.org/linux/man-pages/man5/passwd.5.html, shadow.5.html, group.5.html, gshadow.5.html; of hashes
https://man7.org/linux/man-pages/man5/crypt.5.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from pratique.model.inventory import Account, AccountsEvidence, CredentialKind, Gap
from pratique.model.ports import File, Interest

MAX_BYTES = 4 << 20  # the largest passwd of a directory that was written out had some 100,000 lines of 40 bytes
MAX_ENTRIES = 20_000  # of one file; an image has some thirty
MAX_NAME = 64  # characters kept; Linux allows 32
MAX_SHELL = 128

# The fields that a line must have before anything reads it as one: up to the number, or up to the password.
_FEWEST = {"passwd": 4, "shadow": 2, "group": 3, "gshadow": 2}
_NUMBERED = frozenset(("passwd", "group"))
_SHELL = 6
# Traditional DES has 13 characters of this alphabet, BSDi's 20 that begin with _; MD5, SHA-1, Sun's and NT's name themselves.
_DES = re.compile(rb"[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}")
_WEAK = (b"$1$", b"$md5", b"$sha1", b"$3$")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_RANGE = 1 << 32  # of a number: musl's getpwnam lets larger ones run over, so that 4294967296 is root


class Accounts:
    """Inspects the files that decide who is who."""

    name = "accounts"
    version = 1
    interest = Interest(paths=tuple(f"etc/{name}" for name in _FEWEST), max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[AccountsEvidence | Gap]:
        """Yield what the file says; a file without a single account is one, too."""
        for known in ("passwd", "shadow", "group", "gshadow"):
            if file.path == f"etc/{known}":
                found = tuple(itertools.islice(_entries(known, file.read()), MAX_ENTRIES + 1))
                yield AccountsEvidence(file=known, mode=file.mode & 0o7777, entries=found[:MAX_ENTRIES])
                if len(found) > MAX_ENTRIES:
                    message = f"more than {MAX_ENTRIES} accounts; the others were not looked at"
                    yield Gap(code="inventory.too-many", message=message, path=file.path)


def _entries(file: str, content: bytes) -> Iterator[Account]:
    for number, line in enumerate(content.split(b"\n"), 1):
        fields = line.rstrip(b"\r").split(b":")
        name = fields[0]
        if len(fields) < _FEWEST[file] or not name or name[:1] in (b"#", b"+", b"-"):  # remarks, and what NIS adds and takes away
            continue
        password = fields[1]
        yield Account(
            name=_text(name, MAX_NAME),
            line=number,
            credential="none" if file in ("group", "gshadow") and not password else _kind(password),
            locked=password[:1] in (b"!", b"*"),
            number=_number(fields[2]) if file in _NUMBERED else -1,
            shell=_text(fields[_SHELL], MAX_SHELL) if file == "passwd" and len(fields) > _SHELL else "",
        )


def _kind(password: bytes) -> CredentialKind:
    """Tell what a password field is. What is no hash that crypt makes (x, *, !, *NP*) matches no password at all."""
    if not password:
        return "empty"
    if _DES.fullmatch(password) or password.startswith(_WEAK):
        return "weak"
    return "set" if password.startswith(b"$") and password.count(b"$") > 1 else "none"


def _number(field: bytes) -> int:
    return int(field) % _RANGE if _NUMBER.fullmatch(field) else -1


def _text(field: bytes, most: int) -> str:
    return field[:most].decode("utf-8", "backslashreplace")


INSPECTOR = Accounts()
