"""A request for a token in, a token for what may be done at this moment out.

https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/. What somebody may not do is left out of the token, as
the protocol has it; the proxy, which is asked next, says why. A token for a change lives no longer than the grant behind it.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from pratique.enforce.registry.access import SCANNER, Change, Doorman
from pratique.enforce.registry.accounts import Account, Accounts
from pratique.enforce.registry.routes import is_repository
from pratique.enforce.registry.tokens import REFRESH_SECONDS, SECONDS, Access, Signer, TokenError, Tokens
from pratique.enforce.serving import Answer
from pratique.grant.request import key
from pratique.model.errors import GrantError, ParseError
from pratique.model.privilege import CERTIFICATE, Decision, Subject

MAX_SCOPES = 32  # of one request: a push that mounts layers from other repositories names some ten
MAX_BODY = 16 << 10  # bytes of a form
_SCOPE = re.compile(r"(?P<type>[a-z]+):(?P<name>.+):(?P<actions>[a-z*]+(?:,[a-z*]+)*)")
_ACTIONS = ("pull", "push", "delete")


class Asker(NamedTuple):
    """Who is known: the name in tokens, "" for whoever did not sign in."""

    name: str
    subject: Subject | None

    @property
    def line(self) -> str:
        """Whose scans wait together; all who did not sign in are one."""
        return key(self.subject) if self.subject is not None else ""


class AskedForToken(NamedTuple):
    """A request for a token, as it came; `address` is where from."""

    method: str
    query: str
    authorization: str
    body: bytes
    address: str = ""


class TokenService:
    """Gives tokens for one registry, called `service`. `scanner` is the password of the gate's own reader, "" for none."""

    def __init__(self, signer: Signer, service: str, accounts: Accounts, doorman: Doorman, *, scanner: str = "") -> None:
        self._accounts = accounts
        self._doorman = doorman
        self._service = service
        self._scanner = scanner
        self._tokens = Tokens(signer, service)
        self._refresh = Tokens(signer, f"{service}/refresh")

    def read(self, token: str) -> tuple[Asker, tuple[Access, ...]]:
        """Return whose token this is, and what it is for. Raises TokenError."""
        claims = self._tokens.read(token)
        return self._asker(claims.sub), claims.access

    async def answer(self, asked: AskedForToken, *, own: bool = False) -> Answer:
        """Answer a request for a token. `own` says that it comes from the gate's own listener."""
        method = asked.method
        try:
            form = _form(asked.query if method == "GET" else asked.body.decode("ascii"))
            asker = await self._known(asked, form, own=own)
        except (ParseError, UnicodeDecodeError) as error:
            return problem(400, "UNSUPPORTED", f"pratique: {error}")
        except GrantError as error:
            return problem(429, "TOOMANYREQUESTS", f"pratique: {error}")
        if asker is None or ((method == "POST" or own) and not asker.name):
            return problem(
                401, "UNAUTHORIZED", "pratique: wrong name or password", ("WWW-Authenticate", 'Basic realm="pratique"')
            )
        if form.get("service", [self._service])[0] != self._service:
            return problem(400, "UNSUPPORTED", f"pratique: this is the token service of {self._service}")
        try:
            wanted = _scopes([scope for text in form.get("scope", []) for scope in text.split(" ") if scope])
        except ParseError as error:
            return problem(400, "UNSUPPORTED", f"pratique: {error}")
        return self._given(asker, wanted, refresh=_wants_refresh(method, form))

    def _given(self, asker: Asker, wanted: Sequence[Access], *, refresh: bool) -> Answer:
        access, seconds = [], SECONDS
        for one in wanted:
            actions, lasts = self._allowed(asker.subject, one)
            seconds = min(seconds, lasts)
            access.append(Access(one.type, one.name, actions))
        token, claims = self._tokens.issue(asker.name, tuple(access), seconds)
        issued = dt.datetime.fromtimestamp(claims.iat, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        said: dict[str, Any] = {
            "token": token, "access_token": token, "expires_in": claims.exp - claims.iat, "issued_at": issued,
            "scope": " ".join(f"{one.type}:{one.name}:{','.join(one.actions)}" for one in access if one.actions),
        }  # fmt: skip
        account = self._accounts.get(asker.name) if asker.name else None
        if refresh and account is not None:
            said["refresh_token"], _ = self._refresh.issue(f"{account.name} {account.mark}", (), REFRESH_SECONDS)
        return Answer(200, msgspec.json.encode(said), headers=(("Cache-Control", "no-store"),))

    def _allowed(self, subject: Subject | None, wanted: Access) -> tuple[tuple[str, ...], float]:
        """Return what of it somebody may do now, and for how many seconds a token may say so."""
        if wanted.type == "registry":
            listed = wanted.name == "catalog" and self._doorman.may_list(subject)
            return (("*",) if listed else ()), SECONDS
        asked = _ACTIONS if "*" in wanted.actions else wanted.actions
        actions, seconds = [], SECONDS
        for action in _ACTIONS:
            if action not in asked:
                continue
            if action == "pull":
                allowed = self._doorman.may_read(subject, wanted.name)
            else:
                change: Change = "push" if action == "push" else "delete"
                allowed = subject is not None and self._doorman.offers(subject, change, wanted.name)
                if allowed:
                    seconds = min(seconds, self._left(self._doorman.would(subject, change, wanted.name)))
            if allowed:
                actions.append(action)
        return tuple(actions), seconds

    def _left(self, decision: Decision) -> float:
        ends = [float(one.value) for one in decision.obligations if one.kind == "kill_at"]
        return max(1.0, min(ends) - self._doorman.now()) if ends else SECONDS

    async def _known(self, asked: AskedForToken, form: dict[str, list[str]], *, own: bool) -> Asker | None:
        """Return who asks, None where what was shown is wrong. Raises ParseError, TooManyError."""
        method, authorization = asked.method, asked.authorization
        if method == "POST" and (kind := form.get("grant_type", [""])[0]) == "refresh_token":
            return self._refreshed(form.get("refresh_token", [""])[0])
        if method == "POST":
            if kind != "password":
                raise ParseError("grant_type is password or refresh_token")
            name, secret = form.get("username", [""])[0], form.get("password", [""])[0]
        elif authorization:
            name, secret = _basic(authorization)
        else:
            return Asker("", None)
        if name == "<token>":  # what Docker's credential helpers write for a refresh token
            return self._refreshed(secret)
        if own:
            right = bool(self._scanner) and hmac.compare_digest(secret.encode(), self._scanner.encode()) and name == SCANNER
            return _scanner() if right else None
        account = await self._accounts.verify(name, secret, asked.address)
        return Asker(account.name, account.subject) if account is not None else None

    def _refreshed(self, token: str) -> Asker | None:
        try:
            name, _, mark = self._refresh.read(token).sub.partition(" ")
        except TokenError:
            return None
        account = self._accounts.get(name)
        return Asker(account.name, account.subject) if account is not None and _same(account, mark) else None

    def _asker(self, name: str) -> Asker:
        if not name:
            return Asker("", None)
        if name == SCANNER:
            return _scanner()
        account = self._accounts.get(name)
        if account is None:
            raise TokenError("the account is gone")
        return Asker(account.name, account.subject)


def _scanner() -> Asker:
    return Asker(SCANNER, Subject(id=SCANNER, kind="robot", provider="unix", strength=CERTIFICATE))


def _same(account: Account, mark: str) -> bool:
    """Say whether an account is still what it was: a new password, or other groups, end refresh tokens."""
    return hmac.compare_digest(account.mark.encode(), mark.encode())


def _wants_refresh(method: str, form: dict[str, list[str]]) -> bool:
    if method == "GET":
        return form.get("offline_token", [""])[0] == "true"
    return form.get("access_type", [""])[0] == "offline"


def _form(text: str) -> dict[str, list[str]]:
    if len(text) > MAX_BODY:
        raise ParseError("the form is too long")
    found: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=2 * MAX_SCOPES)
    except ValueError:
        raise ParseError(f"the form has more than {2 * MAX_SCOPES} fields") from None
    for name, value in pairs:
        if name != "scope" and name in found:
            raise ParseError(f"{name[:40]!a} comes twice")
        found.setdefault(name, []).append(value)
    return found


