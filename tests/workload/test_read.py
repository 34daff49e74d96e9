"""Whatever a file is called, what it asks to run is told by what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.model.errors import ParseError, PratiqueError
from pratique.workload.read import specs

SAME = Path(__file__).parent / "same" / "privileged"


@pytest.mark.parametrize(
    ("name", "content", "formats"),
    [
        ("x", "# a comment\n\nFROM a\nUSER 0\n", ["dockerfile"]),
        ("x", "ARG A=1\nFROM $A\n", ["dockerfile"]),
        ("x.yaml", "services: {a: {image: b}, c: {image: d}}", ["compose", "compose"]),
        ("x", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}\n", ["kubernetes"]),
        ("x", '{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]}}', ["kubernetes"]),
        ("x", '{"Image": "a", "HostConfig": {"Privileged": true}}', ["docker-create"]),
        ("x", '{"rootfs": {"diff_ids": []}, "config": {"User": "0"}}', ["image"]),
        ("x", "a: b", []),
        ("x", "[]", []),
    ],
)
def test_formats(name: str, content: str, formats: list[str]) -> None:
    """One reader for all that is written or said about containers."""
    assert [spec.format for spec in specs(name, content.encode())] == formats


def test_what_engines_write() -> None:
    """Inspect comes as a list, a runtime's configuration as one object."""
    inspected = json.dumps([json.loads((SAME / "docker-inspect.json").read_text())]).encode()
    assert [(spec.format, spec.privileged) for spec in specs("x", inspected)] == [("docker-inspect", True)]
    assert [(spec.format, spec.privileged) for spec in specs("x", (SAME / "docker-config.json").read_bytes())] == [("oci", True)]


def test_an_image_that_names_no_user_is_root() -> None:
    """That is what engines do, and what a gate is told."""
    (spec,) = specs("x", b'{"rootfs": {"diff_ids": []}, "config": {}}')
    assert (spec.user, spec.uid) == ("0", 0)


def test_no_text() -> None:
    """Bytes that are no text are refused in one line."""
    with pytest.raises(ParseError):
        specs("x", b"\xff\xfe")


@given(
    st.text(max_size=60) | st.sampled_from(("{", "[{}]", "[[", '{"ociVersion":1,"process":{}}', '[{"HostConfig":1,"Config":2}]'))
)
@settings(max_examples=150)
def test_any_text(text: str) -> None:
    """Any text ends in Specs or an error of ours."""
    try:
        specs("Dockerfile" if len(text) % 2 else "x.yaml", text.encode("utf-8", "surrogatepass"))
    except PratiqueError:
        return


def test_a_runtime_configuration_knows_its_own_files() -> None:
    """Whose files an engine bound is told by the control group that it put the container in."""
    (spec,) = specs("x", (SAME.parent / "plain" / "docker-config.json").read_bytes())
    assert not [mount for mount in spec.mounts if mount.kind == "bind"]
    assert spec.cgroup_parent is None
