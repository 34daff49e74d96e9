"""What a request body means is what every reader would see, or it is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.enforce.docker import fields
from pratique.enforce.docker.decode import MAX_BODY, decode
from pratique.model.errors import ParseError

PLAIN: dict[str, Any] = {
    "Image": "app@sha256:" + "0" * 64,
    "Cmd": ["sleep", "1"],
    "Labels": {"a": "b", "A": "c"},
    "HostConfig": {
        "Binds": ["/data:/data:ro"],
        "Mounts": [{"Type": "bind", "Source": "/srv", "Target": "/srv", "ReadOnly": True}],
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    },
}


def test_a_plain_body_is_taken() -> None:
    """Nothing of a plain request is lost, free keys keep their letter case."""
    assert decode(json.dumps(PLAIN).encode(), fields.CREATE) == PLAIN


def test_what_says_nothing_is_left_out() -> None:
    """Clients send every field they know; null means that nothing is said, and an unknown field that says nothing is no harm."""
    body = {**PLAIN, "Entrypoint": None, "Newfangled": None, "Another": "", "More": []}
    assert decode(json.dumps(body).encode(), fields.CREATE) == PLAIN


def test_one_word_is_a_list_of_one() -> None:
    """The engine takes a string for Cmd, Entrypoint and capabilities."""
    assert decode(b'{"Cmd":"ls","HostConfig":{"CapAdd":"SYS_ADMIN"}}', fields.CREATE) == {
        "Cmd": ["ls"],
        "HostConfig": {"CapAdd": ["SYS_ADMIN"]},
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"hostconfig":{"Privileged":true}}',
        b'{"HostConfig":{"privileged":true}}',
        b'{"HostConfig":{"PRIVILEGED":true}}',
        '{"Ho\u017ftConfig":{"Privileged":true}}'.encode(),
        '{"HostConfig":{"Bind\u017f":["/:/h"]}}'.encode(),
        '{"NetworkingConfig":{},"\u212a":1}'.encode(),
        b'{"User":"1000","User":"0"}',
        b'{"User":"1000","user":"0"}',
        b'{"HostConfig":{},"HostConfig":{"Privileged":true}}',
        b'{"HostConfig":{"Mounts":[{"Source":"/a","source":"/"}]}}',
        b'{"User":"1000"}{"User":"0"}',
        b'{"User":"1000"} trailing',
        b'\xef\xbb\xbf{"User":"1000"}',
        b'{"User":"\xff0"}',
        b'{"User":"\\ud8000"}',
        b'{"User":"0\\u0000"}',
        b'{"HostConfig":{"Memory":NaN}}',
        b'{"HostConfig":{"Memory":99999999999999999999}}',
        b'{"HostConfig":{"Privileged":"true"}}',
        b'{"HostConfig":{"Privileged":1}}',
        b'{"HostConfig":{"PidMode":["host"]}}',
        b'{"HostConfig":{"NewPrivilege":true}}',
        b'{"HostConfig":[]}',
        b'{"HostConfig":{"PortBindings":{"80/tcp":[{"hostport":"1"}]}}}',
        b"[]",
        b"null",
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"User":"' + b"a" * MAX_BODY + b'"}',
    ],
)
def test_what_could_be_read_otherwise_is_refused(body: bytes) -> None:
    """Go folds letters, merges objects, takes the last of two, and repairs: none of it passes."""
    with pytest.raises(ParseError):
        decode(body, fields.CREATE)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    """Nothing else comes out than an object or a ParseError."""
    with contextlib.suppress(ParseError):
        assert isinstance(decode(body, fields.EXEC), dict)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "0", "root", "host"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["User", "user", "Cmd", "Env", "HostConfig", "Privileged", "privileged", "Binds", "Mounts", "Source", "X"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(_JSON)
def test_decoding_again_changes_nothing(value: Any) -> None:
    """What was taken is taken again, and is the same: there is one reading."""
    try:
        once = decode(json.dumps(value).encode(), fields.CREATE)
    except ParseError:
        return
    assert decode(json.dumps(once).encode(), fields.CREATE) == once
