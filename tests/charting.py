"""The program that makes the plain manifests of the chart, for tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def renderer() -> ModuleType:
    """Load tools/render_chart.py, which is no module of a package."""
    found = importlib.util.spec_from_file_location("render_chart", ROOT / "tools" / "render_chart.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
