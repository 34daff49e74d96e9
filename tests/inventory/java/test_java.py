"""Java archives: the table of contents against the standard library's reader, names, metadata, hostile archives, any bytes."""

from __future__ import annotations

import io
import json
import os
import struct
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.inventory.catalogers import java
from pratique.inventory.catalogers.java import INSPECTOR
from pratique.inventory.examine import UNREADABLE
from pratique.inventory.java import names
from pratique.inventory.java.archive import Archive
from pratique.inventory.java.metadata import Coordinates, read_manifest, read_pom, read_properties
from pratique.inventory.zipped import content
from pratique.model.errors import ParseError
from pratique.model.inventory import Gap, PackageEvidence

CASES = Path(__file__).parents[1] / "catalogers/cases/java"
ROOT = Path(__file__).parents[3]
MIRROR = Path(os.environ.get("PRATIQUE_TEST_MIRROR", ROOT.parent / "shared/mirror"))
CLASS = {"A.class": b"\xca\xfe\xba\xbe\0\0\0\x34"}


class Bytes:
    """A file in memory."""

    def __init__(self, data: bytes, path: str) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.mode = 0o644

    def read(self) -> bytes:
        raise AssertionError("an archive is never read whole")

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        return self.data[offset : offset + length]


def jar(members: dict[str, bytes], *, stored: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, archive.compression)
    return out.getvalue()


def pom(group: str, artifact: str, version: str) -> dict[str, bytes]:
    text = f"groupId={group}\nartifactId={artifact}\nversion={version}\n"
    return {f"META-INF/maven/{group}/{artifact}/pom.properties": text.encode()}


def manifest(**attributes: str) -> dict[str, bytes]:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in attributes.items()]
    return {"META-INF/MANIFEST.MF": "".join(["Manifest-Version: 1.0\r\n", *lines, "\r\n"]).encode()}


def see(data: bytes, path: str = "opt/app.jar") -> list[Any]:
    return list(INSPECTOR.inspect(Bytes(data, path)))


def short(seen: list[Any]) -> list[str]:
    return [
        f"{item.code} {item.path}" if isinstance(item, Gap) else f"{item.namespace}:{item.name}:{item.version}" for item in seen
    ]


def archive(data: bytes) -> Archive:
    return Archive(Bytes(data, "").read_at, len(data))


NAMES = st.text("ab/.jrPK\1\2é", min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(NAMES, st.binary(max_size=40), max_size=12),
    st.booleans(),
    st.binary(max_size=30),
    st.text("PK\5\6x", max_size=30),
    st.sampled_from([b".jar", b"a", b"/"]),
)
def test_members_are_those_of_the_standard_reader(
    members: dict[str, bytes], stored: bool, launcher: bytes, comment: str, part: bytes
) -> None:
    """Names that contain a part, and what they hold, whatever the names, comments and bytes before the archive."""
    out = io.BytesIO(jar(members, stored=stored))
    with zipfile.ZipFile(out, "a") as opened:
        opened.comment = comment.replace("\5\6", "").encode()
        infos = opened.infolist()
    data = launcher.replace(b"P", b"") + out.getvalue()
    ours = {
        member.name: content(Bytes(data, "").read_at, member, 100) for member in archive(data).containing(part, lambda _: True)
    }
    theirs = {info.orig_filename: members[info.orig_filename] for info in infos}
    expected = {name.encode("ascii" if name.isascii() else "utf-8"): value for name, value in theirs.items()}
    assert ours == {name: value for name, value in expected.items() if part in name}


def test_more_members_than_a_16_bit_number_counts() -> None:
    """Large merged archives use zip64 for their number of members."""
    members = {f"{number}.class": b"" for number in range(66_000)} | pom("g", "a", "1")
    data = jar(members, stored=True)
    assert b"PK\6\6" in data
    assert short(see(data)) == ["g:a:1"]


