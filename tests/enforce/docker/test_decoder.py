"""The gate's decoder against the engine's own types: what it takes, the engine reads in no other way.

`decoder/cases.json.gz` holds what Debian's engine 26.1.5 made of bodies from `decoding.Bodies` (decoder/main.go with Go 1.24).
Where PRATIQUE_TEST_DECODER names that program, it is asked about new ones.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import secrets
import struct
import subprocess
from pathlib import Path
from typing import IO

import pytest

from decoding import KINDS, Bodies, lost
from pratique.enforce.docker.decode import decode
from pratique.model.errors import ParseError

CASES = Path(__file__).parent / "decoder/cases.json.gz"


def differences(kind: str, body: bytes, said: str) -> list[str] | None:
    """Return what the engine sees and the gate does not; None where the gate takes nothing of it, which is always right."""
    try:
        ours = decode(body, KINDS[kind])
    except ParseError:
        return None
    return [] if said.startswith("!") else list(lost(json.loads(said), ours))


def test_recorded() -> None:
    cases = json.loads(gzip.decompress(CASES.read_bytes()))
    outcomes = []
    for kind, text, said in cases:
        body = base64.b64decode(text)
        found = differences(kind, body, said)
        assert not found, f"{kind} {body!r}: the engine reads {found}"
        outcomes.append((found is None, said.startswith("!")))
    assert len(cases) >= 4000
    assert sum(refused for refused, _ in outcomes) > 500, "many are refused"
    assert sum(refused and not error for refused, error in outcomes) > 300, "some of which the engine takes"
    assert sum(not refused and not error for refused, error in outcomes) > 2000


def test_the_comparison_finds_what_it_is_for() -> None:
    engine = {"HostConfig": {"Privileged": True, "ConsoleSize": [0, 0]}, "Cmd": ["a"], "Labels": None}
    assert list(lost(engine, {"HostConfig": {}, "Cmd": "a"})) == [".HostConfig.Privileged"]
    assert list(lost({"Binds": ["a", "b"]}, {"Binds": ["a"]})) == [".Binds"]
    assert list(lost(engine, {"HostConfig": {"Privileged": True}, "Cmd": ["a"]})) == []


def test_live() -> None:
    program = os.environ.get("PRATIQUE_TEST_DECODER")
    if not program:
        pytest.skip("needs the engine's decoder (PRATIQUE_TEST_DECODER, see decoder/main.go)")
    seed = secrets.randbits(32)
    bodies = Bodies(seed)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as oracle:
        assert oracle.stdin is not None
        assert oracle.stdout is not None
        for _ in range(20_000):
            kind, body = bodies.one()
            found = differences(kind, body, ask(oracle.stdin, oracle.stdout, kind, body))
            assert not found, f"seed {seed}: {kind} {body!r}: the engine reads {found}"
        oracle.stdin.close()


def ask(given: IO[bytes], taken: IO[bytes], kind: str, body: bytes) -> str:
    """Ask the engine's types."""
    given.write(kind.encode() + struct.pack(">I", len(body)) + body)
    given.flush()
    (size,) = struct.unpack(">I", taken.read(4))
    return taken.read(size).decode("utf-8", "surrogatepass")
