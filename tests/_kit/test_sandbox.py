"""The sandbox: what is forbidden is attempted in a confined child and refused, what parsing needs works."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pratique._kit import landlock, seccomp

PROBE = Path(__file__).parent / "sandbox_probe.py"
HAS_LANDLOCK = sys.platform == "linux" and landlock.version(landlock.system_call()) > 0
HAS_FILTER = platform.machine() in seccomp.MACHINES

pytestmark = pytest.mark.skipif(not HAS_FILTER, reason=f"no seccomp table for {platform.machine()}: nothing to test here")
needs_landlock = pytest.mark.skipif(
    not HAS_LANDLOCK, reason="this kernel has no Landlock: reading outside cannot be refused here"
)

REFUSED = [
    "open_for_writing", "make_a_file", "make_a_file_elsewhere", "remove_a_file", "change_a_mode", "connect", "unix_socket",
    "run_a_program", "fork", "spawn", "kill_the_parent", "thread_kill_the_parent", "trace_the_parent", "limit_the_parent",
    "read_the_parents_memory", "io_uring", "mount", "namespaces",
]  # fmt: skip


def probe(name: str, given: dict[str, Any] | None = None, check: int = 0) -> Any:
    command = [sys.executable, "-W", "error", str(PROBE), name, json.dumps(given or {})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == check, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Make a folder that may be read with a file and a link that leads out of it, and a file outside."""
    folder, outside = tmp_path / "readable", tmp_path / "elsewhere" / "secret"
    folder.mkdir()
    outside.parent.mkdir()
    outside.write_bytes(b"secret")
    (folder / "file").write_bytes(b"content of the file")
    (folder / "link").symlink_to(outside)
    return {"folder": str(folder), "inside": str(folder / "file"), "outside": str(outside)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_parser_never_needs_is_refused(name: str, given: dict[str, Any]) -> None:
    """Each forbidden thing ends in EPERM or EACCES, and the file it aimed at is as it was."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = probe(name, given | {"port": server.getsockname()[1]})["answer"]
    assert answer.get("errno") in {errno.EPERM, errno.EACCES}, answer
    assert Path(given["inside"]).read_bytes() == b"content of the file"
    assert sorted(path.name for path in Path(given["folder"]).iterdir()) == ["file", "link"]


@needs_landlock
@pytest.mark.parametrize("name", ["read_outside", "list_outside", "leave_by_a_link"])
def test_nothing_outside_can_be_read(name: str, given: dict[str, Any]) -> None:
    """Files and folders that were not given cannot be read, not even through a link inside."""
    assert probe(name, given)["answer"] == {"refused": "PermissionError", "errno": errno.EACCES}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("clone3", errno.ENOSYS), ("a_call_of_the_future", errno.ENOSYS), ("type_into_the_terminal", errno.EPERM)],
)
def test_calls_answer_what_libc_expects(name: str, expected: int, given: dict[str, Any]) -> None:
    """Calls with a way round answer ENOSYS, so that libc takes it; typing into a terminal is refused."""
    assert probe(name, given)["answer"]["errno"] == expected


def test_descriptors_of_the_parent_are_closed(given: dict[str, Any]) -> None:
    """A number that is no descriptor of the child's own is not open in it."""
    assert probe("use_inherited_descriptors", given | {"descriptor": 30})["answer"]["errno"] == errno.EBADF


def test_what_parsing_needs_works(given: dict[str, Any]) -> None:
    """Threads, given files, hashing, decompression, an in-memory database and a late import work; nothing is missing."""
    result = probe("allowed", given)
    assert result["answer"]["done"] == [1, 4, 42, "cont", ["file", "link"], "wave"]
    if HAS_LANDLOCK:
        assert result["missing"] == []


@pytest.mark.parametrize("reason", ["cpu", "signal", "memory", "error", "exit", "time", "protocol"])
def test_a_worker_that_ends_early_is_named(reason: str) -> None:
    """However the child ends before its work does, the parent says by what, and no zombie is left."""
    result = probe(reason)
    assert result["reason"] == reason, result
    assert result["exit_code"] == 3
    assert result["zombies"] == 0


def test_a_child_that_never_ends_its_answers_is_ended() -> None:
    """What the parent hears is bounded in all, not only message by message: its memory is no child's to fill."""
    result = probe("flood")
    assert result["reason"] == "protocol"
    assert "4096 bytes in all" in result["message"]
    assert result["zombies"] == 0


def test_a_failure_keeps_what_came_before() -> None:
    """Messages sent before the end are received, the error's own words are kept, a crash keeps its standard error."""
    failed = probe("error")
    assert failed["said"] == ["so far so good"]
    assert "ValueError: this input is not right" in failed["message"]
    crashed = probe("signal")
    assert "SIGSEGV" in crashed["message"]
    assert "about to crash" in crashed["stderr"]


def test_standard_error_is_bounded() -> None:
    """A child that floods standard error is heard to its end, and only the end is kept."""
    result = probe("none")
    assert result["reason"] == "none"
    assert result["kept"] == 65536
    assert result["stderr"].endswith("the end")


def test_both_directions() -> None:
    """Messages of any size go both ways, in order; the end is told once and for all; nothing leaks."""
    assert probe("talk") == {"right": 5, "last": None, "again": None, "leaked": 0, "zombies": 0}


def test_leaving_the_block_ends_the_child() -> None:
    """An interrupt in the parent leaves no child, alive or dead."""
    assert probe("leave_early") == {"alive": False, "zombies": 0}


def test_a_killed_parent_takes_the_child_along() -> None:
    """A parent that is killed outright leaves no child behind."""
    pid = probe("orphan", check=-9)["pid"]
    for _ in range(6000):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
    pytest.fail("the confined child outlived its parent")


def test_nothing_of_the_parent_runs_twice() -> None:
    """Buffers and exit handlers of the parent are the parent's alone; the child's own output goes nowhere."""
    done = subprocess.run([sys.executable, PROBE, "hooks"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["buffered", '{"answer": null}', "handler"]
    assert done.stderr == ""


def test_threads_are_refused() -> None:
    """A process with several threads is not forked."""
    assert "several threads" in probe("threads_refused")["refused"]


@needs_landlock
def test_a_path_that_is_not_there_is_an_error() -> None:
    """Confinement fails closed: a path that cannot be given ends the child, and it is named."""
    result = probe("absent_path")
    assert result["reason"] == "error"
    assert "FileNotFoundError" in result["message"]


@pytest.mark.parametrize(
    ("abi", "size", "rights"),
    [(1, 8, 13), (2, 8, 14), (3, 8, 15), (4, 16, 15), (5, 16, 16), (6, 24, 16), (7, 24, 16), (9, 24, 16)],
)
def test_every_version_of_landlock_gets_what_it_knows(abi: int, size: int, rights: int) -> None:
    """The ruleset has the length and the rights of the version, since a kernel refuses what it does not know."""
    attributes = landlock.ruleset(abi)
    assert len(attributes) == size
    assert struct.unpack_from("=Q", attributes)[0] == (1 << rights) - 1


def run_filter(machine: seccomp.Machine, number: int, arguments: tuple[int, ...] = (), audit: int | None = None) -> int:
    """Interpret the filter as the kernel would; return its verdict."""
    data = struct.pack("=IIQ6Q", number, audit or machine.audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    steps = list(seccomp.INSTRUCTION.iter_unpack(seccomp.assemble(machine, 4242)))
    place, value = 0, 0
    while True:
        code, yes, no, k = steps[place]
        place += 1
        if code == seccomp.RETURN:
            return int(k)
        if code == seccomp.LOAD:
            (value,) = struct.unpack_from("=I", data, k)
        else:
            taken = {seccomp.JUMP_EQUAL: value == k, seccomp.JUMP_AT_LEAST: value >= k, seccomp.JUMP_ANY_BIT: bool(value & k)}
            place += yes if taken[code] else no


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
def test_the_filter_says_the_same_on_every_machine(name: str) -> None:
    """Every call of the tables is refused, reading is allowed, foreign numberings end the process."""
    machine = seccomp.MACHINES[name]
    refused = seccomp.ERRNO | errno.EPERM
    for group in seccomp.REFUSED:
        for call, numbers in group.items():
            if numbers[machine.column]:
                assert run_filter(machine, numbers[machine.column]) == refused, call
    absent = seccomp.ERRNO | errno.ENOSYS
    assert [run_filter(machine, numbers[machine.column]) for numbers in seccomp.WITHOUT] == [absent, absent]
    assert run_filter(machine, seccomp.FIRST_UNKNOWN) == absent
    for reading in {"x86_64": (0, 3, 5, 8, 9, 17, 202, 228, 231), "aarch64": (63, 57, 80, 62, 222, 67, 98, 113, 94)}[name]:
        assert run_filter(machine, reading) == seccomp.ALLOW
    assert run_filter(machine, 0, audit=0x40000003) == seccomp.KILL_PROCESS
    assert run_filter(machine, seccomp.X32_BIT | 1) == seccomp.KILL_PROCESS


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
def test_the_filter_looks_at_arguments(name: str) -> None:
    """Threads but no processes, reading but no writing, own signals and limits but nobody else's."""
    machine = seccomp.MACHINES[name]
    refused = seccomp.ERRNO | errno.EPERM
    cases = [
        (seccomp.CLONE, (0x3D0F00,), (0x11,)),
        (seccomp.OPENAT, (3, 0, os.O_RDONLY | os.O_CLOEXEC), (3, 0, os.O_WRONLY)),
        (seccomp.OPENAT, (3, 0, os.O_PATH), (3, 0, os.O_RDONLY | os.O_CREAT)),
        (seccomp.TGKILL, (4242, 1, 6), (4243, 1, 6)),
        (seccomp.PRLIMIT, (0, 7), (1, 7)),
        (seccomp.IOCTL, (0, 0x5401), (0, 0x5412)),
    ]
    for numbers, good, bad in cases:
        assert run_filter(machine, numbers[machine.column], good) == seccomp.ALLOW, numbers
        assert run_filter(machine, numbers[machine.column], bad) == refused, numbers


def test_the_numbers_are_this_machines() -> None:
    """The table agrees with the kernel: the number that it has for getpid's neighbour PRLIMIT answers as that call."""
    numbers = seccomp.PRLIMIT[seccomp.MACHINES[platform.machine()].column]
    limits = ctypes.create_string_buffer(16)
    assert ctypes.CDLL(None).syscall(numbers, 0, 7, None, limits) == 0
    assert struct.unpack("=QQ", limits.raw)[0] > 0
