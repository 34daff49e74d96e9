"""A program in, what the Go linker wrote into it about its build out: compiler version, modules, settings.

Format: the Go distribution's debug/buildinfo and runtime/debug (`go version -m` prints the same). A blob begins with MARK;
since Go 1.18 the two strings follow it, each after its length, before that it points at two Go strings in memory.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pratique.inventory.executables.binary import Binary, Region
from pratique.model.errors import ParseError

MARK = b"\xff Go buildinf:"
HEADER_SIZE = 32
# go1.22.1 takes 8 bytes; suffixes of experiments and vendors some 60.
MAX_VERSION = 4096
# Modules of the largest programs known (Kubernetes distributions) take about 100 KB.
MAX_MODULES = 8 << 20
# Where the section is not named (Windows, removed section tables) the blob is the first thing in the data segment; the Go command
# itself looked at no more than this up to 1.21.
MAX_SEARCH = 64 << 10

# What stands for the version of a module that was built from a folder.
DEVELOPMENT = "(devel)"
_PLACEHOLDERS = frozenset({DEVELOPMENT, "v0.0.0", "v0.0.0-00010101000000-000000000000"})

_ALIGN = 16
_MORE = 16  # covers the length that stands before the next string
_SENTINEL = 16  # The module text stands between two marks of 16 bytes that mean nothing outside a running program.
_BIG_ENDIAN = 1
_INLINE = 2

SECTIONS = (b".go.buildinfo", b"__go_buildinfo")


class Module(NamedTuple):
    """A module's path and version as written; DEVELOPMENT where the compiler knew none. `sum` is Go's hash of it, "h1:BASE64"."""

    path: str
    version: str
    sum: str = ""


class GoBuild(NamedTuple):
    """What `go version -m` prints. `modules` are dependencies with replacements applied; `program` is the main package's path."""

    version: str
    program: str
    main: Module | None
    modules: tuple[Module, ...]
    settings: dict[str, str]


def read_go_build(binary: Binary) -> GoBuild | None:
    """Return the build information, None where there is none. Raises ParseError where it is cut off."""
    for region in _candidates(binary):
        found = _find(binary, region)
        if found is not None:
            return _decode(binary, *found)
    return None


def _candidates(binary: Binary) -> list[Region]:
    named = binary.section(*SECTIONS)
    if named is not None:
        return [named]
    return [segment for segment in binary.segments if segment.writable and segment.size][:2]


def _find(binary: Binary, region: Region) -> tuple[Region, int, bytes] | None:
    window = binary.read_at(region.offset, min(region.size, MAX_SEARCH))
    at = window.find(MARK)
    while at >= 0 and at % _ALIGN:
        at = window.find(MARK, at + 1)
    return (region, at, window) if at >= 0 else None


def _decode(binary: Binary, region: Region, at: int, window: bytes) -> GoBuild:
    header = window[at : at + HEADER_SIZE]
    if len(header) < HEADER_SIZE:
        raise ParseError("the file ends inside the Go build information")
    flags = header[15]
    if flags & _INLINE:
        version, modules = _inline(binary, region, at + HEADER_SIZE, window)
    else:
        if header[14] not in {4, 8}:
            raise ParseError("impossible pointer size in the Go build information")
        pair = struct.Struct((">" if flags & _BIG_ENDIAN else "<") + ("QQ" if header[14] == 8 else "II"))
        version, modules = (_string(binary, pointer, pair) for pointer in pair.unpack_from(header, 16))
    if len(modules) > 2 * _SENTINEL and modules[-_SENTINEL - 1 : -_SENTINEL] == b"\n":
        modules = modules[_SENTINEL:-_SENTINEL]
    else:
        modules = b""
    if not version:
        raise ParseError("the Go build information names no version")
    return _parse(version.decode("utf-8", "replace"), modules.decode("utf-8", "replace"))


def _inline(binary: Binary, region: Region, at: int, window: bytes) -> tuple[bytes, bytes]:
    strings: list[bytes] = []
    for limit in (MAX_VERSION, MAX_MODULES):
        length, at = _varint(window, at)
        if length > limit:
            raise ParseError(f"Go build information of {length} bytes, more than {limit}")
        end = at + length
        if len(window) < end <= region.size:
            window += binary.read_at(region.offset + len(window), min(end + _MORE, region.size) - len(window))
        if end > len(window):
            raise ParseError("the file ends inside the Go build information")
        strings.append(window[at:end])
        at = end
    return strings[0], strings[1]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ParseError("impossible length in the Go build information")


def _string(binary: Binary, pointer: int, pair: struct.Struct) -> bytes:
    """Follow a pointer to a Go string: the address of its bytes and their number."""
    if not pointer:
        return b""
    data, length = pair.unpack(binary.at_address(pointer, pair.size))
    if length > MAX_MODULES:
        raise ParseError(f"Go build information of {length} bytes, more than {MAX_MODULES}")
    return binary.at_address(data, length) if length else b""


def _parse(version: str, text: str) -> GoBuild:
    """Read the lines `path`, `mod`, `dep`, `=>` (replaces the line before it) and `build`, fields parted by tabs."""
    program = ""
    main: Module | None = None
    modules: list[Module] = []
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        if kind == "build":
            key, _, value = rest.partition("=")
            settings[key] = _unquote(value)
            continue
        fields = [*rest.split("\t"), ""]
        if kind == "path":
            program = rest
        elif kind == "mod":
            main = Module(fields[0], fields[1])
        elif kind == "dep":
            modules.append(Module(fields[0], fields[1], fields[2] if len(fields) > 3 else ""))
        elif kind == "=>" and len(fields) > 2:
            if not modules:
                main = main and _replaced(main, fields)
            else:
                modules[-1] = _replaced(modules[-1], fields)
    return GoBuild(version, program, main, tuple(modules), settings)


def _replaced(module: Module, by: list[str]) -> Module:
    """Apply a replacement. A folder on the builder's machine has no version: it is still a copy of the module it stands for,
    whose own version may be a placeholder that nobody released.
    """
    if by[1] not in {"", DEVELOPMENT}:
        return Module(by[0], by[1], by[2])
    return Module(module.path, "") if module.version in _PLACEHOLDERS else module


def _unquote(value: str) -> str:
    """Undo Go's quoting as far as flags need it: a value in double quotes or back quotes."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == "`" else value
