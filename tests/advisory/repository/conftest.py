"""A publisher, and its publications on a web server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique._kit import http
from pratique.advisory.repository import client
from repositorysim import Publisher, Site, web


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are for the real world."""
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "PAUSE", 0.01)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def site(publisher: Publisher) -> Iterator[Site]:
    with web(publisher.dest) as served:
        yield served
