"""One etcd, an API server without a gate and one behind it, for all tests of this folder that need real ones."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import kubeserver
from kubeserver import ApiServer, Etcd, Gate, Process
from loopback import free_port
from pratique.enforce.kubernetes import certificates
from reviewing import ONCALL, POLICY


class Real(NamedTuple):
    """An API server, and the gate that it asks."""

    api: ApiServer
    gate: Gate
    bare: ApiServer


@pytest.fixture(scope="session")
def real() -> Iterator[Real]:
    """Return both sides: `api` behind a gate, and `bare` without one."""
    why = kubeserver.missing()
    if why:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="pq-kube-"))
    started: list[Process] = []
    try:
        etcd = Etcd(folder)
        started.append(etcd)
        bare = ApiServer(folder / "bare", etcd)
        started.append(bare)
        port = free_port()
        token = folder / "token"
        token.write_text("gate")
        certificates.make(folder / "gated" / "own", ("127.0.0.1",), dt.datetime.now(dt.UTC))
        api = ("--api-server", f"https://127.0.0.1:{port}", "--api-token", str(token))
        gate = Gate(folder / "gate", *api, "--api-ca", str(folder / "gated" / "own" / "ca.crt"), "--evict")
        started.append(gate)
        with gate.desk() as desk:
            desk.set_policy("policy.yaml", POLICY, ONCALL)
        gated = ApiServer(folder / "gated", etcd, gate, port)
        started.append(gated)
        yield Real(gated.wait(), gate, bare.wait())
    finally:
        for process in reversed(started):
            process.stop()
        if not os.environ.get("PRATIQUE_TEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
