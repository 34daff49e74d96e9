"""`pratique cache`: sizes, and what goes when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.fixture
def cache(call: Call, image: str, tmp_path: Path) -> Path:
    """A cache with examined layers, one download and a piece of a database."""
    folder = tmp_path / "cache"
    assert call("scan", image, "--offline", "--cache-dir", folder).code == 0
    for name in ("blobs/sha256/abc", "db/index.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    return folder


def _files(call: Call, folder: Path) -> dict[str, bool]:
    parts = call("cache", "status", "--cache-dir", folder, "-f", "json").json["parts"]
    return {name: part["files"] > 0 for name, part in parts.items()}


def test_status(call: Call, cache: Path) -> None:
    """Every part with files and bytes; an empty or missing folder is empty, not an error."""
    parts = call("cache", "status", "--cache-dir", cache, "-f", "json").json["parts"]
    assert parts["blobs"] == {"files": 1, "bytes": 1000}
    assert parts["layers"]["files"] >= 2
    assert "advisory database" in call("cache", "status", "--cache-dir", cache).out
    assert _files(call, cache / "none") == {"layers": False, "blobs": False, "advisories": False}


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ([], {"layers": False, "blobs": False, "advisories": True}),
        (["--layers"], {"layers": False, "blobs": True, "advisories": True}),
        (["--blobs"], {"layers": True, "blobs": False, "advisories": True}),
        (["--advisories"], {"layers": True, "blobs": True, "advisories": False}),
        (["--all"], {"layers": False, "blobs": False, "advisories": False}),
        (["--limit", "0"], {"layers": False, "blobs": False, "advisories": True}),
        (["--limit", "2GB"], {"layers": True, "blobs": True, "advisories": True}),
    ],
)
def test_clean(call: Call, cache: Path, flags: list[str], left: dict[str, bool]) -> None:
    """What is chosen goes, the rest stays; the database only where it is named."""
    ran = call("cache", "clean", "--cache-dir", cache, *flags)
    assert ran.code == 0
    assert ran.out.startswith("freed ")
    assert _files(call, cache) == left


def test_links_are_not_followed(call: Call, cache: Path, tmp_path: Path) -> None:
    """A link in the cache goes; what it names stays."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (cache / "layers" / "link").symlink_to(precious)
    call("cache", "clean", "--cache-dir", cache, "--all")
    assert (precious / "file").exists()


def test_bad_usage(call: Call, tmp_path: Path) -> None:
    """A size that is none, a limit beside a choice, no subcommand."""
    assert call("cache", "clean", "--limit", "much", "--cache-dir", tmp_path).code == 2
    assert call("cache", "clean", "--limit", "1GB", "--all", "--cache-dir", tmp_path).code == 2
    assert call("cache").code == 2
