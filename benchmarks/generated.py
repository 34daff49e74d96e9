"""A seed in, files out: what stands in for real content where a machine cannot get it, and fills images up to their size.

The mix is that of real images: text that compresses, binaries that do so badly, ELF objects, jars, many small files.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator

from benchmarks.layers import Item

VOCABULARY = (
    "account adapter address archive buffer builder bundle cache channel client cluster codec column config context cursor "
    "daemon driver engine event export factory filter format gateway handler header import index invoice kernel layer ledger "
    "listener locale logger manager matrix message metric model module network object order packet parser payment pipeline "
    "planner plugin policy pool profile proxy query queue reader record registry render request response router schema server "
    "session signal socket source storage stream string symbol system target task template thread ticket token tracker vector "
    "version viewer widget window worker writer"
)
WORDS = VOCABULARY.split()

ELF_HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
TEXT_SHARE = 0.35
"""Part of a binary that compresses (strings, tables, padding): real shared objects shrink to about 40 per cent."""


def text(rng: random.Random, size: int) -> bytes:
    """Return about `size` bytes of words in lines."""
    lines = []
    written = 0
    while written < size:
        line = " ".join(rng.choices(WORDS, k=rng.randint(4, 14))) + "\n"
        lines.append(line)
        written += len(line)
    return "".join(lines).encode()[:size]


def binary(rng: random.Random, size: int) -> bytes:
    """Return an object file of `size` bytes: an ELF header, code-like noise, strings."""
    header = ELF_HEADER.pack(b"\x7fELF", 2, 1, 1, 0, 0, 3, 62, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
    strings = int(size * TEXT_SHARE)
    return (header + rng.randbytes(max(0, size - strings - len(header))) + text(rng, strings))[:size]


def jar(rng: random.Random, group: str, artifact: str, version: str, classes: int) -> bytes:
    """Return a jar as Maven builds it, pom.properties included; the classes hold noise."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, (2025, 10, 9, 8, 53, 20)), content, zipfile.ZIP_DEFLATED)

        add("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\r\nImplementation-Version: {version}\r\n\r\n".encode())
        properties = f"groupId={group}\nartifactId={artifact}\nversion={version}\n"
        add(f"META-INF/maven/{group}/{artifact}/pom.properties", properties.encode())
        for number in range(classes):
            size = rng.randint(600, 6000)
            content = b"\xca\xfe\xba\xbe" + rng.randbytes(size // 2) + text(rng, size // 2)
            add(f"{group.replace('.', '/')}/{artifact}/{rng.choice(WORDS).title()}{number}.class", content)
    return buffer.getvalue()


def _name(rng: random.Random, number: int) -> str:
    return f"{rng.choice(WORDS)}-{rng.choice(WORDS)}-{number}"


def modules(seed: int, packages: int, root: str) -> Iterator[Item]:
    """Yield a node_modules folder: per package its package.json, sources, types, readme and licence."""
    rng = random.Random(seed)
    licence = text(rng, 1070)
    for number in range(packages):
        name = _name(rng, number)
        folder = f"{root}/node_modules/{name}"
        version = f"{rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 20)}"
        package = {"name": name, "version": version, "license": "MIT", "main": "index.js", "description": text(rng, 60).decode()}
        yield Item(f"{folder}/LICENSE", licence)
        yield Item(f"{folder}/README.md", text(rng, rng.randint(800, 6000)))
        yield Item(f"{folder}/index.js", text(rng, rng.randint(200, 4000)))
        for part in range(rng.randint(2, 40)):
            yield Item(f"{folder}/lib/{part:03}.js", text(rng, rng.randint(200, 7000)))
            yield Item(f"{folder}/lib/{part:03}.d.ts", text(rng, rng.randint(100, 900)))
        yield Item(f"{folder}/package.json", json.dumps(package, indent=2).encode())


def service(seed: int, megabytes: int, jars: int, root: str) -> Iterator[Item]:
    """Yield an application: sources, data, logs, pictures, binaries of about `megabytes` in all, and jars beside them."""
    rng = random.Random(seed)
    left = megabytes << 20
    for number in range(jars):
        artifact = _name(rng, number)
        content = jar(rng, f"com.example.{rng.choice(WORDS)}", artifact, f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.0", 60)
        yield Item(f"{root}/lib/{artifact}.jar", content)
    number = 0
    while left > 0:
        folder = f"{root}/{WORDS[number // 40 % len(WORDS)]}/{number // 40:04}"
        kind = number % 20
        if kind == 0:
            item = Item(f"{folder}/lib{_name(rng, number)}.so", binary(rng, rng.randint(200_000, 3_000_000)), executable=True)
        elif kind == 1:
            item = Item(f"{folder}/{_name(rng, number)}.png", rng.randbytes(rng.randint(2_000, 400_000)))
        elif kind == 2:
            item = Item(f"{folder}/{_name(rng, number)}.json", json.dumps({word: rng.random() for word in WORDS}).encode())
        else:
            item = Item(f"{folder}/{_name(rng, number)}.{'py' if kind % 2 else 'txt'}", text(rng, rng.randint(300, 9_000)))
        assert isinstance(item.content, bytes)
        left -= len(item.content)
        number += 1
        yield item


def distribution(seed: int, packages: int, megabytes: int) -> Iterator[Item]:
    """Yield a root file system with a dpkg database: names of packages are made up, its form is Debian's."""
    rng = random.Random(seed)
    share = (megabytes << 20) // packages
    status = []
    for number in range(packages):
        name = f"lib{_name(rng, number)}"
        version = f"{rng.randint(0, 12)}.{rng.randint(0, 40)}.{rng.randint(0, 9)}-{rng.randint(1, 9)}"
        status.append(
            f"Package: {name}\nStatus: install ok installed\nPriority: required\nSection: libs\nArchitecture: amd64\n"
            f"Source: {name.rpartition('-')[0]}\nVersion: {version}\nDescription: {text(rng, 50).decode().strip()}\n"
        )
        yield from _package_files(rng, name, share)
    release = (
        'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\n'
        'VERSION_ID="13"\nVERSION_CODENAME=trixie\nID=debian\n'
    )
    yield Item("etc/debian_version", b"13.1\n")
    yield Item("etc/os-release", target="../usr/lib/os-release")
    yield Item("usr/lib/os-release", release.encode())
    yield Item("var/lib/dpkg/status", "\n".join(status).encode())


def _package_files(rng: random.Random, name: str, share: int) -> Iterator[Item]:
    files = {f"usr/lib/x86_64-linux-gnu/{name}.so.{number}": binary(rng, share // 4) for number in range(3)}
    for number in range(20):
        files[f"usr/share/{name}/{number:02}.conf"] = text(rng, share // 80)
    files[f"usr/share/doc/{name}/copyright"] = text(rng, 2000)
    for path, content in files.items():
        yield Item(path, content)
    sums = "".join(f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {path}\n" for path, content in files.items())
    yield Item(f"var/lib/dpkg/info/{name}:amd64.list", ("/.\n" + "".join(f"/{path}\n" for path in files)).encode())
    yield Item(f"var/lib/dpkg/info/{name}:amd64.md5sums", sums.encode())
