"""dpkg, apk, rpm and os-release: cases made by the real tools, damage of every kind, and laws that hold for any bytes."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.inventory._rpmdb import blobs
from pratique.inventory._rpmdb.header import parse_header
from pratique.inventory.catalogers import apk, dpkg, os_release, rpm
from pratique.inventory.examine import UNREADABLE
from pratique.inventory.ownership import Keeper, worth_keeping
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import Gap, OwnershipEvidence, PackageEvidence, SourcePackage
from pratique.model.ports import Inspector

CASES = Path(__file__).with_name("cases")
INSPECTORS: dict[str, Inspector] = {module.INSPECTOR.name: module.INSPECTOR for module in (apk, dpkg, os_release, rpm)}
DATABASES = {
    "sqlite": CASES / "rpm/sqlite/tree/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "ndb": CASES / "rpm/ndb/tree/usr/lib/sysimage/rpm/Packages.db",
    "bdb": CASES / "rpm/bdb/tree/var/lib/rpm/Packages",
    "bdb-big-endian": CASES / "rpm/bdb-big-endian/tree/var/lib/rpm/Packages",
}


class Bytes:
    """A file in memory."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.mode = 0o644

    def read(self) -> bytes:
        return self.data

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def see(inspector: str, path: str, data: bytes) -> list[Any]:
    return list(INSPECTORS[inspector].inspect(Bytes(path, data)))


def names(seen: list[Any]) -> dict[str, str]:
    return {item.name: item.version for item in seen if isinstance(item, PackageEvidence)}


def gaps(seen: list[Any]) -> list[str]:
    return [item.code for item in seen if isinstance(item, Gap)]


@pytest.mark.parametrize(
    "case",
    [case for name in INSPECTORS for case in sorted((CASES / name).iterdir())],
    ids=lambda case: f"{case.parent.name}/{case.name}",
)
def test_os_case(case: Path) -> None:
    """Each case yields what the real tool says; a damaged one also a gap or an error, and an undamaged one none."""
    seen: list[Any] = []
    troubles = 0
    tree = case / "tree"
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            try:
                seen += see(case.parent.name, str(path.relative_to(tree)), path.read_bytes())
            except UNREADABLE:
                troubles += 1
    evidence = [msgspec.to_builtins(item) for item in seen if not isinstance(item, Gap)]
    evidence.sort(key=lambda item: json.dumps(item, sort_keys=True))
    assert json.loads(json.dumps(evidence)) == json.loads((case / "expected.json").read_text("utf-8"))
    damaged = case.name.startswith("truncated") or (case.name == "empty" and case.parent.name in ("rpm", "os_release"))
    assert bool(gaps(seen) or troubles) == damaged


def test_dpkg_states_are_told_apart() -> None:
    """What was removed is not there; what is held or was never configured is."""
    tree = CASES / "dpkg/states/tree"
    seen = see("dpkg", "var/lib/dpkg/status", (tree / "var/lib/dpkg/status").read_bytes())
    assert names(seen) == {"hello-tool": "1:2.12-3+b1", "libsame": "5.0-1", "python3-hello": "3.4", "unconfigured": "2.0"}
    assert {item.source for item in seen if item.name == "hello-tool"} == {SourcePackage("hello-source", "1:2.12-3")}


def test_dpkg_lists_name_package_and_architecture() -> None:
    """A list of a multi-arch package bears its architecture; paths lose their leading slash."""
    path = "var/lib/dpkg/info/libsame:arm64.list"
    (owned,) = see("dpkg", path, (CASES / "dpkg/states/tree" / path).read_bytes())
    assert (owned.package, owned.arch) == ("libsame", "arm64")
    assert "usr/lib/aarch64-linux-gnu/libsame-helper" in owned.paths
    assert see("dpkg", "etc/apt/sources.list", b"/usr/bin/x\n") == []


def test_dpkg_status_written_by_others() -> None:
    """Carriage returns, blank lines and a missing state or last line feed of image builders are no obstacle."""
    text = b"\n\nPackage: a\r\nVersion:1.0\r\nArchitecture: all\r\n\r\n\n\nPackage: b\nVersion: 2"
    assert names(see("dpkg", "var/lib/dpkg/status.d/x", text)) == {"a": "1.0", "b": "2"}


def test_dpkg_broken_paragraphs_are_gaps() -> None:
    """A package without version, and a paragraph without package, are told."""
    seen = see("dpkg", "var/lib/dpkg/status", b"Package: a\n\nVersion: 1\n\nPackage: c\nVersion: 3\n")
    assert names(seen) == {"c": "3"}
    assert gaps(seen) == ["inventory.invalid", "inventory.invalid"]


def test_opkg_is_listed_but_not_as_debian() -> None:
    """Packages of OpenWrt are generic ones: Debian's advisories do not speak of them."""
    (seen,) = see("dpkg", "usr/lib/opkg/status", b"Package: luci\nVersion: 23.05\nStatus: install user installed\n\n")
    assert (seen.type, seen.name) == ("generic", "luci")


