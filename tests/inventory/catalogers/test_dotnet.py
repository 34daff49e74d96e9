"""What the .NET cataloger sees, and what it must not see."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryfile import inspect, packages, survives
from pratique.inventory.catalogers.dotnet import INSPECTOR
from pratique.model.inventory import Gap, PackageEvidence

PROGRAM = "app/Shop.deps.json"
TARGET = ".NETCoreApp,Version=v8.0"


def manifest(libraries: dict[str, str], used: dict[str, object] | None = None) -> bytes:
    """Return a manifest of libraries (name/version to type) and what the target uses of them."""
    body: dict[str, object] = {"libraries": {key: {"type": kind} for key, kind in libraries.items()}}
    if used is not None:
        body |= {"runtimeTarget": {"name": TARGET, "signature": ""}, "targets": {TARGET: used}}
    return json.dumps(body).encode()


def test_dotnet_without_targets() -> None:
    """Where a manifest states no target, every package counts: better one too many than one unseen."""
    assert packages(INSPECTOR, PROGRAM, manifest({"A/1.0.0": "package"})) == [("", "A", "1.0.0")]
    assert packages(INSPECTOR, PROGRAM, manifest({"A/1.0.0": "package"}, {})) == [("", "A", "1.0.0")]


@pytest.mark.parametrize(
    ("used", "counts"),
    [
        ({"runtime": {"lib/a.dll": {}}}, True),
        ({"native": {"liba.so": {}}}, True),
        ({"runtimeTargets": {"runtimes/linux/a.dll": {}}}, True),
        ({"resources": {"lib/de/a.resources.dll": {}}}, True),
        ({"runtime": {"lib/net6.0/_._": {}}}, False),
        ({"dependencies": {"B": "1.0.0"}}, False),
        ({"runtime": {"lib/a.dll": {}}, "compileOnly": True}, False),
        ({"runtime": 3}, False),
    ],
)
def test_dotnet_used_files(used: dict[str, object], counts: bool) -> None:
    """A package counts when the target takes a real file from it."""
    data = manifest({"A/1.0.0": "package", "Z/1.0.0": "package"}, {"A/1.0.0": used, "Z/1.0.0": {"native": {"z": {}}}})
    assert (("", "A", "1.0.0") in packages(INSPECTOR, PROGRAM, data)) is counts


def test_dotnet_framework_built_against() -> None:
    """The framework's own package counts in the framework's manifest, not in a program's."""
    data = manifest({"Microsoft.NETCore.App/2.1.0": "package"}, {"Microsoft.NETCore.App/2.1.0": {}})
    assert packages(INSPECTOR, PROGRAM, data) == []
    shared = "usr/share/dotnet/shared/Microsoft.NETCore.App/2.1.0/Microsoft.NETCore.App.deps.json"
    assert packages(INSPECTOR, shared, data) == [("", "Microsoft.NETCore.App", "2.1.0")]


def test_dotnet_nameless_library() -> None:
    """A library without version is a gap, and those beside it are read."""
    gap, seen = inspect(INSPECTOR, PROGRAM, manifest({"A": "package", "Shop/1.0.0": "project"}))
    assert isinstance(gap, Gap)
    assert (gap.code, gap.path) == ("inventory.invalid", PROGRAM)
    assert seen == PackageEvidence(type="nuget", name="Shop", version="1.0.0", role="main")


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=10) | st.just("package"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["libraries", "targets", "runtimeTarget", "name", "type", "A/1", "runtime", "/", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_dotnet_any_bytes(data: bytes) -> None:
    """Any bytes end in packages with name and version, or gaps."""
    for seen in survives(INSPECTOR, PROGRAM, data):
        assert isinstance(seen, Gap) or (isinstance(seen, PackageEvidence) and seen.name and seen.version)
