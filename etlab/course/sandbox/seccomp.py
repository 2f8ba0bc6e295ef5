"""System calls that a program in the sandbox is refused, as a filter for the kernel (seccomp, classic BPF).

Calls are refused that hold memory which no process is seen to use, that could build another namespace, that tell what
another sandbox does with the files which all of them see, and that open parts of the kernel which reconstruction has no
use for. Locks are granted without a look at the file: two sandboxes could talk by locking a library. See ``man 2
seccomp`` and ``linux/filter.h``.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping

# AUDIT_ARCH_* of linux/audit.h: the filter must know the machine, or a call of another one's numbers passes it.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Numbers on x86_64 and aarch64.
REFUSED = {
    # memory that is not seen, or outlives its process
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "vmsplice": (278, 75),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # large and often attacked
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "inotify_init": (253, 26),  # aarch64 has the other one only
    "inotify_init1": (294, 26),
    "syslog": (103, 116),
    # what is in memory of the files that all sandboxes see: a run could leave a message there for the next
    "mincore": (27, 232),
    "preadv2": (327, 286),
    "cachestat": (451, 451),
}
ADVICE = {"fadvise64": (221, 223), "readahead": (187, 213)}  # accepted and not followed, for the same reason
FLOCK = (73, 32)
FCNTL = (72, 25)
FCNTL_GRANTED = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
FCNTL_REFUSED = (5, 36, 1024, 1026, 1031)  # F_GETLK, F_OFD_GETLK, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ
SETSOCKOPT = (54, 208)
SOL_SOCKET = 1
BUFFER_SIZES = (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF, both also with FORCE: the watch assumes the usual sizes
CLONE = (56, 220)
CLONE3 = (435, 435)
SOCKET = (41, 198)
NEW_NAMESPACES = 0x7E020080  # CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET and -TIME
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: those that a network namespace keeps in; not so AF_VSOCK

Instruction = tuple[int, int, int, int]  # operation, jumps if true and if false, number
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets in struct seccomp_data, little-endian.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT, THIRD_ARGUMENT = 0, 4, 16, 24, 32
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
X32 = 0x40000000
GRANTED = 0  # no error, and nothing done


def program(machine: str | None = None) -> bytes | None:
    """Return the filter for ``machine`` (by default this one), None where its numbers are not known."""
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        return None
    which = list(ARCHITECTURES).index(machine)
    code = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[machine]), (RETURN, 0, 0, KILL)]
    code += [(LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    for numbers in REFUSED.values():
        code += _refuse(numbers[which], errno.EPERM)
    for numbers in (FLOCK, *ADVICE.values()):
        code += _refuse(numbers[which], GRANTED)
    answers = dict.fromkeys(FCNTL_GRANTED, GRANTED) | dict.fromkeys(FCNTL_REFUSED, errno.EPERM)
    code += _only(FCNTL[which], [(LOAD, 0, 0, SECOND_ARGUMENT), *_answered(answers)])
    wanted = [*_answered(dict.fromkeys(BUFFER_SIZES, GRANTED))]
    of_sockets = [(LOAD, 0, 0, SECOND_ARGUMENT), (EQUAL, 0, len(wanted) + 1, SOL_SOCKET)]
    code += _only(SETSOCKOPT[which], [*of_sockets, (LOAD, 0, 0, THIRD_ARGUMENT), *wanted])
    # The flags of clone3 lie in memory, which a filter cannot read; glibc falls back on clone where it is not there.
    code += _refuse(CLONE3[which], errno.ENOSYS)
    code += [(EQUAL, 0, 4, CLONE[which]), (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 0, 1, NEW_NAMESPACES)]
    code += [(RETURN, 0, 0, ERROR | errno.EPERM), (RETURN, 0, 0, ALLOW)]
    known = [(EQUAL, len(FAMILIES) - i, 0, family) for i, family in enumerate(FAMILIES)]
    code += [(EQUAL, 0, len(known) + 2, SOCKET[which]), (LOAD, 0, 0, FIRST_ARGUMENT), *known]
    # ZeroMQ, which notebooks talk through, takes EINVAL for "no such family" and gives up at other numbers.
    code += [(RETURN, 0, 0, ERROR | errno.EINVAL), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _only(number: int, code: list[Instruction]) -> list[Instruction]:
    """Return ``code`` for one call, which is allowed if that comes to its end."""
    return [(EQUAL, 0, len(code) + 1, number), *code, (RETURN, 0, 0, ALLOW)]


def _answered(errors: Mapping[int, int]) -> list[Instruction]:
    """Return code that answers each value by its error."""
    return [one for value, error in errors.items() for one in _refuse(value, error)]


def _refuse(number: int, error: int) -> list[Instruction]:
    """Return code that answers a number by an error."""
    return [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERROR | error)]