def test_rpm_log_that_holds_changes_is_a_gap() -> None:
    """An empty log is a closed database's; anything in one was not seen."""
    assert see("rpm", "var/lib/rpm/rpmdb.sqlite-wal", b"") == []
    assert gaps(see("rpm", "var/lib/rpm/rpmdb.sqlite-wal", b"x" * 32)) == ["inventory.unreadable"]


def test_rpm_source_epoch_comes_from_its_siblings() -> None:
    """A subpackage with a version of its own learns the source's epoch from the package that bears the source's version."""
    seen = see("rpm", "var/lib/rpm/Packages", DATABASES["bdb"].read_bytes())
    (libs,) = (item for item in seen if isinstance(item, PackageEvidence) and item.name == "tiny-libs")
    assert (libs.version, libs.source) == ("2:7.1-3.el9", SourcePackage("tiny", "2:1.4.2-3.el9"))


def test_rpm_databases_agree() -> None:
    """The same packages in every format are the same evidence."""
    seen = {name: sorted(map(repr, see("rpm", "var/lib/rpm/x", path.read_bytes()))) for name, path in DATABASES.items()}
    assert seen["sqlite"] == seen["ndb"] == seen["bdb"] == seen["bdb-big-endian"]


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_rpm_sqlite_reads_what_sqlite_wrote(tmp_path: Path, page_size: int, journal: str) -> None:
    """Values of every length around the limits of a page come back as SQLite stored them, after deletions too."""
    path = tmp_path / "rpmdb.sqlite"
    base = sqlite3.connect(path)
    base.execute(f"pragma page_size={page_size}")
    base.execute(f"pragma journal_mode={journal}")
    base.execute("create table 'Name'(key 'TEXT' not null, hnum integer not null, idx integer not null)")
    base.execute("create table 'Packages'(hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    lengths = [1, 2, 100, *range(page_size - 60, page_size + 20), 3 * page_size, 9 * page_size + 7, 200_000]
    for number, length in enumerate(lengths):
        base.execute("insert into Packages(blob) values(?)", (bytes([number % 251]) * length,))
        base.execute("insert into Name values(?, ?, 0)", (f"name-{number}", number))
    base.execute("delete from Packages where hnum % 7 = 3")
    base.commit()
    expected = [row[0] for row in base.execute("select blob from Packages order by hnum")]
    base.close()
    assert list(blobs(Bytes("rpmdb.sqlite", path.read_bytes()))) == expected


@pytest.mark.parametrize("name", DATABASES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rpm_any_damage_ends(name: str, data: st.DataObject) -> None:
    """Bytes overwritten anywhere end in evidence, gaps or an error that becomes one; never in another exception, nor a hang."""
    content = bytearray(DATABASES[name].read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        # Most damage goes where it hurts: the first pages, which hold what all else hangs on.
        where = data.draw(st.one_of(st.integers(0, 600), st.integers(0, len(content) - 5)))
        content[where : where + 4] = data.draw(st.binary(min_size=4, max_size=4))
    try:
        see("rpm", "var/lib/rpm/Packages", bytes(content))
    except UNREADABLE:
        return


@pytest.mark.parametrize("name", DATABASES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rpm_truncation_is_never_silent(name: str, data: st.DataObject) -> None:
    """A database cut anywhere loses no package without saying so."""
    content = DATABASES[name].read_bytes()
    whole = names(see("rpm", "var/lib/rpm/Packages", content))
    cut = data.draw(st.integers(0, len(content) - 1))
    try:
        seen = see("rpm", "var/lib/rpm/Packages", content[:cut])
    except UNREADABLE:
        return
    assert names(seen) == whole or gaps(seen)


def test_rpm_overflow_chain_that_bites_its_tail_ends() -> None:
    """A Berkeley DB whose overflow page names itself as the next one yields a gap."""
    content = bytearray(DATABASES["bdb"].read_bytes())
    for number in range(1, len(content) // 4096):
        at = number * 4096
        if content[at + 25] == 7:
            struct.pack_into("<I", content, at + 16, number)
    assert "inventory.invalid" in gaps(see("rpm", "var/lib/rpm/Packages", bytes(content)))


def test_rpm_tree_that_bites_its_tail_ends() -> None:
    """A SQLite table whose root is its own child yields gaps."""
    leaf = b"\x0d" + bytes(7)
    root = b"\x05\0\0\0\0\0\0\0" + struct.pack(">I", 2)
    record = bytes([6, 23, 29, 29, 1, 17]) + b"table" + b"Packages" * 2 + b"\x02" + b"xx"
    cell = bytes([len(record), 1]) + record
    first = bytearray(512)
    first[:18] = b"SQLite format 3\0\x02\0"
    first[100:110] = b"\x0d\0\0\0\1" + bytes(3) + struct.pack(">H", 400)
    first[400 : 400 + len(cell)] = cell
    seen = see("rpm", "var/lib/rpm/rpmdb.sqlite", bytes(first) + root.ljust(512, b"\0") + leaf.ljust(512, b"\0"))
    assert gaps(seen) == ["inventory.invalid"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_rpm_header_of_any_bytes(data: bytes) -> None:
    """A header is read or refused."""
    try:
        parse_header(data)
    except ParseError:
        return


TEXTS: dict[str, tuple[str, list[bytes]]] = {
    "dpkg": (
        "var/lib/dpkg/status",
        [
            b"Package:",
            b"Package: a\n",
            b"Version: 1\n",
            b"Source: b (2)\n",
            b"Status: x",
            b"\n",
            b" ",
            b"\xff",
            b"(",
            b"\r\n",
            b"\0",
        ],
    ),
    "apk": (
        "lib/apk/db/installed",
        [b"P:a\n", b"V:1\n", b"P:", b"F:lib\n", b"R:x.jar\n", b"F:", b"R:", b"\n", b"o:", b"\xff", b"\0"],
    ),
    "os_release": ("etc/os-release", [b"ID=", b"a", b'"', b"'", b"\\", b"\n", b"VERSION_ID=", b"=", b"#", b"\xff", b"\0", b" "]),
    "rpm": ("var/lib/rpmmanifest/container-manifest-2", [b"a", b"\t", b"1-2", b"\n", b"x.src.rpm", b"9", b"\xff", b"-", b"\0"]),
}


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_os_text_of_any_bytes(name: str, data: st.DataObject) -> None:
    """Any bytes end in evidence that can be stored, gaps or an error that becomes one."""
    path, pieces = TEXTS[name]
    content = b"".join(data.draw(st.lists(st.one_of(st.sampled_from(pieces), st.binary(max_size=3)), max_size=40)))
    try:
        seen = see(name, path, content)
    except UNREADABLE:
        return
    for item in seen:
        msgspec.json.encode(item)


@pytest.mark.parametrize("path", [path for path in os_release.INSPECTOR.interest.paths if path.startswith("etc/")])
@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=60))
def test_release_files_of_any_bytes(path: str, content: bytes) -> None:
    """Every release file is read or refused."""
    try:
        see("os_release", path, content)
    except UNREADABLE:
        return


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("etc/oracle-release", "Oracle Linux Server release 8.9\n", ("ol", "8.9")),
        ("etc/rocky-release", "Rocky Linux release 9.3 (Blue Onyx)\n", ("rocky", "9.3")),
        ("etc/fedora-release", "Fedora release 39 (Thirty Nine)\n", ("fedora", "39")),
        ("etc/photon-release", "VMware Photon OS 4.0\nPHOTON_BUILD_NUMBER=1526e30ba\n", ("photon", "4.0")),
        ("etc/system-release", "Amazon Linux release 2 (Karoo)\n", ("amzn", "2")),
        ("etc/mariner-release", "CBL-Mariner 2.0.20220412\n", ("mariner", "2.0.20220412")),
        ("etc/SuSE-release", "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n", ("sles", "11")),
        ("etc/redhat-release", "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n", ("rhel", "6.10")),
        ("etc/debian_version", "12.5\n", ("debian", "12.5")),
        ("etc/lsb-release", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=14.04\nDISTRIB_CODENAME=trusty\n", ("ubuntu", "14.04")),
    ],
)
def test_older_release_files(path: str, content: str, expected: tuple[str, str]) -> None:
    """The files from before os-release name the same distributions."""
    (seen,) = see("os_release", path, content.encode())
    assert (seen.id, seen.version) == expected


PARTS = (
    "usr lib bin sbin local opt lib64 share doc man games libexec libx notlib py map conf x.py a.jar .jar METADATA b.so c.so.1.2"
)
PARTS += " d.so.x package.json e.gz PKG-INFO f.egg-info g.deps.json installed.json"
PART = st.sampled_from(PARTS.split())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PART, min_size=1, max_size=6), max_size=8))
def test_keeping_in_bulk_is_keeping_one_by_one(parts: list[list[str]]) -> None:
    """Both ways to ask in bulk give what the rule says for each path."""
    paths = ["/".join(part) for part in parts]
    expected = [path for path in paths if worth_keeping(path)]
    assert Keeper().keep(paths) == expected
    ask: Callable[[str, list[str]], list[str]] = Keeper().keep_in
    joined = [ask("".join(f"{name}/" for name in part[:-1]), part[-1:]) for part in parts]
    assert [path for found in joined for path in found] == expected


def test_owned_paths_have_a_budget() -> None:
    """A database that lists a long folder with very many names is refused, not expanded."""
    content = b"P:a\nV:1\nF:lib/" + b"x" * 100_000 + b"\n" + b"R:a\n" * 10_000 + b"\n"
    with pytest.raises(BudgetExceededError):
        see("apk", "lib/apk/db/installed", content)
    seen = see("apk", "lib/apk/db/installed", content[:200] + b"\nR:b\n\n")
    assert [item.package for item in seen if isinstance(item, OwnershipEvidence)] == ["a"]
