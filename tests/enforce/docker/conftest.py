"""What the tests of the Docker gate share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from attacking import Side


@pytest.fixture
def side(gated: Side) -> Iterator[Side]:
    """Return the engine behind the gate; nothing of a test is left."""
    yield gated
    gated.clean()
    assert gated.gate is not None
    gated.gate.revoke_all()
