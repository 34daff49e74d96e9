"""What the Node cataloger sees, and what it must not see."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryfile import case, inspect, packages, survives
from pratique.inventory.catalogers.node import INSPECTOR, MAX_MANIFEST
from pratique.model.errors import ParseError
from pratique.model.inventory import Gap, PackageEvidence

INSTALLED = "app/node_modules/x/package.json"


@pytest.mark.parametrize(
    ("folder", "role"),
    [
        ("app/node_modules/x", ""),
        ("node_modules/x", ""),
        ("app/node_modules/@s/x", ""),
        ("app/node_modules/a/node_modules/x", ""),
        ("app/node_modules/.pnpm/x@1.0.0/node_modules/x", ""),
        ("app/.yarn/unplugged/x-npm-1-abc/node_modules/x", ""),
        ("app/node_modules/.store/x-npm-1-abc/package", ""),
        ("usr/share/nodejs/x", ""),
        ("usr/lib/x86_64-linux-gnu/nodejs/x", ""),
        ("app/node_modules/next/dist/compiled/x", ""),
        ("usr/lib/python3/dist-packages/playwright/driver/package", ""),
        ("app", "main"),
        ("", "main"),
        ("my_node_modules/x", "main"),
        ("app/node_modules/x/test/fixtures/y", None),
        ("app/node_modules/@s/x/dist/esm", None),
        ("app/node_modules/.vite/deps", None),
        ("app/node_modules/@s", None),
        ("app/node_modules", None),
        ("app/node_modules/next/dist/compiled/other", None),
    ],
)
def test_node_places(folder: str, role: str | None) -> None:
    """A manifest is evidence where Node would resolve it, and an application's own elsewhere."""
    path = f"{folder}/package.json".lstrip("/")
    expected = [] if role is None else [PackageEvidence(type="npm", name="x", version="1.0.0", role=role)]
    assert inspect(INSPECTOR, path, b'{"name": "x", "version": "1.0.0"}') == expected


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({"license": "MIT"}, ("MIT",)),
        ({"license": {"type": "ISC", "url": "u"}}, ("ISC",)),
        ({"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}, "MIT"]}, ("MIT", "GPL-2.0")),
        ({"license": ["MIT", 3, None, {"url": "u"}]}, ("MIT",)),
        ({"license": 7, "licenses": {}}, ()),
        ({}, ()),
    ],
)
def test_node_licence(manifest: dict[str, object], expected: tuple[str, ...]) -> None:
    """All three forms of a licence are read, and nonsense is none."""
    (seen,) = inspect(INSPECTOR, INSTALLED, json.dumps({"name": "x", "version": "1", **manifest}).encode())
    assert isinstance(seen, PackageEvidence)
    assert seen.licenses == expected


def test_node_names_and_versions() -> None:
    """Scopes are namespaces, an alias has its own name, v and = are no part of a version, a byte order mark is no error."""
    assert packages(INSPECTOR, INSTALLED, b'\xef\xbb\xbf{"name": "@s/real", "version": "v1.2.3"}') == [("@s", "real", "1.2.3")]
    assert packages(INSPECTOR, INSTALLED, b'{"version": "= 1.2.3"}') == [("", "x", "1.2.3")]


def test_node_no_version() -> None:
    """An installed package without a version is a gap; an application or a marker without one says nothing."""
    (seen,) = inspect(INSPECTOR, INSTALLED, b'{"name": "x", "version": 3}')
    assert isinstance(seen, Gap)
    assert seen.code == "inventory.invalid"
    assert "x has no version" in seen.message
    assert inspect(INSPECTOR, INSTALLED, b'{"type": "module"}') == []
    assert inspect(INSPECTOR, "app/package.json", b'{"name": "x"}') == []


@pytest.mark.parametrize("name", ["a/b", "@s/", "@s", "@s/a/b", "x" * 300])
def test_node_impossible_names(name: str) -> None:
    """A name that no package can have is not put into the inventory."""
    with pytest.raises(ParseError):
        inspect(INSPECTOR, INSTALLED, json.dumps({"name": name, "version": "1"}).encode())


def test_node_limits() -> None:
    """A huge manifest and a deep one end in an error, not in memory or a crash."""
    with pytest.raises(ParseError, match="at most"):
        inspect(INSPECTOR, INSTALLED, b" " * (MAX_MANIFEST + 1))
    with pytest.raises(RecursionError):
        inspect(INSPECTOR, INSTALLED, b'{"a":' + b"[" * 100_000)


def table(*rows: object) -> list[tuple[str, str, str]]:
    """Return the packages of a Plug'n'Play table with these rows."""
    return packages(INSPECTOR, "app/.pnp.data.json", json.dumps({"packageRegistryData": rows}).encode())


def test_node_plug_and_play_references() -> None:
    """Registry references of all forms give packages, everything local gives none, and each package comes once."""
    rows: list[list[object]] = [
        [None, [[None, {}]]],
        ["a", [["npm:1.0.0", {}], ["virtual:f00#npm:1.0.0", {}], ["npm:2.0.0::__archiveUrl=https", {}]]],
        ["alias", [["npm:@s/real@3.0.0", {}]]],
        ["fixed", [["patch:fixed@npm%3A1.2.0#optional!builtin<compat/fixed>::version=1.2.0&hash=1", {}]]],
        ["local", [["workspace:packages/local", {}], ["link:../x::locator=y", {}], [7, {}], [], 3]],
    ]
    assert table(*rows) == [("", "a", "1.0.0"), ("", "a", "2.0.0"), ("@s", "real", "3.0.0"), ("", "fixed", "1.2.0")]
    with pytest.raises(ParseError, match="without packages"):
        packages(INSPECTOR, "app/.pnp.data.json", b"{}")
    assert inspect(INSPECTOR, "app/.pnp.cjs", b'const data = require("./.pnp.data.json")') == []


@settings(deadline=None, max_examples=150)
@given(
    data=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"name": st.text(), "version": st.text() | st.integers(), "license": st.text() | st.none()}).map(
        lambda value: json.dumps(value).encode()
    ),
    path=st.sampled_from(
        [INSTALLED, "app/package.json", "app/.pnp.cjs", "app/.pnp.data.json", "usr/local/include/node/node_version.h"]
    ),
)
def test_node_any_bytes(data: bytes, path: str) -> None:
    """Any bytes end in packages, gaps, or nothing where nothing is claimed."""
    for seen in survives(INSPECTOR, path, data):
        assert isinstance(seen, Gap) or (isinstance(seen, PackageEvidence) and seen.name and seen.version)


@settings(deadline=None, max_examples=100)
@given(version=st.sampled_from([("yarn-berry", "app/.pnp.cjs"), ("yarn-2", "app/.pnp.js")]), data=st.data())
def test_node_any_damage_to_a_table(version: tuple[str, str], data: st.DataObject) -> None:
    """A real table that was cut and changed anywhere ends in packages or a gap."""
    whole = bytearray(case("node", *version))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    seen = survives(INSPECTOR, version[1], bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert all(isinstance(one, Gap | PackageEvidence) for one in seen)
