"""What `pratique doctor` sees: on an engine behind the gate, on one without, and on machines made of folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import loopback
from attacking import Side
from dockergate import GatedEngine
from pratique.cli.main import run
from pratique.enforce.docker.taint import Taints
from pratique.enforce.doctor import engine, images, records, runtimes, ways
from pratique.model.errors import LedgerError
from pratique.store.ledger import Ledger
from storing import entry, filled, place_in


def colours(side: Side, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    own = side.engine
    capsys.readouterr()
    code = run(["doctor", "--engine", str(own.own), "--front", str(own.socket), "-f", "json", *more])
    found = json.loads(capsys.readouterr().out)
    assert found["enforced"] == (code == 0)
    return code, {one["check"]: one for one in found["checks"]}


@pytest.mark.needs("dockerd")
def test_an_engine_behind_the_gate(gated: Side, capsys: pytest.CaptureFixture[str]) -> None:
    behind = gated.engine
    assert isinstance(behind, GatedEngine)
    before = max((line.seq for line in behind.ledger()), default=0)
    code, found = colours(
        gated, capsys, "--store", str(behind.store), "--plugin", str(behind.plugins / "pratique.sock"),
        "--agent", str(behind.folder / "agent.sock"),
    )  # fmt: skip
    green = (
        "engine.plugin",
        "engine.plugin-socket",
        "front.socket",
        "runtime.agent",
        "ledger",
        "policy",
        "room",
    )
    assert {name: found[name]["found"] for name in green if found[name]["colour"] != "green"} == {}
    assert code == 1
    assert "plain (" in found["runtime.names"]["found"], "these tests' engine has a runtime that no gate stands in front of"
    assert str(behind.own) in found["ways.sockets"]["found"], "the group may open the engine's own socket in these tests"
    assert found["ways.sockets"]["mend"].startswith("chmod 600 ")
    probes = [line for line in behind.ledger(before) if line.decision == "deny"]
    assert len(probes) >= 3, "each thing that was tried stands in the ledger"


@pytest.mark.needs("dockerd")
def test_an_engine_without_a_gate(bare: Side, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path)
    code, found = colours(bare, capsys, "--store", str(tmp_path / "store"), "--agent", str(tmp_path / "none"))
    assert code == 1
    assert found["engine.plugin"]["colour"] == "red"
    assert "is root" in found["engine.plugin"]["found"]
    assert found["front.socket"]["found"] == "the front socket is the engine's own"
    assert found["runtime.agent"]["colour"] == "red"
    assert found["policy"]["colour"] == "amber"
    assert bare.engine.look("/containers/json?all=1") is not None


def test_no_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--engine", str(tmp_path / "none")]) == 3
    said = capsys.readouterr().err
    assert "does not answer" in said or "only root" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("20.10.24+dfsg1", ["CVE-2024-41110", "CVE-2026-34040"]),
        ("25.0.5", ["CVE-2024-41110", "CVE-2026-34040"]),
        ("26.1.4", ["CVE-2024-41110", "CVE-2026-34040"]),
        ("26.1.5+dfsg1", ["CVE-2026-34040"]),
        ("27.1.1", ["CVE-2026-34040"]),
        ("29.3.0", ["CVE-2026-34040"]),
        ("29.3.1", []),
        ("30.0.0-rc.1", []),
        ("nobody knows", ["CVE-2024-41110", "CVE-2026-34040"]),
    ],
)
def test_known_holes(version: str, known: list[str]) -> None:
    assert engine.holes(version) == known


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a /proc of one dockerd with one listening socket."""
    folder = tmp_path / "proc/17"
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text("dockerd\n")
    (folder / "environ").write_bytes(f"PATH={tmp_path}/bin\0HOME=/\0".encode())
    (folder / "fd/3").symlink_to("socket:[4711]")
    (folder / "fd/4").symlink_to("/dev/null")
    (tmp_path / "proc/net").mkdir()
    line = f"0000: 00000002 00000000 00010000 0001 01 4711 {tmp_path}/engine.sock"
    other = f"0000: 00000002 00000000 00010000 0001 01 4712 {tmp_path}/other.sock"
    (tmp_path / "proc/net/unix").write_text(f"Num RefCount\n{line}\n{other}\n0000: 00000003 00000000 00000000 0001 03 99\n")
    return tmp_path


