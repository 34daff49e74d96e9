"""The workspace and the shell of a build server, for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrating import Shell, images, start


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a folder with old.tar, new.tar, which has one of its findings and new ones of high severity, and clean.tar."""
    return images(tmp_path / "work space")


@pytest.fixture
def shell(workspace: Path, tmp_path: Path) -> Shell:
    """Run a script as a build server does: with nothing in its environment but what it gives, in the workspace."""
    return start(workspace, tmp_path)