def test_a_header_inside_a_comment_is_no_member() -> None:
    """The table is walked where it holds more headers than members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        info = zipfile.ZipInfo("x.class")
        fake = b"PK\1\2" + bytes(24) + struct.pack("<HHH", 5, 0, 0) + bytes(12) + b"b.jar"
        info.comment = fake
        opened.writestr(info, b"")
    assert list(archive(out.getvalue()).containing(b".jar", lambda _: True)) == []


def with_comment(data: bytes, comment: bytes) -> bytes:
    """Add a comment to an archive that has none, whatever it holds."""
    return data[:-2] + struct.pack("<H", len(comment)) + comment


def test_the_end_of_another_archive_in_a_comment_hides_nothing() -> None:
    """What looks like an end record in the comment is none for Java, which runs what the true table lists."""
    data = jar(pom("g", "a", "1"))
    nothing = b"PK\5\6" + bytes(16) + struct.pack("<H", 7)
    assert short(see(with_comment(data, nothing))) == ["g:a:1"]
    assert short(see(with_comment(data, nothing + bytes(5_000)))) == ["g:a:1"]


def test_a_wide_end_that_nobody_asked_for_hides_nothing() -> None:
    """The records of zip64 count where the end record refers to them, and nowhere else: not in a member's comment."""
    empty = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 0, 0, 0, 0)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("empty", empty)
        for name, value in pom("g", "a", "1").items():
            info = zipfile.ZipInfo(name)
            info.comment = struct.pack("<4sLQL", b"PK\6\7", 0, len(b"empty") + 30, 1)
            opened.writestr(info, value)
    assert short(see(out.getvalue())) == ["g:a:1"]


@pytest.mark.parametrize(
    ("base", "stem", "version"),
    [
        ("guava-32.0.1-jre", "guava", "32.0.1-jre"),
        ("kafka_2.13-3.6.0", "kafka_2.13", "3.6.0"),
        ("log4j-1.2-api-2.17.1", "log4j-1.2-api", "2.17.1"),
        ("netty-tcnative-2.0.61.Final-linux-x86_64", "netty-tcnative", "2.0.61.Final"),
        ("app-1.0-20200101.120000-1", "app", "1.0-20200101.120000-1"),
        ("lib-1.0-beta-2.1", "lib", "1.0-beta-2.1"),
        ("tabula-1.0.5-jar-with-dependencies", "tabula", "1.0.5"),
        ("jakarta.el-api-v2.0", "jakarta.el-api", "2.0"),
        ("catalina", "catalina", ""),
        ("spring3-core-3.x", "spring3-core", ""),
        ("-1", "", "1"),
        ("", "", ""),
    ],
)
def test_split_name(base: str, stem: str, version: str) -> None:
    """Artifact and version of a file name."""
    assert names.split_name(base) == (stem, version)


@pytest.mark.parametrize(
    ("base", "attributes", "found"),
    [
        ("spring-core-5.3.17", {}, ("org.springframework", "spring-core", "5.3.17")),
        ("okhttp-2.7.5", {}, ("com.squareup.okhttp", "okhttp", "2.7.5")),
        ("okhttp-4.9.0", {}, ("com.squareup.okhttp3", "okhttp", "4.9.0")),
        ("c3p0-0.9.1.2", {}, ("c3p0", "c3p0", "0.9.1.2")),
        ("c3p0-0.9.5.5", {}, ("com.mchange", "c3p0", "0.9.5.5")),
        ("core-1.0", {"Bundle-SymbolicName": "org.objectweb.core"}, ("", "core", "1.0")),
        ("deep-lib-1.0", {"Bundle-SymbolicName": "org.x.deep-lib;singleton:=true"}, ("org.x", "deep-lib", "1.0")),
        ("log4j-thing-2.19.0", {"Implementation-Vendor-Id": "org.apache"}, ("", "log4j-thing", "2.19.0")),
        ("y-1", {"Implementation-Vendor-Id": "org.x.y", "Automatic-Module-Name": "org.x.y.z"}, ("org.x.y", "y", "1")),
        ("y-1", {"Implementation-Vendor-Id": "org.x.y"}, ("", "y", "1")),
        ("catalina", {"Bundle-SymbolicName": "org.apache.tomcat-catalina"}, ("org.apache.tomcat", "tomcat-catalina", "")),
        ("e", {"Bundle-SymbolicName": "org.apache.tomcat-embed-core"}, ("org.apache.tomcat.embed", "tomcat-embed-core", "")),
        ("x", {"Implementation-Version": "${project.version}"}, ("", "x", "")),
        ("x", {"Implementation-Version": "build 7", "Bundle-Version": "1.2.3"}, ("", "x", "1.2.3")),
    ],
)
def test_identify(base: str, attributes: dict[str, str], found: tuple[str, str, str]) -> None:
    """A group is known by the table, by a name that contains it, or not at all."""
    assert names.identify(base, attributes) == Coordinates(*found)