@pytest.fixture
def listening(machine: Path) -> Iterator[Path]:
    path = machine / "engine.sock"
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(path))
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the socket is to be root's")
@pytest.mark.parametrize(("mode", "group", "colour", "said"), [
    (0o600, 0, "green", "all of them root's"), (0o660, 0, "green", "all of them root's"),
    (0o660, 100, "red", "for the group"), (0o666, 0, "red", "for everybody"),
])  # fmt: skip
def test_who_gets_to_an_engines_socket(machine: Path, listening: Path, mode: int, group: int, colour: str, said: str) -> None:
    for folder in (machine, *machine.parents):
        if str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    listening.chmod(mode)
    os.chown(listening, 0, group)
    found = {one.check: one for one in ways.look(machine / "none", frozenset(), machine / "proc")}
    assert found["ways.sockets"].colour == colour
    assert said in found["ways.sockets"].found


@pytest.mark.parametrize(
    ("rule", "who"),
    [
        ("alice ALL=(root) NOPASSWD: /usr/bin/podman\n", "alice"),
        ("%ops ALL=(ALL) /usr/bin/systemctl, \\\n  /usr/bin/buildah, /usr/bin/ls\n", "%ops"),
        ("bob ALL=/usr/bin/podman *\n", "bob"),
        ("bob ALL=/usr/bin/podman ps, /usr/bin/podman run *\n", "bob"),
        ("bob ALL=/usr/bin/podman restart web, /usr/bin/podman ps\n", ""),
        ("# alice ALL=/usr/bin/podman\n", ""),
        ("bob ALL=/usr/bin/podman-compose up\n", ""),
    ],
)
def test_sudo_that_gives_all_of_podman(tmp_path: Path, rule: str, who: str) -> None:
    """What its runtime never sees goes past the gate; commands that are named one by one do not."""
    (tmp_path / "sudoers.d").mkdir()
    (tmp_path / "sudoers.d/containers").write_text(rule)
    (tmp_path / "subuid").write_text("alice:100000:65536\n# bob:1:1\n")
    found = {one.check: one for one in ways.look(tmp_path / "none", frozenset(), etc=tmp_path)}
    assert ("ways.sudo" in found) is bool(who)
    if who:
        assert found["ways.sudo"].colour == "amber"
        assert f"lets {who} call" in found["ways.sudo"].found
    assert "alice" in found["ways.rootless"].found or found["ways.rootless"].colour == "amber"


@pytest.mark.needs("dockerd", "docker")
def test_images_from_beyond_the_baseline_are_named(gated: Side) -> None:
    """They are to be removed: what copies out of them, nobody sees."""
    gate = gated.gate
    assert gate is not None
    folder = gate.store / "gate"
    alice = gated.people["alice"]
    gate.grant(alice, ["run.root"], uses=1)
    try:
        assert gated.command(alice, ["run", "--name", "dirty", "-u", "0", "bb:1", "touch", "/made"]).code == 0
        assert gated.command(alice, ["commit", "dirty", "dirty:1"]).code == 0
        (found,) = images.look(gated.engine.own, folder)
        assert (found.colour, "dirty:1" in found.mend) == ("amber", True)
        assert gated.command(alice, ["rmi", "-f", "dirty:1"]).code == 0
        (found,) = images.look(gated.engine.own, folder)
        assert (found.colour, found.check) == ("green", "images.tainted")
    finally:
        gated.clean()
        gate.revoke_all()


