"""What may still be read in, a process that can do nothing else out: no write, no network, no program, no other process.

For the process that parses what an image brings. A bug in a parser then costs that process, not the host: Landlock takes the
file system away, seccomp the system calls, limits bound memory, time and files. All of it works without privileges, cannot
be taken back, and holds for threads started later. What the kernel does not offer is named in the answer, never passed over.

Call `confine` in a process of its own (see `confined`) that has one thread. What it needs later must be imported before, or
`python_paths()` must be among the readable paths.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Sequence

import msgspec

from pratique._kit import landlock, seccomp

MEBIBYTE = 1 << 20

SET_PARENT_DEATH_SIGNAL = 1
SET_DUMPABLE = 4
SET_SECCOMP = 22
SET_NO_NEW_PRIVILEGES = 38
FILTER = 2
CPU_GRACE_SECONDS = 5

CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3 = 0x20080522
READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH: root reads files of others; what it may read is bounded by Landlock


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a confined process may use.

    memory       bytes of private memory (RLIMIT_DATA, which counts heap, thread stacks and anonymous maps, not mapped files):
                 twenty times what the largest image in the benchmarks takes, less than the smallest build machine has
    cpu_seconds  of all threads together: an image of 2 GB takes four; a parser that loops must end some time
    open_files   layers and archives that are open at once, with room
    file_size    of what it may write to descriptors that it inherited (spools without a name); 0: nothing
    """

    memory: int = 2048 * MEBIBYTE
    cpu_seconds: int = 900
    open_files: int = 256
    file_size: int = 0


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a process. `missing` says in words what does not; it is empty where everything could be had."""

    landlock: int = 0
    """Version of Landlock in force; 0: none."""
    files: bool = False
    """Only the given paths can be read."""
    writes: bool = False
    """Nothing can be written, made or removed."""
    network: bool = False
    """No socket can be made or used."""
    programs: bool = False
    """No program or other process can be started."""
    signals: bool = False
    """No other process can be signalled, traced or read."""
    capabilities: bool = False
    """Root's capabilities are gone, but for reading files of others."""
    limits: bool = False
    missing: tuple[str, ...] = ()


def confine(read_paths: Sequence[str], limits: Limits | None = None) -> Confinement:
    """Take everything from this process but reading `read_paths` (files, or folders with all below them).

    Returns what was applied. Descriptors that are open stay open. Raises OSError if a path does not exist, and RuntimeError if
    other threads run, since they would stay free.
    """
    if sys.platform != "linux":
        return Confinement(missing=("only Linux can confine a process",))
    if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 (pathlib is slower and need not be loaded)
        raise RuntimeError("a process with several threads cannot be confined")
    missing: list[str] = []
    call = landlock.system_call()
    control = _control()
    control(SET_DUMPABLE, 0)
    control(SET_NO_NEW_PRIVILEGES, 1)
    limited = _limit(limits or Limits(), missing)
    abi = landlock.version(call)
    files = _restrict_files(call, abi, read_paths, missing)
    capabilities = _drop_capabilities(call, missing)
    filtered = _filter_calls(control, missing)
    return Confinement(
        landlock=abi,
        files=files,
        writes=files or filtered,
        network=filtered,
        programs=filtered,
        signals=filtered or (files and abi >= landlock.SCOPE_SINCE),
        capabilities=capabilities,
        limits=limited,
        missing=tuple(missing),
    )


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the one that started it, `parent`, ends however it ends."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            _control()(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def python_paths() -> list[str]:
    """Return the folders that importing a module may read: the interpreter's, its packages', the system's libraries."""
    wanted = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    wanted.update(path for path in sys.path if path)
    wanted.update(("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo", "/etc/localtime"))
    wanted.update(("/dev/null", "/dev/urandom"))
    return sorted(path for path in wanted if os.path.exists(path))  # noqa: PTH110 (as above)


def _control() -> landlock.Call:
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def control(option: int, value: int, pointer: object = None) -> int:
        result = int(prctl(ctypes.c_int(option), ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0)))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    return control


def _limit(limits: Limits, missing: list[str]) -> bool:
    wanted = {
        resource.RLIMIT_DATA: limits.memory,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_size,  # pipes are not files: results still leave
        resource.RLIMIT_CORE: 0,  # a core would put an image's secrets on the disk
    }  # no RLIMIT_NPROC: it counts what the person's other programs run, and no process can be made anyway
    try:
        for which, most in wanted.items():
            hard = resource.getrlimit(which)[1]
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            # at the soft limit of processor time the kernel says why it kills, at the hard one it does not
            grace = CPU_GRACE_SECONDS if which == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
            resource.setrlimit(which, (bound, bound + grace))
    except (OSError, ValueError) as error:
        missing.append(f"limits on memory, time and files could not be set: {error}")
        return False
    return True


def _restrict_files(call: landlock.Call, abi: int, read_paths: Sequence[str], missing: list[str]) -> bool:
    if abi == 0:
        missing.append("the kernel has no Landlock (or it is switched off): other files can be read")
        return False
    landlock.restrict(call, abi, read_paths)
    return True


def _drop_capabilities(call: landlock.Call, missing: list[str]) -> bool:
    number = CAPSET.get(os.uname().machine)
    if number is None:
        missing.append(f"capabilities are kept: {os.uname().machine} is not known")
        return False
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    for kept in (READ_ANY_FILE, 0):  # who does not have it cannot keep it
        data = struct.pack("=6I", kept, kept, 0, 0, 0, 0)
        try:
            call(number, ctypes.c_char_p(header), ctypes.c_char_p(data))
        except OSError as error:
            if error.errno != errno.EPERM:
                missing.append(f"capabilities could not be dropped: {error}")
                return False
        else:
            return True
    missing.append("capabilities could not be dropped")
    return False


def _filter_calls(control: landlock.Call, missing: list[str]) -> bool:
    machine = seccomp.this_machine()
    if machine is None:
        missing.append(f"system calls are not filtered: {os.uname().machine} is not known")
        return False
    code = seccomp.assemble(machine, os.getpid())
    held = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    program = struct.pack("@HP", len(code) // seccomp.INSTRUCTION.size, ctypes.addressof(held))
    try:
        control(SET_SECCOMP, FILTER, ctypes.c_char_p(program))
    except OSError as error:
        missing.append(f"system calls are not filtered: {error}")
        return False
    return True
