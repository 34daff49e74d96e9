"""Bytes in, a `File` as inspectors see it out; and what one inspector makes of it."""

from __future__ import annotations

from pathlib import Path

from pratique.inventory.examine import UNREADABLE
from pratique.model.finding import Finding
from pratique.model.inventory import Evidence, Gap, PackageEvidence
from pratique.model.ports import Inspector

CASES = Path(__file__).parent / "inventory" / "catalogers" / "cases"


class MemoryFile:
    """A file of an image, in memory."""

    def __init__(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.path = path
        self.size = len(data)
        self.mode = mode
        self._data = data

    def read(self) -> bytes:
        """Return everything."""
        return self._data

    def read_at(self, offset: int, length: int) -> bytes:
        """Return a part."""
        return self._data[offset : offset + length]


def inspect(inspector: Inspector, path: str, data: bytes) -> list[Evidence | Finding | Gap]:
    """Return all that the inspector yields; what it raises passes."""
    return list(inspector.inspect(MemoryFile(path, data)))


def survives(inspector: Inspector, path: str, data: bytes) -> list[Evidence | Finding | Gap]:
    """As `inspect`, but what an inspector may raise is a Gap, as the caller makes it; anything else is a defect, and passes."""
    try:
        return inspect(inspector, path, data)
    except UNREADABLE as error:
        return [Gap(code="inventory.unreadable", message=str(error), path=path)]


def packages(inspector: Inspector, path: str, data: bytes) -> list[tuple[str, str, str]]:
    """Return (namespace, name, version) of all packages that the inspector yields."""
    seen = inspect(inspector, path, data)
    return [(one.namespace, one.name, one.version) for one in seen if isinstance(one, PackageEvidence)]


def case(inspector: str, name: str, path: str) -> bytes:
    """Return a file of a case."""
    return (CASES / inspector / name / "tree" / path).read_bytes()