@pytest.mark.parametrize(
    ("listed", "colour"), [((500, b"{}"), "amber"), ((200, b'[{"Id": "sha2'), "amber"), ((200, b"[]"), "green")]
)
def test_images_that_an_engine_cannot_list(tmp_path: Path, listed: tuple[int, bytes], colour: str) -> None:
    """Nothing is said to be well of which nobody could tell; an image that goes meanwhile is nothing to tell of."""
    taints = Taints(tmp_path / "gate/tainted-images")
    taints.add({"Id": f"sha256:{1:064x}", "RootFS": {"Layers": ["sha256:a"]}}, ())
    with answering(tmp_path / "engine.sock", {"/images/json?all=1": listed}):
        (found,) = images.look(tmp_path / "engine.sock", tmp_path / "gate")
    assert found.colour == colour
    gone = json.dumps([{"Id": f"sha256:{1:064x}", "Created": 1}]).encode()
    with answering(tmp_path / "other.sock", {"/images/json?all=1": (200, gone)}):
        (found,) = images.look(tmp_path / "other.sock", tmp_path / "gate")
    assert found.colour == "green"


@contextlib.contextmanager
def answering(path: Path, answers: Mapping[str, tuple[int, bytes]]) -> Iterator[None]:
    """Be an engine that answers some questions, and knows of nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "engine"  # a unix socket has no address

        def log_message(self, *_: object) -> None:
            pass

    class Unix(loopback.Threads, socketserver.UnixStreamServer):
        pass

    with Unix(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_gate_that_never_saw_such_an_image(tmp_path: Path) -> None:
    (found,) = images.look(tmp_path / "none", tmp_path)
    assert found.colour == "green"


@pytest.mark.parametrize(
    ("path", "leads"),
    [("/run/docker.sock", True), ("/", True), ("/var/run", True), ("/run/containerd/containerd.sock", True), ("/run/app", False),
     ("/srv/docker.sock.d", False)],
)  # fmt: skip
def test_what_leads_to_an_engine(path: str, leads: bool) -> None:
    assert ways._leads_to_engine(path) is leads


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the gate has to be root's")
def test_a_runtime_that_is_not_the_gate(machine: Path) -> None:
    programs = machine / "bin"
    programs.mkdir()
    runc = programs / "runc"
    runc.write_text("#!/bin/sh\n")
    runc.chmod(0o755)
    (found,) = runtimes._found_in_path(machine / "proc")
    assert (found.check, found.colour) == ("runtime.dockerd", "red")
    runc.write_text("#!/usr/bin/python3 -ISB\nfrom pratique_runtime.gate import main\n")
    (found,) = runtimes._found_in_path(machine / "proc")
    assert found.colour == "green", found.found
    runc.chmod(0o777)
    (found,) = runtimes._found_in_path(machine / "proc")
    assert "others than root can change" in found.found
    runc.unlink()
    (found,) = runtimes._found_in_path(machine / "proc")
    assert "no runc in its PATH" in found.found


def test_a_ledger_that_was_edited_is_red(tmp_path: Path) -> None:
    place = filled(tmp_path)
    found = {one.check: one.colour for one in records.look(place)}
    assert (found["policy"], found["break-glass"], found["ledger"]) == ("amber", "green", "green")
    assert found["room"] in ("green", "amber")
    first = min(place.ledger.iterdir())
    first.write_bytes(first.read_bytes().replace(b"T-1", b"T-9", 1))
    found = {one.check: one.colour for one in records.look(place)}
    assert found["ledger"] == "red"


def test_a_disk_that_does_not_take_the_ledger_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync failed behind an answer that was given: nothing more is taken, and that is said."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry())

    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(LedgerError):
            ledger.append(entry(1))
        ledger.close()
        found = {one.check: one for one in records.look(place)}
    assert found["ledger"].colour == "red"
    assert "sync failed" in found["ledger"].found
    ledger.append(entry(2))
    ledger.close()
    assert next(one.colour for one in records.look(place) if one.check == "ledger") == "green"


@pytest.mark.parametrize(("level", "colour"), [("enough", "green"), ("little", "amber"), ("none", "red")])
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, colour: str) -> None:
    """With little room denials are folded, with none they are counted only: doctor says which."""
    place = place_in(tmp_path)
    Ledger(place).append(entry())
    monkeypatch.setattr("pratique.enforce.doctor.records.room.look", lambda _: level)
    (found,) = [one for one in records.look(place) if one.check == "room"]
    assert found.colour == colour
    assert ("counted" in found.found) == (level != "enough")
