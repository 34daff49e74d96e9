"""Programs: real ones of several compilers and systems, damage, and laws that hold for any bytes."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.inventory.catalogers.executables import INSPECTOR, go_release
from pratique.inventory.examine import UNREADABLE
from pratique.inventory.executables import macho
from pratique.inventory.executables.rustaudit import MAX_JSON
from pratique.model.inventory import Gap, PackageEvidence

RECORDED = Path(__file__).with_name("recorded")
CASES = Path(__file__).parents[1] / "catalogers/cases/executables"

LIB, APP = "example.org/team/lib/v2@v2.3.4", "example.org/team/app@"
ESBUILD, SYS = "github.com/evanw/esbuild@", "golang.org/x/sys@v0.0.0-"
PROGRAMS = {
    "esbuild-0.8.50-linux-amd64": ["stdlib@1.16.0", ESBUILD, SYS + "20200501145240-bc7a7d42d5c3"],
    "esbuild-0.14.0-linux-386": ["stdlib@1.17.2", ESBUILD, SYS + "20210908233432-aa78b53d3365"],
    "esbuild-0.14.0-linux-ppc64le": ["stdlib@1.17.2", ESBUILD, SYS + "20210908233432-aa78b53d3365"],
    "esbuild-0.14.0-windows-386": ["stdlib@1.17.2", ESBUILD],
    "esbuild-0.25.0-windows-amd64": ["stdlib@1.23.5", ESBUILD],
    "esbuild-0.25.0-darwin-arm64": ["stdlib@1.23.5", ESBUILD, SYS + "20220715151400-c0bba94af5f8"],
    "app-linux-mips": ["stdlib@1.24.4", APP, LIB],
    "app-linux-s390x": ["stdlib@1.24.4", APP, LIB],
    "app-linux-pie": ["stdlib@1.24.4", APP, LIB],
    "app-linux-no-sections": ["stdlib@1.24.4", APP + "v1.2.3", LIB],
    "app-windows-386": ["stdlib@1.24.4", APP, LIB],
    "app-linux-no-build-info": ["inventory.no-build-info"],
    "app-linux-upx": ["inventory.packed-binary"],
    "app-windows-upx": ["inventory.packed-binary"],
}


class Bytes:
    """A file in memory that counts how often it is read."""

    def __init__(self, data: bytes, path: str = "usr/bin/program") -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.mode = 0o755
        self.reads = 0

    def read(self) -> bytes:
        raise AssertionError("a program is never read whole")

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        self.reads += 1
        return self.data[offset : offset + length]


def recorded(name: str) -> bytes:
    return gzip.decompress((RECORDED / f"{name}.gz").read_bytes())


def see(data: bytes) -> list[Any]:
    return list(INSPECTOR.inspect(Bytes(data)))


def short(seen: Iterable[Any]) -> list[str]:
    return [item.code if isinstance(item, Gap) else f"{item.namespace}/{item.name}@{item.version}".lstrip("/") for item in seen]


def elf(sections: dict[bytes, bytes], *, wide: bool = True, big: bool = False, base: int = 0x10000) -> bytes:
    """An ELF file with these sections, all of them loaded at `base` plus their offset."""
    order = ">" if big else "<"
    names = b"\0" + b"".join(name + b"\0" for name in sections) + b".shstrtab\0"
    start = (64 + 56) if wide else (52 + 32)
    start += -start % 16
    body, rows, at = b"", [(0, 0, 0, 0, 0, 0)], start
    for name, data in sections.items():
        rows.append((names.index(name + b"\0"), 1, 3, base + at, at, len(data)))
        padded = data + bytes(-len(data) % 16)
        body, at = body + padded, at + len(padded)
    rows.append((names.index(b".shstrtab\0"), 3, 0, 0, at, len(names)))
    table = at + len(names)
    row = struct.Struct(order + ("IIQQQQIIQQ" if wide else "10I"))
    kind = bytes((0x7F, 0x45, 0x4C, 0x46, 2 if wide else 1, 2 if big else 1, 1)) + bytes(9)
    head = kind + struct.pack(order + "HHI", 2, 0, 1)
    sizes = (64, 56, 1, 64) if wide else (52, 32, 1, 40)
    head += struct.pack(order + ("QQQ" if wide else "III"), 0, sizes[0], table)
    head += struct.pack(order + "IHHHHHH", 0, *sizes, len(rows), len(rows) - 1)
    load = (1, 6, 0, base, base, table, table, 16) if wide else (1, 0, base, base, table, table, 6, 16)
    head += struct.pack(order + ("IIQQQQQQ" if wide else "8I"), *load)
    return head.ljust(start, b"\0") + body + names + b"".join(row.pack(*fields, 0, 0, 0, 0) for fields in rows)


def inline(version: str, modules: str) -> bytes:
    """Build information as Go 1.18 and later write it."""
    blob = b"\xff Go buildinf:" + bytes((8, 2)) + bytes(16)
    for text in (version.encode(), (b"0" * 16 + modules.encode() + b"1" * 16) if modules else b""):
        length = len(text)
        while length >= 0x80:
            blob += bytes((length & 0x7F | 0x80,))
            length >>= 7
        blob += bytes((length,)) + text
    return blob


def go(modules: str, version: str = "go1.22.1") -> list[str]:
    return short(see(elf({b".go.buildinfo": inline(version, modules)})))


def audit(crates: list[Any]) -> bytes:
    return zlib.compress(json.dumps({"packages": crates}).encode())


@pytest.mark.parametrize("name", PROGRAMS)
def test_recorded_program(name: str) -> None:
    """What `go version -m` says of the program, whatever its system and compiler; what is hidden is a gap."""
    assert short(see(recorded(name))) == PROGRAMS[name]


@pytest.mark.needs("go")
def test_go_modules_as_go_itself_says() -> None:
    """Every dependency that the Go command finds in the programs at hand is found, and no other."""
    tool = shutil.which("go")
    if tool is None:
        pytest.skip("needs the go command")
    paths = [path for path in (CASES / "go/tree/usr/local/bin").iterdir() if path.name != "gofmt"]
    for path in paths:
        said: list[str] = []
        for line in subprocess.run([tool, "version", "-m", path], check=True, capture_output=True, text=True).stdout.split("\n"):
            fields = line.split("\t")
            if len(fields) > 3 and fields[1] == "dep":
                said.append(f"{fields[2]}@{fields[3]}")
            elif len(fields) > 3 and fields[1] == "=>" and fields[3] != "(devel)":
                said[-1] = f"{fields[2]}@{fields[3]}"
        assert short(item for item in see(path.read_bytes())[1:] if item.role != "main") == said


@pytest.mark.parametrize(("wide", "big"), [(True, False), (True, True), (False, False), (False, True)])
def test_go_strings_behind_pointers(wide: bool, big: bool) -> None:
    """Before Go 1.18 the blob points at two strings in memory, in the machine's own word size and byte order."""
    word, order = (8, ">" if big else "<") if wide else (4, ">" if big else "<")
    pair = struct.Struct(order + ("QQ" if wide else "II"))
    modules = b"0" * 16 + b"path\ta.b/c\nmod\ta.b/c\tv1.0.0\t\ndep\td.e/f\tv0.1.0\t\n" + b"1" * 16
    base, start = 0x10000, 128 if wide else 96
    text = base + start + 32 + 2 * pair.size
    body = b"\xff Go buildinf:" + bytes((word, int(big))) + pair.pack(base + start + 32, base + start + 32 + pair.size)
    body = body.ljust(32, b"\0") + pair.pack(text, 6) + pair.pack(text + 6, len(modules)) + b"go1.15" + modules
    assert short(see(elf({b".go.buildinfo": body}, wide=wide, big=big))) == ["stdlib@1.15.0", "a.b/c@v1.0.0", "d.e/f@v0.1.0"]


