"""A registry's name in, the credentials that a person stored for exactly it out: Docker's and Podman's files and helpers.

https://docs.docker.com/reference/cli/docker/login/ (credsStore, credHelpers), containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pratique.image.reference import DOCKER_HUB
from pratique.model.errors import ConfigurationError, RegistryError

MAX_FILE = 1 << 20  # a configuration with a login for each of thousands of registries is still smaller
HELPER_SECONDS = 20  # a helper may ask the key ring, which may ask a person; but not for ever
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers say instead of a user when they return an identity token


class Credentials(msgspec.Struct, frozen=True):
    """A user with a password, or an identity token to be traded for access tokens. `source` says where they were stored."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    source: str = ""

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, source={self.source!r})"


def find(registry: str, repository: str) -> Credentials | None:
    """Look credentials up, in the order that Podman and Docker share; None where nothing is stored.

    Raises ConfigurationError for a file that is no JSON, RegistryError for a helper that fails.
    """
    for path in _files():
        try:
            data = path.read_bytes()[: MAX_FILE + 1]
        except OSError:
            continue
        try:
            document = msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: no valid JSON: {error}") from None
        if found := _in_file(document, registry, repository, str(path)):
            return found
    return None


def _files() -> Iterator[Path]:
    """REGISTRY_AUTH_FILE alone if it is set; else Podman's of this session, Podman's, and Docker's."""
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    home = Path(os.environ.get("HOME") or Path.home())
    if docker := os.environ.get("DOCKER_CONFIG"):
        yield Path(docker) / "config.json"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
    if not docker:
        yield home / ".docker" / "config.json"


def _keys(registry: str, repository: str) -> Iterator[str]:
    """Names under which a login may be stored, the most special first: Podman keeps logins for parts of a registry, too."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield f"{registry}/{'/'.join(parts[:count])}"
    if registry == DOCKER_HUB:
        yield from _HUB_KEYS
    else:
        yield from (registry, f"https://{registry}", f"http://{registry}", f"https://{registry}/", f"https://{registry}/v1/",
                    f"https://{registry}/v2/")  # fmt: skip


def _in_file(document: dict[str, Any], registry: str, repository: str, source: str) -> Credentials | None:
    keys = list(_keys(registry, repository))
    helpers, auths = document.get("credHelpers"), document.get("auths")
    if isinstance(helpers, dict):
        for key in keys:
            if isinstance(helper := helpers.get(key), str) and helper:
                server = _HUB_KEYS[0] if registry == DOCKER_HUB else key
                return _ask(helper, [server])
    if isinstance(store := document.get("credsStore"), str) and store:
        servers = [_HUB_KEYS[0]] if registry == DOCKER_HUB else [registry, f"https://{registry}"]
        if found := _ask(store, servers):
            return found
    if isinstance(auths, dict):
        for key in keys:
            if isinstance(entry := auths.get(key), dict) and (found := _entry(entry, f"{source}, {key}")):
                return found
    return None


def _entry(entry: dict[str, Any], source: str) -> Credentials | None:
    username, password, token, packed = (entry.get(key) or "" for key in ("username", "password", "identitytoken", "auth"))
    if not all(isinstance(value, str) for value in (username, password, token, packed)):
        raise ConfigurationError(f"{source}: a login that is no text")
    if packed:
        try:
            username, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise ConfigurationError(f"{source}: auth is not base64 of user:password") from None
        password = password.rstrip("\0")
    if token:
        return Credentials(username, "", token, source)
    return Credentials(username, password, "", source) if username or password else None


def _ask(helper: str, servers: list[str]) -> Credentials | None:
    """Run docker-credential-<helper> get, the server's name on its standard input: the protocol of docker-credential-helpers."""
    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum() or helper.startswith("."):
        raise ConfigurationError(f"{helper!r} is no name of a credential helper")
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise RegistryError(
            f"the credential helper docker-credential-{helper} is not installed", hint="it is named in the Docker configuration"
        )
    for server in servers:
        try:
            done = subprocess.run(  # noqa: S603 - no shell; the program's name was checked above
                [program, "get"], input=server.encode(), capture_output=True, timeout=HELPER_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise RegistryError(f"docker-credential-{helper} did not answer within {HELPER_SECONDS} seconds") from None
        except OSError as error:
            raise RegistryError(f"docker-credential-{helper}: {error.strerror}") from None
        if done.returncode == 0:
            return _answer(done.stdout[:MAX_FILE], helper)
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if "not found" not in said.lower():
            raise RegistryError(f"docker-credential-{helper} failed: {said.splitlines()[0][:200] if said else done.returncode}")
    return None


def _answer(data: bytes, helper: str) -> Credentials | None:
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise RegistryError(f"docker-credential-{helper} did not answer with JSON") from None
    username, secret = document.get("Username"), document.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        return None
    source = f"docker-credential-{helper}"
    return Credentials("", "", secret, source) if username == _TOKEN_USER else Credentials(username, secret, "", source)
