"""Range events against OSV's own way of evaluating them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pratique.advisory.events import Event, intervals
from pratique.advisory.keys import Keys
from pratique.model.advisory import VersionRange

_KEYS = Keys("npm")
_version = st.integers(0, 6).map(lambda minor: f"1.{minor}.0")
_event = st.builds(lambda kind, version: (kind, version), st.sampled_from(["introduced", "fixed", "last_affected"]), _version)


def _affected(events: list[tuple[str, str]], version: str) -> bool:
    """The specification's algorithm: walk the sorted events up to the version."""
    at = _KEYS(version) or b""
    within = False
    for kind, other in sorted(events, key=lambda event: _KEYS(event[1]) or b""):
        key = _KEYS(other) or b""
        if kind == "introduced" and at >= key:
            within = True
        elif (kind == "fixed" and at >= key) or (kind == "last_affected" and at > key):
            within = False
    return within


def _contained(ranges: list[VersionRange], version: str) -> bool:
    key = _KEYS(version) or b""
    return any(_KEYS.range(one).contains(key) for one in ranges)


@given(st.lists(_event, max_size=7, unique_by=lambda event: event[1]), _version)
def test_intervals_say_what_the_specification_says(events: list[tuple[str, str]], version: str) -> None:
    """For any events at different versions, in any order, and any version."""
    ranges = intervals([Event(**{kind: at}) for kind, at in events], _KEYS)
    assert _contained(ranges, version) == _affected(events, version)


def test_zero_is_before_every_version() -> None:
    """OSV's introduced "0" is an open beginning."""
    assert intervals([Event(introduced="0"), Event(fixed="2.0.0")], _KEYS) == [VersionRange("", "2.0.0")]
    assert intervals([Event(introduced="0")], _KEYS) == [VersionRange()]
    assert intervals([Event(introduced="0"), Event(last_affected="2.0.0")], _KEYS) == [VersionRange("", "", "2.0.0")]


def test_events_are_sorted_and_paired() -> None:
    """Several branches in one range, listed in any order."""
    events = [Event(fixed="1.5.0"), Event(introduced="2.0.0"), Event(introduced="1.0.0"), Event(fixed="2.10.0")]
    assert intervals(events, _KEYS) == [VersionRange("1.0.0", "1.5.0"), VersionRange("2.0.0", "2.10.0")]


def test_events_at_one_version() -> None:
    """What begins and is fixed at once never was; what ends where the next begins goes on; one version alone is one."""
    assert intervals([Event(introduced="1.0.0"), Event(fixed="1.0.0")], _KEYS) == []
    assert intervals([Event(introduced="1.0.0"), Event(last_affected="1.0.0")], _KEYS) == [VersionRange("1.0.0", "", "1.0.0")]
    joined = [Event(introduced="0"), Event(fixed="1.0.0"), Event(introduced="1.0.0"), Event(fixed="2.0.0")]
    assert intervals(joined, _KEYS) == [VersionRange("", "1.0.0"), VersionRange("1.0.0", "2.0.0")]


def test_a_limit_bounds_and_is_no_fix() -> None:
    """Versions at or above the limit are outside; "*" is no limit."""
    (found,) = intervals([Event(introduced="1.0.0"), Event(limit="1.3.0")], _KEYS)
    kept = _KEYS.range(found)
    assert (kept.fixed, kept.contains(_KEYS("1.2.9") or b""), kept.contains(_KEYS("1.3.0") or b"")) == ("", True, False)
    (both,) = intervals([Event(introduced="1.0.0"), Event(fixed="1.5.0"), Event(limit="1.3.0")], _KEYS)
    assert _KEYS.range(both).upper == "1.3.0"
    assert intervals([Event(introduced="0"), Event(limit="*")], _KEYS) == [VersionRange()]


def test_without_order_events_are_taken_as_listed_and_nothing_is_denied() -> None:
    """A bound that cannot be ordered leaves the answer open, never "not vulnerable"."""
    (found,) = intervals([Event(introduced="not a version"), Event(fixed="2.0.0")], _KEYS)
    kept = _KEYS.range(found)
    assert found == VersionRange("not a version", "2.0.0")
    assert kept.lower_key is None
    assert kept.contains(_KEYS("1.0.0") or b"") is None
    assert kept.contains(_KEYS("2.0.0") or b"") is False
