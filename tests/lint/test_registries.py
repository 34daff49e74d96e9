"""Registries that are trusted: images from all others are found, wherever a file names them, and only when it was said."""

from __future__ import annotations

import datetime as dt

import pytest

from pratique.lint.registries import is_trusted, parse_registries
from pratique.lint.run import lint
from pratique.model.errors import UsageError

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DOCKERFILE = """\
ARG BASE=quay.io/team/base:1
FROM ${BASE} AS build
FROM registry.example/base:1
COPY --from=build /a /a
COPY --from=ghcr.io/other/tool:2 /b /b
FROM build AS again
FROM alpine:3.19
FROM scratch
"""
COMPOSE = """\
services:
  a:
    image: nginx:1
  b:
    image: registry.example/team/b:1
  c:
    build: .
    image: own:1
  d:
    image: ${IMAGE}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers:
    - {name: i, image: "123.dkr.ecr.eu-west-1.amazonaws.com/i:1"}
  containers:
    - name: a
      image: docker.io/library/nginx:1
"""


def found(path: str, text: str, *trusted: str) -> list[tuple[str, int]]:
    """Return check and line."""
    result = lint(path, text.encode(), NOW, registries=parse_registries(trusted))
    return [(item.id, item.location.line) for item in result.findings if item.location and item.id.endswith("-registry")]


@pytest.mark.parametrize(
    ("image", "trusted", "expected"),
    [
        ("alpine", "docker.io", True), ("alpine:3", "docker.io/library", True), ("team/app", "docker.io/library", False),
        ("index.docker.io/library/alpine", "docker.io", True), ("docker.io.evil.example/alpine", "docker.io", False),
        ("registry.example/team/a@sha256:00", "registry.example/team", True),
        ("registry.example/teams/a", "registry.example/team", False),
        ("registry.example:5000/a", "registry.example", False), ("registry.example:5000/a", "registry.example:5000", True),
        ("a.example.com/x", "*.example.com", True), ("example.com/x", "*.example.com", False),
        ("aexample.com/x", "*.example.com", False),
        ("REGISTRY.example/x", "registry.example", True), ("localhost/x", "docker.io", False),
        ("registry.example/a", "registry.example/a", True),
        ("evil.example/a:${TAG}", "registry.example", False), ("evil.example/a@$DIGEST", "registry.example", False),
        ("evil.example/${TEAM}/a:1", "registry.example", False), ("nginx:${TAG}", "registry.example", False),
        ("evil.example/a:${TAG:-a/b}", "registry.example", False), ("nginx:${TAG}", "docker.io/library", True),
        ("registry.example/a:${TAG}", "registry.example/a", True), ("registry.example/a:${TAG}", "registry.example/b", False),
        ("registry.example/${TEAM}/a", "registry.example/team", True), ("registry.example/b/$A", "registry.example/a", False),
        ("${REGISTRY}/a:1", "registry.example", True), ("$IMAGE", "registry.example", True), ("a${B}", "docker.io", True),
        ("localhost:${PORT}/a", "registry.example", True),
    ],
)  # fmt: skip
def test_trusted(image: str, trusted: str, expected: bool) -> None:
    """By host, by domain and by the beginning of a path, each whole."""
    assert is_trusted(image, (trusted,)) is expected


def test_a_tag_in_a_variable_hides_no_registry() -> None:
    """Whoever builds or starts it decides about the tag, not about where it comes from."""
    build = "ARG TAG\nFROM evil.example/a:${TAG}\nFROM ${TAG}\n"
    services = "services:\n  a:\n    image: evil.example/a:${TAG}\n  b:\n    image: ${IMAGE}\n"
    assert found("Dockerfile", build, "registry.example") == [("df-registry", 2)]
    assert found("compose.yaml", services, "registry.example") == [("ct-registry", 3)]


def test_a_dockerfile_in_a_compose_file() -> None:
    """Its bases count, at their lines in the Compose file."""
    build = "build:\n      dockerfile_inline: |\n        FROM registry.example/a:1\n        FROM evil.example/b:1\n"
    text = f"services:\n  a:\n    {build}"
    assert found("compose.yaml", text, "registry.example") == [("df-registry", 6)]
    assert found("compose.yaml", text, "registry.example", "evil.example") == []


def test_files() -> None:
    """Bases, what is copied from, services and containers; not stages, what the file builds, nor what it does not decide."""
    for path, text in (("Dockerfile", DOCKERFILE), ("compose.yaml", COMPOSE), ("pod.yaml", POD)):
        assert found(path, text) == []
    assert found("Dockerfile", DOCKERFILE, "registry.example") == [("df-registry", 2), ("df-registry", 5), ("df-registry", 7)]
    assert found("Dockerfile", DOCKERFILE, "registry.example", "quay.io/team", "ghcr.io", "docker.io/library") == []
    assert found("compose.yaml", COMPOSE, "registry.example/team") == [("ct-registry", 3)]
    assert found("pod.yaml", POD, "registry.example") == [("ct-registry", 6), ("ct-registry", 9)]
    assert found("pod.yaml", POD, "*.amazonaws.com", "docker.io") == []


@pytest.mark.parametrize("entry", ["", "https://docker.io", "a b", "*", "docker.io/", "*.*.io", "a/B", "-x"])
def test_what_is_no_registry(entry: str) -> None:
    """It is refused, with what to write."""
    with pytest.raises(UsageError, match="is no registry"):
        parse_registries((entry,))
