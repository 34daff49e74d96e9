"""Files that hold keys or logins, by their names and by what is in them, in; of which kind each is out, and nothing of it.

A name alone says little: certificates are called .pem as well, and .npmrc mostly holds no token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.model.inventory import SecretEvidence
from pratique.model.ports import File, Interest

MAX_BYTES = 1 << 20  # the largest bundles of certificates have some 500 kB; a key has some 3
# Where libraries keep what their tests and readers use: keys that everybody has.
_OF_TESTS = frozenset(
    (
        "test",
        "tests",
        "testing",
        "testdata",
        "test_data",
        "fixtures",
        "example",
        "examples",
        "doc",
        "docs",
        "spec",
        "mock",
        "mocks",
    )
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|^PuTTY-User-Key-File-\d", re.MULTILINE)
_HOST_KEY = re.compile(r"ssh_host_\w+_key")
_JSON_KEY = re.compile(rb'"private_key"\s*:\s*"-----BEGIN|"refresh_token"\s*:\s*"[^"]{16,}|"client_secret"\s*:\s*"[^"]{8,}')
_KUBERNETES = re.compile(
    rb"client-key-data:\s*[A-Za-z0-9+/=]{32,}|^\s*token:\s*[\w.~-]{16,}|^\s*password:\s*\S{4,}", re.MULTILINE
)

# By base name: of which kind, what the path must end in ("" for anything), and what must be in it.
_NAMED: dict[str, tuple[str, str, re.Pattern[bytes]]] = {
    ".netrc": ("logins", "", re.compile(rb"\bpassword\s+\S+")),
    ".pgpass": ("logins to databases", "", re.compile(rb"^[^#:\n]*:[^:\n]*:[^:\n]*:[^:\n]*:[^\s:]+", re.MULTILINE)),
    ".git-credentials": ("logins to repositories", "", re.compile(rb"https?://[^\s:/@]+:[^\s@]+@")),
    ".dockercfg": ("logins to registries", "", re.compile(rb'"auth"\s*:\s*"[A-Za-z0-9+/=]{8,}"')),
    "config.json": ("logins to registries", ".docker/config.json", re.compile(rb'"auth"\s*:\s*"[A-Za-z0-9+/=]{8,}"')),
    ".npmrc": ("a token of a registry", "", re.compile(rb"_(?:authToken|password|auth)\s*=\s*\"?(?!\$)[^\s$\"]{8,}")),
    ".pypirc": ("a login to a registry", "", re.compile(rb"^\s*password\s*[:=]\s*\S+", re.MULTILINE)),
    ".vault-token": ("a token", "", re.compile(rb"^[\w.-]{20,}\s*$")),
    "credentials": ("keys of a cloud", ".aws/credentials", re.compile(rb"aws_secret_access_key\s*=\s*\S{16,}")),
    "config": ("a login to a cluster", ".kube/config", _KUBERNETES),
    "kubeconfig": ("a login to a cluster", "", _KUBERNETES),
    "admin.conf": ("a login to a cluster", "kubernetes/admin.conf", _KUBERNETES),
    **dict.fromkeys(
        ("credentials.json", "application_default_credentials.json", "service-account.json", "service_account.json", "key.json"),
        ("keys of a cloud", "", _JSON_KEY),
    ),
}
_KEYS = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "identity")
_HOST_KEYS = tuple(f"ssh_host_{kind}_key" for kind in ("rsa", "dsa", "ecdsa", "ed25519"))
_SUFFIXES = (".pem", ".key", ".ppk")


class Keys:
    """Inspects files that are called as files with keys or logins are."""

    name = "keys"
    version = 1
    interest = Interest(names=(*_NAMED, *_KEYS, *_HOST_KEYS), suffixes=_SUFFIXES, max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[SecretEvidence]:
        """Yield of which kind the file is, if it is of any."""
        folders, _, name = file.path.rpartition("/")
        if _OF_TESTS & set(folders.lower().split("/")):
            return
        named = _NAMED.get(name)
        if named is not None:
            kind, end, pattern = named
            if file.path.endswith(end) and pattern.search(file.read()):
                yield SecretEvidence(what=kind)
        elif _PRIVATE_KEY.search(file.read()):
            yield SecretEvidence(what="the key of a login service" if _HOST_KEY.fullmatch(name) else "a private key")


INSPECTOR = Keys()
