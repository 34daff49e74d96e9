"""Every manifest among the cases can be given the least privileges: nothing else changes, and a second time changes nothing."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from pratique.lint.harden.facts import ImageFacts
from pratique.lint.harden.infer import infer
from pratique.lint.harden.manifest import Container, containers, hardened
from pratique.lint.run import check
from pratique.model.errors import ParseError
from pratique.workload.rootfs import Item, Rootfs

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CASES = sorted((Path(__file__).parent / "cases").glob("*/*.y*ml"))
ROOTFS = Rootfs(
    {
        "/": Item("folder", 0o755, 0, 0, members=3),
        "/bin/tool": Item("file", 0o755, 0, 0, content=b"\x7fELF"),
        "/etc/passwd": Item("file", 0o644, 0, 0, content=b"root:x:0:0::/:/\napp:x:1000:1001::/:/\n"),
        "/tmp": Item("folder", 0o1777, 0, 0),
        "/var/cache/app": Item("folder", 0o755, 1000, 1001),
    }
)


def found(path: Path) -> list[Container]:
    """Return the containers of a case; none where it is not read at all."""
    try:
        return containers(path.read_text("utf-8"))
    except ParseError:
        return []


def hits(path: Path, text: str) -> Counter[str]:
    """Count what checks find."""
    checked = check(path.name, text, NOW)
    assert not checked.gaps
    return Counter(name for name, _ in checked.hits)


@pytest.mark.parametrize("user", ["app", ""])
@pytest.mark.parametrize("path", [path for path in CASES if found(path)], ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_case_is_hardened_once(path: Path, user: str) -> None:
    """No check speaks more often than before but the one about low numbers, which are the image's."""
    facts = ImageFacts({"User": user, "Cmd": ["tool"], "ExposedPorts": {"80/tcp": {}}}, ROOTFS)
    before = text = path.read_text("utf-8")
    for number, item in enumerate(found(path)):
        start = containers(text)[number].start
        text, missed = hardened(text, item.name, infer(facts, start, attempt=True))
        assert not missed
    grown = hits(path, text) - hits(path, before)
    assert set(grown) <= {"k8s-low-user"}
    after = text
    for number, item in enumerate(found(path)):
        text, _ = hardened(text, item.name, infer(facts, containers(text)[number].start, attempt=True))
    assert text == after


def test_there_are_cases() -> None:
    """A pattern that fits nothing would test nothing."""
    assert sum(bool(found(path)) for path in CASES) > 150