def test_go_module_paths_and_replacements() -> None:
    """A replaced module is what replaced it; one replaced by a folder keeps its name, and no version that nobody released."""
    modules = (
        "path\texample.com/x/cmd/x\nmod\texample.com/x\tv0.9.0\th1:\ndep\tgithub.com/Foo/bar/v2\tv2.0.1\th1:\n"
        "dep\told.org/a\tv1.0.0\n=>\tnew.org/a\tv1.0.1\th1:\ndep\tk8s.io/api\tv0.0.0\n=>\t./staging/api\t(devel)\t\n"
        "dep\tgopkg.in/yaml.v2\tv2.4.0+incompatible\n=>\t../yaml\t\n"
    )
    assert go(modules) == [
        "stdlib@1.22.1",
        "example.com/x@v0.9.0",
        "github.com/Foo/bar/v2@v2.0.1",
        "new.org/a@v1.0.1",
        "k8s.io/api@",
        "gopkg.in/yaml.v2@v2.4.0+incompatible",
    ]
    (bar,) = [item for item in see(elf({b".go.buildinfo": inline("go1.22.1", modules)})) if item.name == "v2"]
    assert (bar.namespace, bar.name, bar.version) == ("github.com/Foo/bar", "v2", "v2.0.1")


def test_go_toolchain_is_no_application() -> None:
    """Programs of the toolchain are told as such; a single file without modules hides none, a GOPATH build does."""
    assert go("path\tcmd/go\n", "go1.21.3") == ["stdlib@1.21.3", "toolchain@1.21.3"]
    assert go("path\tcommand-line-arguments\n") == ["stdlib@1.22.1"]
    assert go("path\tgithub.com/cli/cli/cmd/gh\n") == ["stdlib@1.22.1", "inventory.no-build-info"]
    assert go("") == ["stdlib@1.22.1", "inventory.no-build-info"]