def test_one_artifact_has_one_group() -> None:
    """The table contradicts neither itself nor, where there is one, the mirror of public advisories."""
    table = tomllib.loads((Path(names.__file__).with_name("groups.toml")).read_text("utf-8"))
    listed = [artifact for artifacts in table["artifacts"].values() for artifact in artifacts]
    assert len(listed) == len(set(listed))
    assert not set(listed) & set(table["moved"])
    path = MIRROR / "osv/Maven/all.zip"
    if not path.exists():
        pytest.skip("needs the advisory mirror for its second half")
    known: dict[str, set[str]] = {}
    with zipfile.ZipFile(path) as records:
        for name in records.namelist():
            for affected in json.loads(records.read(name)).get("affected", []):
                group, _, artifact = affected.get("package", {}).get("name", "").partition(":")
                known.setdefault(artifact, set()).add(group)
    for group, artifacts in table["artifacts"].items():
        assert [artifact for artifact in artifacts if artifact in known and group not in known[artifact]] == []


def test_properties_and_manifest() -> None:
    """Comments, escapes, continued lines and later sections."""
    assert read_properties(b"#x\r\ngroupId = a\\:b\r\nartifactId=c\r\nversion=${v}\r\n") == ("a:b", "c", "")
    text = b"Manifest-Version: 1.0\r\nBundle-Symbo\r\n licName: a.b;x:=1\r\n\r\nName: other\r\nBundle-Version: 9\r\n"
    assert read_manifest(text) == {"Manifest-Version": "1.0", "Bundle-SymbolicName": "a.b;x:=1"}


def test_pom_inherits_within_its_file() -> None:
    """What a parent or property of the same file says is used; what is elsewhere is unknown."""
    text = (
        "<project xmlns='x'><parent><groupId>p.q</groupId><version>${a}</version></parent><artifactId>r</artifactId>{}</project>"
    )
    assert read_pom(text.replace("{}", "<properties><a>${b}</a><b>2</b></properties>").encode()) == ("p.q", "r", "2")
    assert read_pom(text.replace("{}", "<!-- c --><?p i?><properties><a>${a}${a}</a></properties>").encode()) == ("p.q", "r", "")
    with pytest.raises(ParseError):
        read_pom(b"<!DOCTYPE p [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><project><version>&e;</version></project>")
    with pytest.raises(ParseError):
        read_pom(b"<project>")


def test_merged_artifacts_all_count() -> None:
    """Each merged artifact is told; one whose metadata is damaged is told by its folder, with a gap."""
    broken = {"META-INF/maven/g/broken/pom.xml": b"<project"}
    seen = short(see(jar(pom("g", "app", "1") | pom("h", "merged", "2") | broken | CLASS), "opt/app-1.jar"))
    assert seen == ["inventory.unreadable opt/app-1.jar!/META-INF/maven/g/broken/pom.xml", "g:app:1", "h:merged:2", "g:broken:"]


def test_a_merged_artifact_does_not_hide_the_archive_itself() -> None:
    """A library without metadata of its own that another was merged into is both."""
    assert short(see(jar(pom("g", "merged", "2") | CLASS), "spring-web-5.0.jar")) == [
        "g:merged:2",
        "org.springframework:spring-web:5.0",
    ]


