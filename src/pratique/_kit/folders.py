"""Where a person's files of this program are kept, as the XDG base directory specification says."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """Return $XDG_CACHE_HOME/pratique, or ~/.cache/pratique."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base, "pratique") if base else Path.home() / ".cache" / "pratique"


def default_store_dir() -> Path:
    """Return $XDG_STATE_HOME/pratique, or ~/.local/state/pratique."""
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base, "pratique") if base else Path.home() / ".local" / "state" / "pratique"
