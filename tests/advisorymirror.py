"""Where a mirror of the public feeds lies, for tests that use one if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MIRROR = Path(os.environ.get("PRATIQUE_TEST_MIRROR") or Path(__file__).resolve().parents[2] / "shared" / "mirror")
needs_mirror = pytest.mark.skipif(not (MIRROR / "osv").is_dir(), reason="no mirror of the public feeds (PRATIQUE_TEST_MIRROR)")
