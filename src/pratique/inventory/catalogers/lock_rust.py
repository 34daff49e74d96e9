"""Cargo.lock in, declared crates out. Versions 1 to 4 of the format differ in where checksums stand, which nobody asks here.

A package without `source` lies in the work space or in a folder: role "main". One from a repository keeps the version of its
manifest, with a `vcs_url`. The file does not say which crates only tests or builds need.

https://doc.rust-lang.org/cargo/guide/cargo-toml-vs-cargo-lock.html
"""

from __future__ import annotations

from typing import Any

from pratique.inventory.digests import hexadecimal
from pratique.inventory.lockfiles.documents import MAX_TOML, records, text, toml
from pratique.inventory.lockfiles.entries import Entries, LockInspector, from_git
from pratique.model.errors import ParseError
from pratique.model.ports import File, Interest


def _read(file: File, entries: Entries) -> None:
    lock = toml(file.read())
    if "package" not in lock and "version" not in lock:
        raise ParseError("no packages in a Cargo.lock")
    root = lock.get("root")  # the project itself, until Cargo 1.10
    for package in [*records(lock, "package"), *([root] if isinstance(root, dict) else [])]:
        source = text(package, "source")
        git = source.startswith("git+")
        url, _, commit = source.partition("#")
        entries.add(
            text(package, "name"),
            text(package, "version"),
            role="" if source else "main",
            qualifiers=from_git(url.partition("?")[0], commit) if git else (),
            depends=_needs(package),
            hashes=hexadecimal("sha256", text(package, "checksum")),
        )


def _needs(package: dict[str, Any]) -> list[str]:
    """Read `name`, `name version` or `name version (source)`."""
    stated = package.get("dependencies")
    words = [one.split(" ") for one in stated if isinstance(one, str)] if isinstance(stated, list) else []
    return ["@".join(one[:2]) for one in words]


INSPECTOR = LockInspector("lock_rust", "cargo", Interest(names=("Cargo.lock",), scope="declared", max_bytes=MAX_TOML), _read)
