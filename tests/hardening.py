"""Small images for tests of least privileges: BusyBox where they are to run, empty files where they are only looked at."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebuilder import Content, Entry, directory, docker_archive, executable, layer, symlink

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:,,,:/home/app:/bin/sh\nworker:x:1002:1002::/:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1001:\nshared:x:3000:app\n"
APPLETS = ("sh", "id", "cat", "chown", "ping", "sleep", "su", "touch", "wget")
NET_RAW = b"\x01\x00\x00\x02" + (1 << 13).to_bytes(4, "little") + bytes(12)


def owned(uid: int, mode: int = 0o755, data: bytes | None = None) -> Entry:
    """Make a folder, or a file where there is content, of an account."""
    return Entry(type=tarfile.DIRTYPE, mode=mode, uid=uid) if data is None else Entry(data, mode=mode, uid=uid)


def capable(program: bytes, attribute: bytes = NET_RAW) -> Entry:
    """Make a program that gives capabilities to whoever runs it."""
    return Entry(program, mode=0o755, pax={"SCHILY.xattr.security.capability": attribute.decode("latin-1")})


def base(program: bytes = b"\x7fELF", **more: Content) -> dict[str, Content]:
    """Return the files of a small distribution; names of further ones have `__` for `/`."""
    files: dict[str, Content] = {"bin/": b"", "bin/busybox": executable(program)}
    files.update({f"bin/{name}": symlink("busybox") for name in APPLETS})
    files.update({"etc/": b"", "etc/passwd": PASSWD, "etc/group": GROUP, "tmp/": directory(0o1777), "www/": b""})
    return files | {name.replace("__", "/"): content for name, content in more.items()}


def write(path: Path, files: Mapping[str, Content], config: Mapping[str, Any], tag: str = "localhost/app:1") -> Path:
    """Write what `docker save` would write for an image of one layer."""
    path.write_bytes(docker_archive([layer(files)], config=config, tags=[tag]))
    return path
