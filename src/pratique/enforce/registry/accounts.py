"""A users file and what a client showed in, who it is out: passwords are compared in constant time, and guessing is slow.

    # NAME:HASH[:KEY=VALUE;...]      made by `pratique gate registry user`
    alice:$scrypt$ln=15,r=8,p=1$...$...:groups=devs,oncall
    ci-7:$sha256$...:owner=alice

HASH is scrypt (RFC 7914) for a password; SHA-256 for a secret that this program made, which is too long to guess. A name with an
`owner` is a robot. `subject` is who it is to policies and grants, `unix:NAME` where nothing is said.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from pratique.model.errors import ConfigurationError, GrantError
from pratique.model.privilege import CERTIFICATE, PEER, Provider, Subject

if TYPE_CHECKING:
    import asyncio

MAX_FILE = 4 << 20  # tens of thousands of users
MAX_SECRET = 1024  # characters of a password that are looked at
SECRET_PREFIX = "pqr_"  # noqa: S105 - what made secrets begin with, so that scanners for secrets find them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUBJECT = re.compile(r"(?P<provider>[a-z0-9]+):(?P<id>[^\s:;,@][^\s:;,]{0,199})")
# scrypt with 32 MiB: some 80 ms of a core. RFC 7914 advises no less for what people type in.
_LOG_N, _R, _P = 15, 8, 1
_MAX_LOG_N = 18  # a line of the file must not ask for all memory
_MEMORY = 512 << 20
# Passwords checked at once, and waiting for it: each costs 32 MiB and 80 ms.
_AT_ONCE, MAX_WAITING = 2, 40
MAX_OF_ONE = 10  # of them from one address: whoever guesses from there keeps nobody else waiting
# Wrong passwords for one name within a minute; then it waits. Whoever has the right one cached is not locked out.
MAX_WRONG, _WRONG_SECONDS = 10, 60.0
_REMEMBER = 60.0  # seconds that a right password is known again, so that a push of twenty layers costs one hash
_LOOK = 1.0  # seconds between looks at the file


class Account(NamedTuple):
    """One line of the file; `mark` changes when the line does."""

    name: str
    hash: str
    subject: Subject
    mark: str


class TooManyError(GrantError):
    """Too many wrong passwords, or too many at once."""


class Accounts:
    """A users file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError for a file that is wrong, or that others may write."""
        self._path = path
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._wrong: dict[str, deque[float]] = {}
        self._key = secrets.token_bytes(32)
        self._turn: asyncio.Semaphore | None = None
        self._waiting: Counter[str] = Counter()
        self._seen = (0, 0)
        self._looked = 0.0
        self._accounts: dict[str, Account] = {}
        self._read()
        self._nobody = scrypt_hash(secrets.token_hex(16))

    def get(self, name: str) -> Account | None:
        """Return an account as the file has it now."""
        now = time.monotonic()
        if now - self._looked > _LOOK:
            try:
                self._read()
            except ConfigurationError:
                self._accounts = {}  # whom a broken file meant nobody can tell
        return self._accounts.get(name)

    async def verify(self, name: str, secret: str, address: str = "") -> Account | None:
        """Return whose password this is, None where it is wrong; `address` is where it came from. Raises TooManyError."""
        import asyncio

        account = self.get(name)
        known = hmac.digest(self._key, f"{account.mark if account else ''}\0{name}\0{secret}".encode(), "sha256")
        now = time.monotonic()
        if account is not None and now < self._known.get(known, 0.0):
            return account
        wrong = self._wrong.get(name, deque())
        while wrong and now - wrong[0] > _WRONG_SECONDS:
            wrong.popleft()
        if len(wrong) >= MAX_WRONG:
            raise TooManyError("too many wrong passwords: wait a minute")
        if sum(self._waiting.values()) >= MAX_WAITING or self._waiting[address] >= MAX_OF_ONE:
            raise TooManyError("too many passwords at once: wait a little")
        if self._turn is None:
            self._turn = asyncio.Semaphore(_AT_ONCE)
        self._waiting[address] += 1
        try:
            async with self._turn:  # who is unknown costs as much as who is known
                right = await asyncio.to_thread(matches, account.hash if account else self._nobody, secret)
        finally:
            self._waiting[address] -= 1
            self._waiting += Counter()  # forget addresses of which nobody waits
        if account is None or not right:
            self._failed(name, now)
            return None
        self._known[known] = now + _REMEMBER
        while len(self._known) > 1000:
            self._known.popitem(last=False)
        return account

    def _failed(self, name: str, now: float) -> None:
        self._wrong.setdefault(name, deque(maxlen=MAX_WRONG)).append(now)
        while len(self._wrong) > 1000:  # names that nobody has are tried, too
            self._wrong.pop(next(iter(self._wrong)))

    def _read(self) -> None:
        self._looked = time.monotonic()
        try:
            with self._path.open("rb") as file:
                seen = os.fstat(file.fileno())
                if seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or seen.st_uid not in (0, os.geteuid()):
                    raise ConfigurationError(f"{self._path}: others may write this file", hint=f"chmod 600 {self._path}")
                if self._seen == (seen.st_mtime_ns, seen.st_ino):
                    return
                content = file.read(MAX_FILE + 1)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror}") from None
        self._accounts = read_accounts(str(self._path), content)
        self._seen = (seen.st_mtime_ns, seen.st_ino)


def read_accounts(name: str, content: bytes) -> dict[str, Account]:
    """Read a users file. Raises ConfigurationError with FILE:LINE."""
    if len(content) > MAX_FILE:
        raise ConfigurationError(f"{name}: more than {MAX_FILE >> 20} MiB")
    found: dict[str, Account] = {}
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: not UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        account = _account(f"{name}:{number}", line.strip())
        if account.name in found:
            raise ConfigurationError(f"{name}:{number}: {account.name} comes twice")
        found[account.name] = account
    return found


def _account(where: str, line: str) -> Account:
    name, _, rest = line.partition(":")
    hashed, _, more = rest.partition(":")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{where}: {name[:40]!r} is no name")
    if not _is_hash(hashed):
        hint = "pratique gate registry user NAME makes such a line"
        raise ConfigurationError(f"{where}: {hashed[:10]!r}... is neither $scrypt$ nor $sha256$", hint=hint)
    said = dict(part.partition("=")[::2] for part in more.split(";") if part)
    if unknown := sorted(said.keys() - {"groups", "owner", "subject"}):
        raise ConfigurationError(f"{where}: {unknown[0][:40]!r} is none of groups, owner, subject")
    as_ = _SUBJECT.fullmatch(said.get("subject") or f"unix:{name}")
    if as_ is None or as_["provider"] not in get_args(Provider) or as_["provider"] == "claimed":
        raise ConfigurationError(f"{where}: subject is PROVIDER:ID, with unix, tls, oidc or k8s")
    owner = said.get("owner", "")
    subject = Subject(
        id=as_["id"],
        provider=as_["provider"],  # type: ignore[arg-type]  # one of Provider's words, as was just asked
        kind="robot" if owner else "human",
        groups=tuple(sorted(filter(None, said.get("groups", "").split(",")))),
        strength=CERTIFICATE if hashed.startswith("$sha256$") else PEER,
        owner=owner,
    )
    return Account(name, hashed, subject, hashlib.sha256(line.encode()).hexdigest())


def new_secret() -> str:
    """Return a secret that nobody guesses: 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def scrypt_hash(password: str) -> str:
    """Return the hash of a password, to be kept."""
    salt = secrets.token_bytes(16)
    hashed = hashlib.scrypt(password.encode(), salt=salt, n=1 << _LOG_N, r=_R, p=_P, maxmem=_MEMORY, dklen=32)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(hashed)}"


