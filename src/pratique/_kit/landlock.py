"""Folders and files in, a process that can open nothing else out: Landlock by its three system calls.

See Linux, Documentation/userspace-api/landlock.rst. Every version of the interface since the first is used as far as it goes:
1 files, 2 renames between folders, 3 truncation, 4 TCP, 5 device ioctls, 6 signals and abstract sockets, 7 (audit) adds none.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Callable, Iterable

CREATE_RULESET = 444
ADD_RULE = 445
RESTRICT_SELF = 446
VERSION_FLAG = 1
RULE_PATH_BENEATH = 1

READ_FILE = 1 << 2
READ_FOLDER = 1 << 3
FIRST_RIGHTS = (1 << 13) - 1
"""Execute, write, read, remove and make: what version 1 can refuse."""
LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Refer, truncate and device ioctl, by the version that brought them."""

NETWORK_SINCE = 4
NETWORK_RIGHTS = 0b11  # bind and connect over TCP
SCOPE_SINCE = 6
SCOPES = 0b11  # abstract unix sockets and signals to processes outside

Call = Callable[..., int]


def system_call() -> Call:
    """Return libc's `syscall` with errors raised as OSError."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long

    def call(number: int, *arguments: object) -> int:
        result = int(syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    return call


def version(call: Call) -> int:
    """Return the version of the kernel's Landlock, 0 where it has none or it is switched off."""
    try:
        return call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_FLAG))
    except OSError:
        return 0


def file_rights(abi: int) -> int:
    """Return every right over files that this version can refuse."""
    rights = FIRST_RIGHTS
    for since, right in LATER_RIGHTS.items():
        if abi >= since:
            rights |= right
    return rights


def ruleset(abi: int) -> bytes:
    """Return `struct landlock_ruleset_attr` as long as this version knows it: everything is refused that can be."""
    fields = [file_rights(abi)]
    if abi >= NETWORK_SINCE:
        fields.append(NETWORK_RIGHTS)
    if abi >= SCOPE_SINCE:
        fields.append(SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def restrict(call: Call, abi: int, read_paths: Iterable[str]) -> None:
    """Let this process (and the threads it will start) read only these files and folders. Needs no_new_privs.

    Raises OSError if a path is not there or the kernel refuses.
    """
    attributes = ruleset(abi)
    handle = call(CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path in read_paths:
            _allow_reading(call, handle, path)
        call(RESTRICT_SELF, ctypes.c_int(handle), ctypes.c_uint32(0))
    finally:
        os.close(handle)


def _allow_reading(call: Call, handle: int, path: str) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = READ_FILE | READ_FOLDER if stat.S_ISDIR(os.fstat(place).st_mode) else READ_FILE
        rule = struct.pack("=Qi", rights, place)
        call(ADD_RULE, ctypes.c_int(handle), ctypes.c_int(RULE_PATH_BENEATH), ctypes.c_char_p(rule), ctypes.c_uint32(0))
    finally:
        os.close(place)
