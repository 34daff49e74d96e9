"""Options with a cache of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pratique.image.options import SourceOptions


@pytest.fixture
def options(tmp_path: Path) -> SourceOptions:
    """Defaults, in a fresh cache."""
    return SourceOptions(cache_dir=tmp_path / "cache")
