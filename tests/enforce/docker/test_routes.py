"""Every route of the engine has its kind; what the engine could read otherwise is no route."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.enforce.docker.routes import classify
from pratique.model.errors import ParseError


@pytest.mark.parametrize(
    ("method", "uri", "kind", "name"),
    [
        ("GET", "/_ping", "read", ""),
        ("HEAD", "/_ping", "read", ""),
        ("GET", "/v1.45/containers/json?all=1", "read", ""),
        ("POST", "/v1.45/containers/create?name=x", "create", ""),
        ("POST", "/containers/abc/start", "start", "abc"),
        ("POST", "/v1.24/containers/abc/exec", "exec", "abc"),
        ("POST", "/exec/0123/start", "exec-start", "0123"),
        ("GET", "/v1.45/containers/abc/attach/ws?stream=1", "attach", "abc"),
        ("PUT", "/containers/abc/archive?path=/etc", "copy-in", "abc"),
        ("GET", "/containers/abc/archive?path=/etc", "copy-out", "abc"),
        ("GET", "/v1.45/containers/abc/export", "copy-out", "abc"),
        ("HEAD", "/containers/abc/archive?path=/etc", "copy-out", "abc"),
        ("POST", "/v1.45/images/create?fromImage=reg.example:5000/a/b&tag=1", "pull", ""),
        ("POST", "/images/reg.example:5000/a/b/push", "push", "reg.example:5000/a/b"),
        ("POST", "/images/reg.example%3A5000/a/b/tag?repo=c", "tag", "reg.example:5000/a/b"),
        ("POST", "/volumes/create", "volume", ""),
        ("POST", "/plugins/x/disable", "engine", "x/disable"),
        ("POST", "/swarm/init", "engine", "init"),
        ("POST", "/services/create", "engine", "create"),
        ("POST", "/grpc", "session", ""),
        ("GET", "/debug/pprof/heap", "engine", ""),
    ],
)
def test_known_routes(method: str, uri: str, kind: str, name: str) -> None:
    """With a version and without, names with a registry's port too."""
    route = classify(method, uri)
    assert (route.kind, route.name) == (kind, name)


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("POST", "/containers/x/../y/start"),
        ("POST", "/containers//create"),
        ("POST", "//containers/create"),
        ("POST", "http://localhost/containers/create"),
        ("POST", "/containers/%2e%2e/create"),
        ("POST", "/containers/create%00"),
        ("POST", "/containers/create%2"),
        ("POST", "/v1.45/v1.44/containers/create"),
        ("POST", "/containers%252fcreate"),
        ("POST", "/containers/create#x"),
        ("POST", "/containers/create;x"),
        ("POST", "/containers/crea te"),
        ("post", "/containers/create"),
        ("PATCH", "/containers/create"),
        ("POST", "/containers/new-verb"),
        ("POST", "/brand/new"),
        ("POST", "/images/create?fromImage=a;tag=b"),
        ("POST", "/images/create?fromImage=%zz"),
        ("POST", "/containers/a/b/start"),
        ("POST", "/containers/cr\u0435ate"),
        ("GET", ""),
        ("GET", "/" + "a" * 70_000),
    ],
)
def test_anything_else_is_refused(method: str, uri: str) -> None:
    """Encodings, dot segments, absolute forms, other methods and new writes."""
    with pytest.raises(ParseError):
        classify(method, uri)


def test_an_encoded_path_is_decoded_once() -> None:
    """The engine decodes once, too: an encoded verb is the verb."""
    assert classify("POST", "/containers/%63reate").kind == "create"


def test_a_parameter_that_comes_twice_is_refused() -> None:
    """The engine takes the first, others the last."""
    route = classify("POST", "/images/create?fromImage=a&fromImage=b")
    with pytest.raises(ParseError):
        route.one("fromImage")


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), st.text(max_size=60))
def test_any_request_line_is_a_route_or_refused(method: str, uri: str) -> None:
    """Nothing else comes out."""
    with contextlib.suppress(ParseError):
        classify(method, "/" + uri)
