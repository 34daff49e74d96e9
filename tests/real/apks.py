"""An Alpine root file system in the form that apk-tools leaves it in: database, release file, and the files that it names."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

RELEASE = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.18.4\nPRETTY_NAME="Alpine Linux v3.18"\n'
_SITE = "usr/lib/python3.11/site-packages"
# name, version, origin, needs, provides, files
_APKS: tuple[tuple[str, str, str, str, str, tuple[str, ...]], ...] = (
    ("musl", "1.2.4-r0", "musl", "", "so:libc.musl-x86_64.so.1=1", ("lib/ld-musl-x86_64.so.1",)),
    ("busybox", "1.36.0-r9", "busybox", "so:libc.musl-x86_64.so.1", "cmd:busybox=1.36.0-r9", ("bin/busybox",)),
    ("busybox-binsh", "1.36.0-r9", "busybox", "busybox=1.36.0-r9", "/bin/sh cmd:sh=1.36.0-r9", ()),
    ("alpine-baselayout", "3.4.3-r1", "alpine-baselayout", "alpine-baselayout-data=3.4.3-r1 /bin/sh", "", ("etc/motd",)),
    ("alpine-baselayout-data", "3.4.3-r1", "alpine-baselayout", "", "", ("etc/hosts",)),
    ("libcrypto3", "3.1.0-r1", "openssl", "so:libc.musl-x86_64.so.1", "so:libcrypto.so.3=3", ("lib/libcrypto.so.3",)),
    ("libssl3", "3.1.0-r1", "openssl", "so:libc.musl-x86_64.so.1 so:libcrypto.so.3", "so:libssl.so.3=3", ("lib/libssl.so.3",)),
    ("libexpat", "2.4.9-r0", "expat", "so:libc.musl-x86_64.so.1", "so:libexpat.so.1=1.8.10", ("usr/lib/libexpat.so.1",)),
    ("python3", "3.11.0-r0", "python3", "so:libexpat.so.1 !python2 pyc>=0", "cmd:python3=3.11.0-r0", ("usr/bin/python3",)),
    ("py3-urllib3", "1.24.1-r0", "py3-urllib3", "python3~3.11", "py3.11:urllib3=1.24.1-r0",
     (f"{_SITE}/urllib3-1.24.1.dist-info/METADATA",)),
)  # fmt: skip


def files() -> dict[str, str]:
    """Return the content of the root file system, by path."""
    found = {"etc/os-release": RELEASE, "etc/alpine-release": "3.18.4\n", "lib/apk/db/installed": "".join(_installed())}
    for *_, paths in _APKS:
        found.update({path: _content(path) for path in paths})
    for name, version in (("idna", "3.6"), ("jinja2", "3.1.2")):
        found[f"usr/local/lib/python3.11/site-packages/{name}-{version}.dist-info/METADATA"] = _metadata(name, version)
    return found


def _metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def _content(path: str) -> str:
    name, _, version = path.rpartition("/")[0].rpartition("/")[2].removesuffix(".dist-info").rpartition("-")
    return _metadata(name, version) if path.endswith("/METADATA") else f"{path}\n"


def _installed() -> Iterator[str]:
    for name, version, origin, needs, provides, paths in _APKS:
        lines = [f"C:Q1{_sum(name)}", f"P:{name}", f"V:{version}", "A:x86_64", "S:1000", "I:2000", f"T:{name}", "U:https://x/"]
        lines += ["L:MIT", f"o:{origin}", "m:A <a@example.org>", "t:1680000000", "c:abc"]
        lines += [f"D:{needs}"] if needs else []
        lines += [f"p:{provides}"] if provides else []
        for path in paths:
            folder, _, base = path.rpartition("/")
            lines += [f"F:{folder}", f"R:{base}", "a:0:0:755", f"Z:Q1{_sum(_content(path))}"]
        yield "\n".join(lines) + "\n\n"


def _sum(text: str) -> str:
    return base64.b64encode(hashlib.sha1(text.encode(), usedforsecurity=False).digest()).decode()
