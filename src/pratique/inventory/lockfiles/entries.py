"""What a lock file lists in, declared evidence out: one entry a package and version, and a Gap for each that has no version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from pratique.model.errors import ParseError
from pratique.model.inventory import Checksum, Gap, PackageEvidence, PackageType
from pratique.model.ports import File, Interest

MAX_PACKAGES = 50_000  # the largest work spaces known lock some 6,000
MAX_NAME = 300  # Maven's and Go's names are the longest; those in use stay below 200
MAX_VERSION = 200
MAX_NEEDS = 2_000  # of one package; the largest work spaces state some 300
MAX_NEED = MAX_NAME + MAX_VERSION + 1
MAX_GAPS = 200  # a file: enough to act on; the rest is counted in one more
MAX_LICENSES = 16
SHOWN = 80  # characters of a strange text that a message repeats

# Where tools keep what they installed: a lock file in there was published by mistake, and no tool reads it.
_INSTALLED = ("/node_modules/", "/site-packages/", "/dist-packages/", "/pkg/mod/", "/.cargo/registry/")

# A package that is wanted for the application itself is no mere tool of its developers, whoever else wants it.
_WEIGHT = {"main": 2, "": 1, "dev": 0}


class Entries:
    """The packages of one lock file while it is read.

    Roles: "main" what the project is itself, "dev" what only its developers need, "" all else.
    """

    def __init__(self, kind: PackageType, path: str) -> None:
        self.kind: PackageType = kind
        self.path = path
        self._found: dict[tuple[str, str, str], PackageEvidence] = {}
        self._gaps: dict[Gap, None] = {}
        self._more = 0

    def add(  # noqa: PLR0913 - one package; all but its name and version are given by name
        self,
        name: str,
        version: str,
        *,
        role: str = "",
        namespace: str = "",
        licenses: tuple[str, ...] = (),
        qualifiers: tuple[tuple[str, str], ...] = (),
        depends: Iterable[str] | None = None,
        hashes: tuple[Checksum, ...] = (),
    ) -> None:
        """Enter a package. A name or version that cannot be one becomes a Gap. Raises ParseError for too many of them.

        `depends` are names, or `name@version`, of what it needs in the same file, None where that does not say it.
        """
        key = (namespace, name, version)
        old = self._found.get(key)
        needs = None if depends is None else tuple(dict.fromkeys(one for one in depends if _sound(one, MAX_NEED)))[:MAX_NEEDS]
        if old is not None:  # the same package at two places, where others may meet its needs
            if old.depends is not None:
                needs = old.depends if needs is None else tuple(dict.fromkeys((*old.depends, *needs)))[:MAX_NEEDS]
            if _WEIGHT[role] <= _WEIGHT[old.role]:
                self._found[key] = msgspec.structs.replace(old, depends=needs)
                return
        if not (_sound(name, MAX_NAME) and _sound(version, MAX_VERSION) and len(namespace) <= MAX_NAME):
            self.invalid(f"no name and version of a package: {name[:SHOWN]!r} {version[:SHOWN]!r}")
            return
        self._found[key] = PackageEvidence(
            type=self.kind,
            name=name,
            version=version,
            namespace=namespace,
            role=role,
            licenses=licenses,
            qualifiers=qualifiers,
            declared=True,
            depends=needs,
            hashes=hashes,
        )
        if len(self._found) > MAX_PACKAGES:
            raise ParseError(f"more than {MAX_PACKAGES} packages in a lock file")

    def unpinned(self, name: str, wanted: str = "") -> None:
        """Say that a package is wanted, but in no certain version; `wanted` is the range as written, if any."""
        what = f"{name[:SHOWN]} {wanted[:SHOWN]}".rstrip()
        self._gap("inventory.unpinned", f"{what}: no exact version is stated, so the package cannot be matched")

    def unresolved(self, name: str, reason: str) -> None:
        """Say that the file alone does not tell a package's version; `reason` completes "NAME: ..."."""
        self._gap("inventory.unresolved", f"{name[:SHOWN]}: {reason}")

    def invalid(self, message: str) -> None:
        """Say that a part of the file is not understood."""
        self._gap("inventory.invalid", message)

    def truncated(self, message: str) -> None:
        """Say that the file ends too early."""
        self._gap("inventory.truncated", message)

    def __iter__(self) -> Iterator[PackageEvidence | Gap]:
        """Yield what was entered, packages first."""
        yield from self._found.values()
        yield from self._gaps
        if self._more:
            yield Gap(code="inventory.too-many", message=f"{self._more} more problems in this file", path=self.path)

    def _gap(self, code: str, message: str) -> None:
        gap = Gap(code=code, message=message, path=self.path)
        if len(self._gaps) < MAX_GAPS:
            self._gaps[gap] = None
        elif gap not in self._gaps:
            self._more += 1


class LockInspector:
    """An inspector of one ecosystem's lock files.

    `read` enters the packages of a file; `may_be_empty` says of a file's name whether one without any content is fine.
    """

    def __init__(
        self,
        name: str,
        kind: PackageType,
        interest: Interest,
        read: Callable[[File, Entries], None],
        may_be_empty: Callable[[str], bool] | None = None,
    ) -> None:
        self.name = name
        self.version = 2
        self.interest = interest
        self._kind: PackageType = kind
        self._read = read
        self._may_be_empty = may_be_empty

    def inspect(self, file: File) -> Iterator[PackageEvidence | Gap]:
        """Yield the packages of the file, also those before a place that cannot be read. Raises ParseError, ValueError."""
        if any(folder in f"/{file.path}" for folder in _INSTALLED):
            return
        if not file.size:
            if self._may_be_empty is None or not self._may_be_empty(base_name(file.path)):
                raise ParseError("an empty lock file")
            return
        entries = Entries(self._kind, file.path)
        try:
            self._read(file, entries)
        except Exception:  # whatever it was, it is raised again once what was read before it has been told
            yield from entries
            raise
        yield from entries


def base_name(path: str) -> str:
    """Return what follows the last slash."""
    return path.rpartition("/")[2]


def licenses_of(stated: object) -> tuple[str, ...]:
    """Read a licence, or a list of them, as JSON states it; anything else is none."""
    listed = stated[:MAX_LICENSES] if isinstance(stated, list) else [stated]
    return tuple(dict.fromkeys(one.strip() for one in listed if isinstance(one, str) and 0 < len(one.strip()) <= MAX_NAME))


def from_git(url: str, commit: str = "") -> tuple[tuple[str, str], ...]:
    """Return the qualifier `vcs_url` of a package that comes from a repository: it is matched by the version that it states, and
    the qualifier tells a reader that it is not the registry's copy.
    """
    url = url.removeprefix("git+")
    return (("vcs_url", f"git+{url}@{commit}" if commit else f"git+{url}"),)


def _sound(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable() and " " not in text
