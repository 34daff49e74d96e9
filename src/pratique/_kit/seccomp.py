"""A machine's name in, a seccomp filter out: which system calls a process that parses hostile bytes may no longer make.

The filter is classic BPF over `struct seccomp_data` (Linux, Documentation/userspace-api/seccomp_filter.rst). It refuses what a
parser never needs and an attacker does; it is no list of what is allowed, because that list changes with every libc and
interpreter. Calls newer than this table answer ENOSYS, for which every caller has a way round.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import NamedTuple

INSTRUCTION = struct.Struct("=HBBI")
LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

NUMBER_AT = 0
MACHINE_AT = 4
ARGUMENT_AT = 16  # of the first; each has eight bytes, the low half first on the little-endian machines below

X32_BIT = 0x40000000
CLONE_THREAD = 0x00010000
WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000  # O_WRONLY O_RDWR O_CREAT O_TRUNC __O_TMPFILE
TERMINAL_INJECTIONS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal that started us

FIRST_UNKNOWN = 470
"""Calls from this number on did not exist when the table was written (Linux 6.18); from 424 on all machines share numbers."""

MAX_JUMP = 255
"""A conditional jump of classic BPF has one byte."""


class Machine(NamedTuple):
    """AUDIT_ARCH_* of a machine, and the column of the tables below that has its numbers."""

    audit: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

# Each entry: x86_64, aarch64 (0: the machine has no such call).
NETWORK = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "recvmsg": (47, 212), "recvmmsg": (299, 243),
}  # fmt: skip
PROGRAMS = {"execve": (59, 221), "execveat": (322, 281), "fork": (57, 0), "vfork": (58, 0)}
OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_madvise": (440, 440),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "mq_open": (240, 180),
    "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "setpgid": (109, 154), "setsid": (112, 157), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
PRIVILEGES = {
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143), "setresuid": (117, 147),
    "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151), "setfsgid": (123, 152), "capset": (126, 91),
    "personality": (135, 92), "iopl": (172, 0), "ioperm": (173, 0), "modify_ldt": (154, 0),
}  # fmt: skip
KERNEL = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "lookup_dcookie": (212, 18), "fanotify_init": (300, 262), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}  # fmt: skip
FILES = {
    "creat": (85, 0), "truncate": (76, 45), "unlink": (87, 0), "unlinkat": (263, 35), "rename": (82, 0), "renameat": (264, 38),
    "renameat2": (316, 276), "link": (86, 0), "linkat": (265, 37), "symlink": (88, 0), "symlinkat": (266, 36), "mkdir": (83, 0),
    "mkdirat": (258, 34), "rmdir": (84, 0), "mknod": (133, 0), "mknodat": (259, 33), "chmod": (90, 0), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, 0), "fchown": (93, 55), "lchown": (94, 0),
    "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466), "utime": (132, 0), "utimes": (235, 0),
    "futimesat": (261, 0), "utimensat": (280, 88), "file_setattr": (469, 469),
}  # fmt: skip
REFUSED = (NETWORK, PROGRAMS, OTHER_PROCESSES, PRIVILEGES, KERNEL, FILES)

CLONE = (56, 220)
OPEN = (2, 0)
OPENAT = (257, 56)
TGKILL = (234, 131)
PRLIMIT = (302, 261)
IOCTL = (16, 29)
WITHOUT = ((435, 435), (437, 437))  # clone3, openat2: their flags lie behind a pointer, and libc knows how to do without


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return INSTRUCTION.pack(code, yes, no, value)


def _argument(number: int) -> bytes:
    return _step(LOAD, ARGUMENT_AT + 8 * number)


def _when(call: int, body: list[bytes]) -> list[bytes]:
    """Return the steps that run `body`, which ends in a return, for one call and are skipped for others."""
    return [_step(JUMP_EQUAL, call, 0, len(body)), *body] if call else []


def _conditional(column: int, pid: int) -> list[bytes]:
    allow, refuse = _step(RETURN, ALLOW), _step(RETURN, ERRNO | errno.EPERM)
    steps = _when(CLONE[column], [_argument(0), _step(JUMP_ANY_BIT, CLONE_THREAD, 0, 1), allow, refuse])
    steps += _when(OPEN[column], [_argument(1), _step(JUMP_ANY_BIT, WRITING, 0, 1), refuse, allow])
    steps += _when(OPENAT[column], [_argument(2), _step(JUMP_ANY_BIT, WRITING, 0, 1), refuse, allow])
    steps += _when(TGKILL[column], [_argument(0), _step(JUMP_EQUAL, pid, 0, 1), allow, refuse])
    steps += _when(PRLIMIT[column], [_argument(0), _step(JUMP_EQUAL, 0, 0, 1), allow, refuse])
    first, second = TERMINAL_INJECTIONS
    body = [_argument(1), _step(JUMP_EQUAL, first, 1, 0), _step(JUMP_EQUAL, second, 0, 1), refuse, allow]
    return steps + _when(IOCTL[column], body)


def assemble(machine: Machine, pid: int) -> bytes:
    """Return the filter for a process that will have the id `pid`: `struct sock_filter` after `struct sock_filter`."""
    column = machine.column
    steps = [
        _step(LOAD, MACHINE_AT),
        _step(JUMP_EQUAL, machine.audit, 1, 0),
        _step(RETURN, KILL_PROCESS),  # another machine's numbers mean other calls
        _step(LOAD, NUMBER_AT),
        _step(JUMP_AT_LEAST, X32_BIT, 0, 1),
        _step(RETURN, KILL_PROCESS),  # the x32 numbering would pass everything below
        *_conditional(column, pid),
    ]
    numbers = sorted({numbers[column] for group in REFUSED for numbers in group.values()} - {0})
    absent = [numbers[column] for numbers in WITHOUT]
    left = len(numbers) + len(absent) + 1
    if left >= MAX_JUMP:
        raise AssertionError("the table outgrew one jump: split it")
    for place, number in enumerate(numbers):
        steps.append(_step(JUMP_EQUAL, number, left - place, 0))  # to the refusal
    for place, number in enumerate(absent):
        steps.append(_step(JUMP_EQUAL, number, len(absent) - place + 2, 0))  # to ENOSYS
    steps.append(_step(JUMP_AT_LEAST, FIRST_UNKNOWN, 2, 0))
    steps += [_step(RETURN, ALLOW), _step(RETURN, ERRNO | errno.EPERM), _step(RETURN, ERRNO | errno.ENOSYS)]
    return b"".join(steps)


def this_machine() -> Machine | None:
    """Return the machine this runs on, or None where the tables do not know it."""
    return MACHINES.get(platform.machine())