def test_unnamed_library_is_a_gap_and_an_application_of_named_parts_is_none() -> None:
    """A lone archive with code that nobody can name is told; one without code, or with parts that are told, needs no name."""
    assert short(see(jar(CLASS), "x/lib.jar")) == ["inventory.unidentified x/lib.jar"]
    assert short(see(jar({"readme.txt": b""}), "x/lib.jar")) == []
    inner = jar(pom("g", "a", "1") | CLASS)
    assert short(see(jar({"lib/a.jar": inner} | CLASS), "x/app.jar")) == ["g:a:1"]


def test_depth_is_bounded() -> None:
    """Archives inside each other are followed to a sane depth, and what lies deeper is told."""
    data = jar(pom("g", "deepest", "1"))
    for _ in range(java.MAX_DEPTH + 2):
        data = jar({"a.jar": data})
    seen = short(see(data))
    assert len(seen) == 1
    assert seen[0].startswith("inventory.too-large opt/app.jar!/a.jar!/a.jar")


def test_bombs_are_not_unpacked() -> None:
    """A nested archive that unpacks to far more than it takes is a gap; its neighbour is read."""
    good = jar(pom("g", "a", "1"))
    seen = short(see(jar({"bomb.jar": bytes(1 << 20), "good.jar": good})))
    assert seen == ["inventory.too-large opt/app.jar!/bomb.jar", "g:a:1"]


def test_overlapping_archives_are_read_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that all point at the same stored archive exceed the budget of one file."""
    monkeypatch.setattr(java, "MAX_UNPACKED", 0)
    inner = jar(pom("g", "a", "1") | {"filler": bytes(5000)}, stored=True)
    data = jar({"a.jar": inner}, stored=True)
    start = data.rindex(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    table, count = data[start:end] * 50, 50
    last = struct.pack("<HHHHLLH", 0, 0, count, count, len(table), start, 0)
    seen = short(see(data[:start] + table + b"PK\5\6" + last))
    assert len(seen) == count
    assert 1 <= seen.count("g:a:1") <= 10
    assert seen[-1] == "inventory.too-large opt/app.jar!/a.jar"


def test_sizes_that_lie_are_told() -> None:
    """A member whose stated size or checksum is not its own is unreadable."""
    data = bytearray(jar({"a.jar": jar(pom("g", "a", "1"))}))
    at = data.rindex(b"PK\1\2")
    for offset in (16, 24):
        changed = bytearray(data)
        changed[at + offset] ^= 1
        assert short(see(bytes(changed))) == ["inventory.unreadable opt/app.jar!/a.jar"]
    data[at + 8] |= 1
    assert short(see(bytes(data))) == ["inventory.unreadable opt/app.jar!/a.jar"]


def test_other_formats_of_the_same_suffix_are_silent() -> None:
    """A song or a checksum file is no archive; a jar that is none is an error; an empty file is nothing."""
    assert see(b"MThd\0\0", "song.kar") == []
    assert see(b"", "placeholder.jar") == []
    with pytest.raises(ParseError):
        see(b"<html>404</html>", "download.jar")


def _only_what_may_come(data: bytes) -> None:
    try:
        seen = see(data)
    except UNREADABLE:
        return
    assert all(isinstance(item, PackageEvidence | Gap) for item in seen)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes, evidence, gaps or an error of the known kinds come out."""
    _only_what_may_come(b"PK" + data)
    _only_what_may_come(b"PK" + data + b"PK\5\6" + data[:18].ljust(18, b"\0"))


SMALL = [(CASES / path).read_bytes() for path in ("spring-boot/tree/app.jar", "ear/tree/srv/deploy/shop.ear")]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SMALL), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=6))
def test_any_change_to_an_archive(data: bytes, changes: list[tuple[float, bytes]]) -> None:
    """Headers that lie end in evidence, gaps or an error of the known kinds."""
    changed = bytearray(data)
    for share, new in changes:
        at = int(share * (len(data) - 1))
        changed[at : at + len(new)] = new
    _only_what_may_come(bytes(changed))