@pytest.mark.parametrize(
    ("written", "release"),
    [
        ("go1.22.1", "1.22.1"),
        ("go1.20", "1.20.0"),
        ("go1.22rc1", "1.22.0-rc.1"),
        ("go1.9beta2", "1.9.0-beta.2"),
        ("go1.22.1 X:boringcrypto", "1.22.1"),
        ("go1.20.5 (Red Hat 1.20.5-1.el9)", "1.20.5"),
        ("go1.21-20230317-RC00 cl/517334391", "1.21.0"),
        ("devel go1.23-2e6387cb Tue", ""),
        ("devel +a1b2c3", ""),
        ("go1.2.3.4", ""),
        ("", ""),
    ],
)
def test_go_release(written: str, release: str) -> None:
    """Compiler versions become SemVer; one that is no release is unknown."""
    assert go_release(written) == release


@pytest.mark.parametrize(
    ("version", "flags", "found"),
    [
        ("(devel)", '"-s -w -X main.version=0.59.0"', "v0.59.0"),
        ("(devel)", "-X=a.b/c/internal/build.Version=v2.0.0-rc.1", "v2.0.0-rc.1"),
        ("(devel)", "\"-X 'main.version=1.2.3' -X main.commit=abc\"", "v1.2.3"),
        ("(devel)", '"-X main.version=1.2.3 -X a.b/c/api.version=1.4.0"', ""),
        ("(devel)", '"-X other.org/lib.version=1.2.3"', ""),
        ("(devel)", '"-X main.version=dev"', ""),
        ("v1.0.0", '"-X main.version=2.0.0"', "v1.0.0"),
        ("v0.0.0-20250101000000-abcdefabcdef", '"-X main.version=2.0.0"', "v2.0.0"),
    ],
)
def test_go_main_version_by_flags(version: str, flags: str, found: str) -> None:
    """Linker flags tell the main module's version only where the compiler does not, and only where they agree."""
    seen = go(f"path\ta.b/c\nmod\ta.b/c\t{version}\t\nbuild\t-ldflags={flags}\n")
    assert seen == ["stdlib@1.22.1", f"a.b/c@{found}"]


