"""Sandbox for untrusted Python: a bubblewrap command line without network or files, and a seccomp filter."""

import contextlib
import errno
import functools
import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator

from router.errors import UsageError

INSTALL = "install bubblewrap 0.8 or newer (apt install bubblewrap)"
TMP_BYTES = 64 << 20
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
# Of fork, vfork, clone and clone3; and what the kernel calls the processor.
CALLS = {"x86_64": ((57, 58), 56, 435, 0xC000003E), "aarch64": ((), 220, 435, 0xC00000B7)}
CLONE_THREAD = 0x10000
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # FAIL takes an error number


def python() -> str:
    """Path of the interpreter itself; a virtual environment's is a link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def packages() -> list[str]:
    """Folders of installed packages, which the bare interpreter does not find by itself."""
    paths = sysconfig.get_paths()
    return [each for each in dict.fromkeys((paths["purelib"], paths["platlib"])) if os.path.isdir(each)]


def isolated(descriptor: int) -> list[str]:
    """Command that runs a Python command isolated; `descriptor` holds `one_process()`."""
    roots = [sys.base_prefix, sys.base_exec_prefix, os.path.dirname(python()), *packages()]
    seen = [*(each for each in LIBRARIES if os.path.exists(each)), *roots, *map(os.path.realpath, roots)]
    binds = [word for each in dict.fromkeys(seen) for word in ("--ro-bind", os.path.realpath(each), each)]
    return [
        "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534",
        "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv", "--setenv", "PATH", os.defpath,
        "--setenv", "HOME", "/tmp/home", "--hostname", "isolated",
        "--size", str(TMP_BYTES), "--tmpfs", "/tmp", "--dir", "/tmp/home", "--tmpfs", "/run", "--tmpfs", "/home",
        *binds, "--proc", "/proc", "--dev", "/dev",
        *(word for each in ("/dev", "/run", "/home", "/") for word in ("--remount-ro", each)),
        "--chdir", "/tmp", "--seccomp", str(descriptor), "--",
    ]  # fmt: skip


def one_process() -> bytes:
    """A seccomp filter that allows a program threads, but no processes; RLIMIT_NPROC would not hold for root."""
    forks, clone, clone3, machine = CALLS[platform.machine()]
    load, equal, at_least, bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    rules = [
        (load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, KILL),
        (load, 0, 0, 0), (at_least, 0, 1, 0x40000000), (give, 0, 0, KILL),  # calls of x32
        (equal, 0, 1, clone3), (give, 0, 0, FAIL | errno.ENOSYS),  # the C library falls back to clone
    ]  # fmt: skip
    for each in forks:
        rules += [(equal, 0, 1, each), (give, 0, 0, FAIL | errno.EPERM)]
    rules += [(equal, 0, 3, clone), (load, 0, 0, 16), (bits, 1, 0, CLONE_THREAD), (give, 0, 0, FAIL | errno.EPERM)]
    return b"".join(struct.pack("HBBI", *each) for each in [*rules, (give, 0, 0, ALLOW)])


@contextlib.contextmanager
def descriptor_of(data: bytes) -> Iterator[int]:
    """A descriptor from which a child reads `data`, which lies in no file."""
    descriptor = os.memfd_create("data")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@functools.cache
def check_isolation() -> None:
    """Raises UsageError, which names what is missing, where this machine cannot run isolated Python."""
    plain = "or give --run-code plain, which leaves programs network and files"
    if platform.machine() not in CALLS:
        raise UsageError(f"programs are isolated on {' and '.join(CALLS)}, this is {platform.machine()}: {plain[3:]}")
    if shutil.which("bwrap") is None:
        raise UsageError(f"programs cannot be isolated, there is no bwrap: {INSTALL}, {plain}")
    with descriptor_of(one_process()) as descriptor:
        command = [*isolated(descriptor), python(), "-I", "-c", "print('inside')"]
        try:
            tried = subprocess.run(
                command, capture_output=True, text=True, timeout=60, check=False, pass_fds=[descriptor]
            )
            said = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"programs cannot be isolated: {error}: {INSTALL}, {plain}") from error
    if tried.stdout != "inside\n":
        raise UsageError(f"programs cannot be isolated, bwrap says {said[0]!r}: {INSTALL}, {plain}")
