"""Feeds that change: each file is the one before with its changes made, and says what a file built anew would say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisoryhome import scored
from feedsim import archive, record
from pratique.advisory.build import Built, Turn, renew
from pratique.advisory.changes import apply_changes, check_state, encode_changes, state_digest
from pratique.advisory.feeds import sources
from pratique.advisory.members import Increment
from pratique.advisory.tables import Tables, connect
from pratique.model.errors import DatabaseError

_T0 = 1_767_225_600  # 2026-01-01


def renewed(feed: str, body: bytes | Increment, old: Path | None, new: Path, at: int) -> Built:
    """Make the next file of a feed."""
    source = sources()[feed]
    content = io.BytesIO(body) if isinstance(body, bytes) else body
    return renew(source.provider, source.feed, content, Turn(old, new, at))


_IDS = [f"PYSEC-{n}" for n in range(5)]
_one = st.fixed_dictionaries(
    {
        "package": st.sampled_from(["a", "b", "c"]),
        "fixed": st.sampled_from(["1", "2", "3"]),
        "aliases": st.lists(st.sampled_from(["CVE-2026-1", "CVE-2026-2", "GHSA-x"]), max_size=2),
        "summary": st.sampled_from(["", "bad", "worse"]),
        "withdrawn": st.sampled_from([None, None, None, "2026-01-01T00:00:00Z"]),
        "modified": st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
        "severity": st.sampled_from([[], [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]]),
    }
)
_state = st.dictionaries(st.sampled_from(_IDS), st.one_of(_one, st.just("broken")), max_size=5)


def _archive(state: dict[str, Any]) -> bytes:
    named: dict[str, Any] = {}
    for name, one in state.items():
        more = dict(one) if isinstance(one, dict) else {}
        named[f"{name}.json"] = record(name, more.pop("package"), more.pop("fixed"), **more) if more else b"{"
    return archive(named)


def _facts(path: Path) -> Any:
    connection = connect(path)
    try:
        return Tables(connection, path).facts
    finally:
        connection.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(_state, min_size=2, max_size=5))
def test_changed_piece_by_piece_is_built_anew(tmp_path: Path, states: list[dict[str, Any]]) -> None:
    """Reading only what differs gives the state, and the counts, that reading all gives; so do published changes."""
    for path in tmp_path.glob("*"):
        path.unlink()
    old: Path | None = None
    followed: Path | None = None
    for turn, state in enumerate(states):
        new, anew = tmp_path / f"{turn}.sqlite", tmp_path / f"{turn}.anew"
        built = renewed("osv/PyPI", _archive(state), old, new, _T0 + turn)
        renewed("osv/PyPI", _archive(state), None, anew, _T0)
        assert state_digest(anew) == built.facts.state
        assert msgspec.structs.replace(built.facts, changed=0) == msgspec.structs.replace(_facts(anew), changed=0)
        if not built.written:
            continue
        assert check_state(new)
        assert built.changed is (old is None or state_digest(old) != state_digest(new))
        if old is not None and followed is not None:
            target = tmp_path / f"{turn}.followed"
            apply_changes(followed, encode_changes(old, new), target)
            assert state_digest(target) == state_digest(new)
            assert check_state(target)
            followed = target
        else:
            followed = new
        old = new


def test_changes_replay_the_history(tmp_path: Path) -> None:
    """Three updates on, one set of changes brings the state and the way to it."""
    files = [tmp_path / f"{n}.sqlite" for n in range(4)]
    for turn, path in enumerate(files):
        state = archive([record("PYSEC-1", "flask", f"{turn}"), record(f"PYSEC-{turn + 5}", "jinja2", "2")])
        renewed("osv/PyPI", state, files[turn - 1] if turn else None, path, _T0 + 60 * turn)
    followed = tmp_path / "followed"
    changes = encode_changes(files[0], files[3])
    apply_changes(files[0], changes, followed)
    histories = []
    for path in (files[3], followed):
        connection = connect(path)
        histories.append(list(Tables(connection, path).past(0)))
        connection.close()
    assert histories[0] == histories[1]
    assert [one.at for one in histories[0]] == [_T0 + 180, _T0 + 120, _T0 + 60]
    assert len(changes) < 1500


def test_changes_of_scores(tmp_path: Path) -> None:
    """A day's scores lead to the next day's, and changes of another file are refused."""
    days = [
        {"CVE-2020-1": (0.1, 0.2), "CVE-2020-2000": (0.5, 0.6)},
        {"CVE-2020-1": (0.11, 0.25), "CVE-2021-1": (0.00001, 0.00002), "CVE-2020-2000": (0.5, 0.6)},
        {"CVE-2020-1": (1.0, 1.0), "CVE-2021-1": (0.00001, 0.0)},
    ]
    files = [tmp_path / f"{n}.sqlite" for n in range(3)]
    for turn, path in enumerate(files):
        body = scored(days[turn], f"2026-01-0{turn + 1}")
        renewed("epss/current", body, files[turn - 1] if turn else None, path, _T0 + 86_400 * turn)
        assert check_state(path)
    changes = encode_changes(files[0], files[2])
    assert apply_changes(files[0], changes, tmp_path / "end").state == state_digest(files[2])
    assert apply_changes(files[2], encode_changes(files[2], files[0]), tmp_path / "back").state == state_digest(files[0])
    with pytest.raises(DatabaseError, match="another state"):
        apply_changes(files[1], changes, tmp_path / "no")
    for broken in (b"", changes[:-3], changes[:30] + b"\xff" + changes[31:]):
        with pytest.raises(DatabaseError):
            apply_changes(files[0], broken, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_single_records_go_where_the_archive_would_put_them(tmp_path: Path) -> None:
    """One record changed, one came, one is gone: the same state as from the archive, and the archive then finds nothing new."""
    first = [record(f"PYSEC-{n}", "flask", f"{n}") for n in range(1, 4)]
    then = [first[0], record("PYSEC-2", "flask", "2.5"), record("PYSEC-9", "jinja2", "1")]
    renewed("osv/PyPI", archive(first), None, tmp_path / "a", _T0)
    increment = Increment(
        changed={f"{one['id']}.json": json.dumps(one).encode() for one in then}, removed=frozenset({"PYSEC-3.json"})
    )
    built = renewed("osv/PyPI", increment, tmp_path / "a", tmp_path / "b", _T0 + 5)
    renewed("osv/PyPI", archive(then), None, tmp_path / "c", _T0)
    assert built.changed
    assert state_digest(tmp_path / "b") == state_digest(tmp_path / "c")
    assert not renewed("osv/PyPI", archive(then), tmp_path / "b", tmp_path / "d", _T0 + 6).written