def test_rust_crates() -> None:
    """Crates of the build alone are no part of the program; the root is the program itself."""
    crates = [
        {"name": "app", "version": "0.3.0", "source": "local", "root": True, "dependencies": [1]},
        {"name": "time", "version": "0.1.40", "source": "crates.io"},
        {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
    ]
    seen = see(elf({b".dep-v0": audit(crates)}))
    assert [(item.type, item.name, item.version, item.role) for item in seen] == [
        ("cargo", "app", "0.3.0", "main"),
        ("cargo", "time", "0.1.40", ""),
    ]


def test_rust_crates_in_a_windows_program() -> None:
    """The section bears the same name in other formats."""
    data = audit([{"name": "time", "version": "0.1.40"}])
    optional = struct.pack("<H", 0x20B).ljust(24, b"\0") + struct.pack("<Q", 0x140000000) + bytes(208)
    section = struct.pack("<8sIIIIIIHHI", b".dep-v0", len(data), 0x1000, len(data), 512, 0, 0, 0, 0, 0x40000040)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
    assert short(see((head + optional + section).ljust(512, b"\0") + data)) == ["time@0.1.40"]


@pytest.mark.parametrize(
    "data",
    [b"", b"not zlib", audit([{"name": "a", "version": "1"}])[:-9], zlib.compress(b"[]"), zlib.compress(bytes(MAX_JSON + 1), 9)],
    ids=["empty", "no-zlib", "cut", "no-audit", "bomb"],
)
def test_rust_damage_is_told(data: bytes) -> None:
    """Audit data that is cut, no audit data, or too large, is never taken for a program without crates."""
    if not data:
        assert see(elf({b".dep-v0": data})) == []
        return
    with pytest.raises(UNREADABLE):
        see(elf({b".dep-v0": data}))


def test_one_damaged_half_does_not_hide_the_other() -> None:
    """A program with broken Go information still tells its crates."""
    seen = see(elf({b".go.buildinfo": inline("go1.22.1", "path\ta\n")[:40], b".dep-v0": audit([{"name": "a", "version": "1"}])}))
    assert short(seen) == ["inventory.unreadable", "a@1"]


def test_universal_program_is_told_once() -> None:
    """The images of a universal file say the same; a Java class, which begins alike, is of no interest."""
    thin = recorded("esbuild-0.25.0-darwin-arm64")
    head = struct.pack(">IIIIIIIIIIII", 0xCAFEBABE, 2, 7, 3, 4096, len(thin), 12, 12, 0, 4096 + len(thin), len(thin), 12)
    assert short(see(head.ljust(4096, b"\0") + thin + thin)) == PROGRAMS["esbuild-0.25.0-darwin-arm64"]
    assert head.startswith(macho.MAGICS)
    assert not b"\xca\xfe\xba\xbe\0\0\0\x34".startswith(INSPECTOR.interest.magic)


def test_plain_library_costs_four_reads() -> None:
    """Thousands of libraries come by: header, program header, section table and names are all that is read."""
    file = Bytes((CASES / "plain/tree/usr/lib/libnothing.so").read_bytes())
    assert list(INSPECTOR.inspect(file)) == []
    assert file.reads <= 4


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_cut_program_is_told(share: float) -> None:
    """A program that ends before it should is a gap or an error, never an empty answer."""
    data = (CASES / "rust/tree/usr/local/bin/uv").read_bytes()
    with contextlib.suppress(*UNREADABLE):
        assert "inventory.truncated" in short(see(data[: int(len(data) * share)]))


def test_core_dumps_and_dos_programs_are_none() -> None:
    """What holds no program says nothing."""
    core = bytearray(elf({b".go.buildinfo": inline("go1.22.1", "path\ta\n")}))
    core[16] = 4
    assert see(bytes(core)) == []
    assert see(b"MZ\0\0a DOS program") == []


def _only_what_may_come(data: bytes) -> None:
    try:
        seen = see(data)
    except UNREADABLE:
        return
    assert all(isinstance(item, PackageEvidence | Gap) for item in seen)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(INSPECTOR.interest.magic), st.binary(max_size=300))
def test_any_bytes_behind_a_magic(magic: bytes, data: bytes) -> None:
    """Whatever follows the first bytes, evidence, gaps or an error of the known kinds come out."""
    _only_what_may_come(magic + data)


SMALL = [
    (CASES / "go/tree/usr/local/bin/app").read_bytes(),
    (CASES / "rust/tree/usr/local/bin/uv").read_bytes(),
    (CASES / "plain/tree/usr/lib/libnothing.so").read_bytes(),
    recorded("esbuild-0.25.0-darwin-arm64")[:20_000],
    recorded("app-windows-386")[:20_000],
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0, 4_000), st.binary(min_size=1, max_size=8)), max_size=6))
def test_any_change_to_a_program(program: bytes, changes: list[tuple[int, bytes]]) -> None:
    """Headers that lie end in evidence, gaps or an error of the known kinds."""
    data = bytearray(program)
    for at, new in changes:
        data[at : at + len(new)] = new
    _only_what_may_come(bytes(data))
