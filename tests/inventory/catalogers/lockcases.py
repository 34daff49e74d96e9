"""What the tests of lock files share: a file in memory, the inspectors, and what they say of a text."""

from __future__ import annotations

from importlib import import_module

from pratique.inventory.examine import UNREADABLE
from pratique.inventory.lockfiles.entries import LockInspector
from pratique.model.inventory import Gap, PackageEvidence

NAMES = ("lock_dotnet", "lock_go", "lock_java", "lock_node", "lock_php", "lock_python", "lock_ruby", "lock_rust")


def inspector(name: str) -> LockInspector:
    """Return the inspector of a cataloger's module."""
    found = import_module(f"pratique.inventory.catalogers.{name}").INSPECTOR
    assert isinstance(found, LockInspector)
    return found


INSPECTORS = {name: inspector(name) for name in NAMES}


class MemoryFile:
    """A file as an inspector sees it."""

    mode = 0o644

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.size = len(data)
        self._data = data

    def read(self) -> bytes:
        return self._data

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


def look(name: str, path: str, data: bytes) -> tuple[list[PackageEvidence], list[Gap]]:
    """Return the packages and gaps of one file; what cannot be read is a Gap, as the examiner has it."""
    packages: list[PackageEvidence] = []
    gaps: list[Gap] = []
    try:
        for item in INSPECTORS[name].inspect(MemoryFile(path, data)):
            if isinstance(item, Gap):
                gaps.append(item)
            else:
                packages.append(item)
    except UNREADABLE as error:
        gaps.append(Gap(code="inventory.unreadable", message=str(error), path=path))
    return packages, gaps


def said(name: str, path: str, text: str | bytes) -> list[str]:
    """Return what a text says, a line a package (`namespace/name version role`) or gap (`code name`), sorted."""
    packages, gaps = look(name, path, text if isinstance(text, bytes) else text.encode())
    lines = [" ".join(filter(None, (f"{p.namespace}/{p.name}".lstrip("/"), p.version, p.role))) for p in packages]
    return sorted(
        lines + [f"{gap.code.removeprefix('inventory.')} {gap.message.partition(':')[0].split(' ')[0]}" for gap in gaps]
    )
