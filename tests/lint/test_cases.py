"""Every check has files on which it speaks, at the lines they name, and files on which it does not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pratique.lint.catalogue import catalogue
from pratique.lint.checks import cluster, composed, containers, exposure, languages, origins, packages, podsecurity, rbac, users
from pratique.lint.run import lint

CASES = Path(__file__).parent / "cases"
FILES = sorted(path for path in CASES.glob("*/*") if path.is_file())
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
FUNCTIONS = {
    *users.CHECKS, *exposure.CHECKS, *origins.CHECKS, *packages.CHECKS, *languages.CHECKS, *containers.BOTH, *containers.COMPOSE,
    *composed.FILES, *podsecurity.BASELINE, *podsecurity.RESTRICTED, *cluster.PODS, *cluster.OBJECTS, *rbac.OBJECTS,
    "ignore-expired", "ignore-invalid",
}  # fmt: skip
ON_REQUEST = {"df-registry", "ct-registry"}  # tests/lint/test_registries.py
OF_IMAGES = {"im-privileged-files"} | {  # tests/lint/test_image.py, test_accounts.py
    "im-empty-password", "im-password", "im-second-root", "im-double-account", "im-accounts-writable", "im-shadow-readable",
    "im-secret-file",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_case(path: Path) -> None:
    """A bad file names in its first line where its check speaks; on a good one it is silent. Nothing stays unread."""
    content = path.read_bytes()
    result = lint(path.name, content, NOW)
    assert result.kind
    assert not result.gaps
    lines = sorted({f.location.line for f in result.findings if f.id == path.parent.name and f.location is not None})
    first = content.decode().split("\n", 1)[0]
    expected = [int(word) for word in first.removeprefix("# lines:").split()] if path.name.startswith("bad-") else []
    assert lines == expected


def test_every_check_has_cases() -> None:
    """One function and one description a check; each has a bad file and a good one."""
    assert set(catalogue()) == {*FUNCTIONS, *OF_IMAGES, *ON_REQUEST}
    for name in FUNCTIONS:
        names = {path.name.partition("-")[0] for path in (CASES / name).iterdir()}
        assert names == {"bad", "good"}, name
    assert {path.parent.name for path in FILES} == FUNCTIONS
