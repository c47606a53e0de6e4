"""The network and file system calls of a command and its child processes, read from strace."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

LOCAL_FILE = "a socket in the file system"
KERNEL = "the kernel (netlink)"
LOOPBACK = "this machine (loopback)"
OWN_ADDRESS = "this machine (its own address)"
EVERY_INTERFACE = "every interface of this machine"
METADATA = "the metadata service of a cloud (link-local)"
NAME_SERVER = "a name server (port 53)"
LOCAL = {LOCAL_FILE, KERNEL, LOOPBACK}
"""Where no other machine is reached from, and none reaches."""

_OPENS = ("open", "openat", "openat2", "creat")
_CHANGES = (
    "mkdir", "mkdirat", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "truncate",
)  # fmt: skip
_OWN = ("getsockname", "bind")  # the address of a socket on this machine
_ADDRESSED = ("connect", "bind", "sendto", "sendmsg", "sendmmsg")

_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<(.*)>)?")
_SOCKET = re.compile(r"<[^<>]*\[(\d+)\]>")
_INET = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
# A path behind the folder that it is relative to, or alone.
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^<>]*)>, )?"((?:[^"\\]|\\.)*)"')
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")


@dataclass
class Trace:
    """What was seen.

    Attributes
    ----------
    sockets
        Of each socket by the number that the kernel gave it: the places of the addresses that it was given.
    files
        Each file or folder that was made, opened for writing, renamed or removed, with the name of the call.
    """

    sockets: dict[str, set[str]] = field(default_factory=dict)
    files: set[tuple[str, Path]] = field(default_factory=set)


def call(command: Sequence[str], folder: Path) -> list[str]:
    """Return the command line that runs `command` with a file for each of its threads in `folder`."""
    calls = ",".join(("network", *_OPENS, *_CHANGES))  # network: all those of sockets
    return ["strace", "-ff", "-qq", "-y", "-o", str(folder / "trace"), "-e", f"trace={calls}", *command]


def works() -> bool:
    """Return whether strace is installed, and may trace."""
    try:
        return (
            subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


def read(folder: Path, cwd: Path) -> Trace:
    """Read what `call` wrote; paths that are relative to nothing else are relative to `cwd`."""
    trace = Trace()
    calls = [found.groups() for line in _lines(folder) if (found := _CALL.match(line))]
    own = {inet[2] for name, arguments, *_ in calls if name in _OWN and (inet := _INET.search(arguments))}
    for name, arguments, result, target in calls:
        _note_socket(trace, name, arguments, target=target, own=own)
        if not result.startswith(("-", "?")):
            trace.files.update((name, file) for file in _written(name, arguments, target, cwd))
    return trace


def _lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("trace*")):
        yield from path.read_text(errors="replace").splitlines()


def not_local(trace: Trace) -> list[str]:
    """Return the places of sockets from which another machine could be reached."""
    return sorted({place for places in trace.sockets.values() for place in places} - LOCAL)


def _note_socket(trace: Trace, name: str, arguments: str, *, target: str | None, own: Set[str]) -> None:
    """Add a socket, or an address that one was given; a failed attempt counts as well."""
    number = _SOCKET.search(f"<{target}>" if name == "socket" else arguments)
    if number is None or "sa_family=AF_UNSPEC" in arguments:
        return
    if name == "socket":
        trace.sockets.setdefault(number[1], set())
    elif name in _ADDRESSED and "sa_family=" in arguments:
        trace.sockets.setdefault(number[1], set()).add(_place(arguments, own))


def _place(arguments: str, own: Set[str]) -> str:
    """Return where an address is, without the address of a machine."""
    if "sa_family=AF_UNIX" in arguments:
        return LOCAL_FILE
    inet = _INET.search(arguments)
    return KERNEL if inet is None else _internet(inet[2].removeprefix("::ffff:"), inet[1], own)


def _internet(address: str, port: str, own: Set[str]) -> str:
    if address in ("0.0.0.0", "::"):  # noqa: S104 (seen, not used)
        return EVERY_INTERFACE
    if address == "::1" or address.startswith("127."):
        return LOOPBACK
    if address in own:
        return OWN_ADDRESS
    if address.startswith("169.254."):
        return METADATA
    return NAME_SERVER if port == "53" else f"another machine, port {port}"


def _written(name: str, arguments: str, target: str | None, cwd: Path) -> Iterator[Path]:
    """Yield the paths that a successful call made, opened for writing or removed."""
    if name in _OPENS:
        if target and (name == "creat" or _WRITES.search(arguments)):
            yield Path(target.removesuffix("(deleted)"))
        return
    if name not in _CHANGES:
        return
    found = _PATH.findall(arguments)
    # Of a link only the new name is written; a symbolic link's own target is a text.
    for folder, path in found[-1:] if "link" in name and not name.startswith("unlink") else found:
        yield Path(folder or cwd) / path