def _scopes(texts: Sequence[str]) -> tuple[Access, ...]:
    """Read scopes; what names no repository that can be is refused whole, so that nothing is guessed."""
    if len(texts) > MAX_SCOPES:
        raise ParseError(f"more than {MAX_SCOPES} scopes")
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for text in texts:
        scope = _SCOPE.fullmatch(text)
        if scope is None:
            raise ParseError(f"{text[:100]!a} is no scope")
        kind, name, actions = scope["type"], scope["name"], tuple(scope["actions"].split(","))
        if (kind != "repository" or not is_repository(name)) and (kind, name) != ("registry", "catalog"):
            raise ParseError(f"{text[:100]!a} is no scope of this registry")
        found[kind, name] = tuple(dict.fromkeys((*found.get((kind, name), ()), *actions)))
    return tuple(Access(kind, name, actions) for (kind, name), actions in found.items())


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise ParseError("sign in with a name and a password")
    try:
        name, colon, secret = base64.b64decode(coded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ParseError("the name and password cannot be read") from None
    if not colon:
        raise ParseError("sign in with a name and a password")
    return name, secret


def problem(status: int, code: str, message: str, *headers: tuple[str, str]) -> Answer:
    """Return an error as registries word it."""
    body = msgspec.json.encode({"errors": [{"code": code, "message": message}]})
    return Answer(status, body, headers=(("Docker-Distribution-Api-Version", "registry/2.0"), *headers))