def secret_hash(secret: str) -> str:
    """Return the hash of a secret that `new_secret` made, to be kept."""
    return "$sha256$" + hashlib.sha256(secret.encode()).hexdigest()


def matches(hashed: str, secret: str) -> bool:
    """Say whether a secret is the one whose hash was kept. Takes the time of the hash, right or wrong."""
    if len(secret) > MAX_SECRET or not _is_hash(hashed):
        return False
    if hashed.startswith("$sha256$"):
        return hmac.compare_digest(secret_hash(secret), hashed)
    _, _, terms, salt, kept = hashed.split("$")
    said = dict(term.split("=") for term in terms.split(","))
    found = hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"), salt=_bytes(salt), n=1 << int(said["ln"]), r=int(said["r"]), p=int(said["p"]),
        maxmem=_MEMORY, dklen=32,
    )  # fmt: skip
    return hmac.compare_digest(found, _bytes(kept))


_SCRYPT = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=([1-9]|1[0-6]),p=([1-4])\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{43}")


def _is_hash(text: str) -> bool:
    if re.fullmatch(r"\$sha256\$[0-9a-f]{64}", text):
        return True
    found = _SCRYPT.fullmatch(text)
    if found is None or not 10 <= int(found[1]) <= _MAX_LOG_N:
        return False
    try:
        return bool(_bytes(text.split("$")[3]))
    except binascii.Error:
        return False


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
