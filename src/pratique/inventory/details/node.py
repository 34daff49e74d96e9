"""Manifests of installed Node packages in, what each needs out; and the digests of the archives that npm installed them from.

npm keeps a lock file of what it really installed at `node_modules/.package-lock.json`; `integrity` there is the digest of the
archive that the registry serves. https://docs.npmjs.com/cli/configuring-npm/package-json
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.inventory.digests import integrity
from pratique.model.inventory import DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_MANIFEST = 4 * MEBIBYTE
MAX_NAMES = 2_000  # a package needs at most some 200
MAX_NAME = 214
_LOCK = "node_modules/.package-lock.json"


class _Manifest(msgspec.Struct, rename="camel"):
    name: Any = None
    version: Any = None
    dependencies: Any = None
    optional_dependencies: Any = None
    peer_dependencies: Any = None


class _Locked(msgspec.Struct):
    name: Any = None
    version: Any = None
    integrity: Any = None


class _Lock(msgspec.Struct):
    packages: dict[str, _Locked] = {}


_DECODER = msgspec.json.Decoder(_Manifest)
_LOCKS = msgspec.json.Decoder(_Lock)


class NodeDetails:
    """Inspects `package.json` and npm's hidden lock file."""

    name = "details_node"
    version = 1
    interest = Interest(names=("package.json", ".package-lock.json"), max_bytes=32 * MEBIBYTE, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield the relations of a package, or the digests of many."""
        if file.path.endswith(".package-lock.json"):
            if f"/{file.path}".endswith(f"/{_LOCK}"):
                yield from _locked(file)
        elif file.size <= MAX_MANIFEST:
            manifest = _DECODER.decode(file.read().removeprefix(b"\xef\xbb\xbf"))
            if isinstance(manifest.name, str) and isinstance(manifest.version, str):
                needed = list(_names(manifest.dependencies))
                weak = [*_names(manifest.optional_dependencies), *_names(manifest.peer_dependencies)]
                optional = set(_names(manifest.optional_dependencies))  # npm lists these among the others, too
                yield _details(
                    manifest.name,
                    manifest.version,
                    requires=tuple(
                        [name for name in needed if name not in optional] + [f"?{name}" for name in dict.fromkeys(weak)]
                    ),
                )


def _details(name: str, version: str, **more: Any) -> DetailEvidence:
    scope, _, short = name.strip().partition("/") if name.startswith("@") else ("", "", name.strip())
    version = version.strip()
    return DetailEvidence(type="npm", namespace=scope, name=short, version=version.lstrip("=v ") or version, **more)


def _names(value: Any) -> list[str]:
    names = list(value)[:MAX_NAMES] if isinstance(value, dict) else []
    return [name for name in names if isinstance(name, str) and 0 < len(name) <= MAX_NAME and "|" not in name]


def _locked(file: File) -> Iterator[DetailEvidence]:
    root = file.path.removesuffix(_LOCK)
    for folder, facts in _LOCKS.decode(file.read()).packages.items():
        name = facts.name if isinstance(facts.name, str) else folder.rpartition("node_modules/")[2]
        hashes = integrity(facts.integrity)
        if hashes and isinstance(facts.version, str) and name:
            yield _details(name, facts.version, path=f"{root}{folder}/package.json", hashes=hashes)


INSPECTOR = NodeDetails()
