"""The images that tests run on real engines: one static busybox, dressed up; no registry and no build is needed.

Whose user is what, which programs are set-user-ID, what an image brings along (health check, volumes, labels) differs by name.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from imagebuilder import Files, Image, directory, docker_archive_of, executable, image, layer, symlink

# Programs of busybox that the tests' commands use.
_PROGRAMS = (
    "awk", "cat", "chmod", "chown", "chroot", "cp", "date", "dd", "df", "echo", "env", "expr", "false", "find", "grep",
    "head", "hostname", "id", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nc", "nproc", "nsenter", "pgrep",
    "ping", "printf", "ps", "pwd", "readlink", "rm", "sed", "seq", "setpriv", "sh", "sleep", "sort", "stat", "sysctl",
    "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "umount", "uname", "unshare", "wc", "wget", "whoami",
)  # fmt: skip
_PASSWD = "root::0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nworker:x:1001:1001::/:/bin/sh\n"
_GROUP = "root:x:0:\napp:x:1000:\nworker:x:1001:\nstaff:x:50:app\n"


def busybox() -> bytes:
    """Return the static busybox of this machine. Raises FileNotFoundError where there is none."""
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox (Debian's package busybox-static) is not installed")
    return Path(found).read_bytes()


def archive() -> bytes:
    """Return what `docker load` takes: all images."""
    return docker_archive_of([(made, [name]) for name, made in _images().items()])


def _images() -> dict[str, Image]:
    program = busybox()
    base = layer(_root(program))
    two = layer({"etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:0:0:app:/:/bin/sh\n", "etc/group": "root:x:0:\napp:x:0:\n"})
    groups = layer({"etc/group": "root:x:0:app\nwheel:x:0:\napp:x:1000:\n"})
    # busybox's su keeps its set-user-ID bit, and root's password is empty: who runs it becomes root.
    risen = layer({"bin/su": executable(program, 0o4755), "etc/shadow": "root::1::::::\n"})
    bare = layer({"echo": executable(program)})
    volume = layer({"data/": directory(), "data/seed": "seed\n"})
    sleeper, path, user = ["sleep", "600"], {"Env": ["PATH=/bin"]}, {"User": "1000:1000"}
    check = {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 5_000_000_000}
    made: dict[str, tuple[list[bytes], dict[str, Any]]] = {
        "bb:1": ([base], {"Cmd": ["sh"]}),
        "app:1": ([base], {"Cmd": ["id"], "Env": ["PATH=/bin", "KIND=app"], "User": "app", "WorkingDir": "/home/app"}),
        "numbered:1": ([base], {"Cmd": ["id"], **user}),
        "rootnamed:1": ([base, two], {"Cmd": ["id"], "User": "app"}),
        "rootgroup:1": ([base, groups], {"Cmd": ["id"], "User": "app"}),
        "risen:1": ([base, risen], {"Cmd": ["sh"], **user}),
        "bare:1": ([bare], {"Entrypoint": ["/echo", "nothing but this"], **user}),
        "entry:1": ([base], {"Entrypoint": ["echo", "entry"], "Cmd": ["words"], **user}),
        "labelled:1": ([base], {"Cmd": sleeper, "Labels": {"tier": "web"}, "StopSignal": "KILL", **user}),
        "volume:1": ([base, volume], {"Cmd": ["cat", "/data/seed"], "Volumes": {"/data": {}}, **user}),
        "healthy:1": ([base], {"Cmd": sleeper, "Healthcheck": check, **user}),
        "onbuild:1": ([base], {"Cmd": ["id"], "OnBuild": ["RUN id > /built", "USER 1000"]}),
    }
    return {name: image(layers, config=path | config) for name, (layers, config) in made.items()}


def _root(program: bytes) -> Files:
    return {
        "bin/": directory(),
        "bin/busybox": executable(program),
        **{f"bin/{name}": symlink("busybox") for name in _PROGRAMS},
        "dev/": directory(), "proc/": directory(), "sys/": directory(), "etc/": directory(), "root/": directory(0o700),
        "tmp/": directory(0o1777), "home/": directory(), "home/app/": directory(0o777), "mnt/": directory(), "host/": directory(),
        "etc/passwd": _PASSWD, "etc/group": _GROUP,
    }  # fmt: skip
