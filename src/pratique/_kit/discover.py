"""A package in, the objects that its modules offer under one name out: how catalogers, providers and formats are found."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def offers(package: ModuleType, name: str) -> dict[str, Any]:
    """Import every module directly inside `package`; return module name -> its attribute `name`, for those that have it."""
    found: dict[str, Any] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not module.name.startswith("_"):
            value = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), name, None)
            if value is not None:
                found[module.name] = value
    return found
