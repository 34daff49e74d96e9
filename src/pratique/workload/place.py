"""Places in files, under the name that the readers of formats use."""

from __future__ import annotations

from pratique._kit.place import Mapped, Place, whole

__all__ = ["Mapped", "Place", "whole"]
