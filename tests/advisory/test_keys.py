"""Versions against ranges: as each range alone says, and in time for records that somebody made to take long."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from pratique.advisory.keys import Keys, outside
from pratique.model.advisory import VersionRange

_numbers = st.integers(0, 9).map(str)
_versions = _numbers | st.sampled_from(["1.5", "2.0.1", "no version"])
_ranges = st.builds(
    VersionRange,
    introduced=st.sampled_from(["", "1", "no version"]),
    fixed=st.just("") | _versions,
    last_affected=st.just("") | _versions,
    limit=st.just("") | _versions,
)


@given(st.lists(_versions, max_size=8), st.lists(_ranges, max_size=5), st.sampled_from(["PyPI", "npm", "Debian:12", "GIT"]))
def test_versions_outside_of_all_ranges(versions: list[str], ranges: list[VersionRange], ecosystem: str) -> None:
    """Those, and only those, that no range contains for sure."""
    keys = Keys(ecosystem)
    found = [keys.range(one) for one in ranges]
    expected = []
    for version in versions:
        key = keys(version)
        if key is None or not any(one.contains(key) for one in found):
            expected.append(version)
    assert outside(versions, found, keys) == tuple(expected)


def test_many_versions_and_many_ranges() -> None:
    """A record of some megabytes takes its time once, not once a range: it would hold up every update for hours."""
    keys = Keys("PyPI")
    ranges = [keys.range(VersionRange(str(n), f"{n}.5")) for n in range(30_000)]
    started = time.process_time()
    assert outside([f"{n}.7" for n in range(30_000)], ranges, keys) == tuple(f"{n}.7" for n in range(30_000))
    assert time.process_time() - started < 20
