"""What packages need, by the rules of each ecosystem: what is there meets it, what is not makes the relations incomplete."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.model.inventory import PackageDetails
from pratique.model.report import Report
from pratique.pipeline import ScanOptions, list_inventory

CASES = Path(__file__).parents[1] / "catalogers" / "cases"


def report(tree: Path, *, scheme: str = "rootfs", files: bool = False) -> Report:
    """List what is in a folder, as `pratique sbom` does."""
    sources = SourceOptions(cache_dir=tree.parent / "cache")
    how = ScanOptions(sources=sources, keep=False, now="2026-01-01T00:00:00Z", details=True, files=files)
    return list_inventory(parse_target(f"{scheme}:{tree}"), how)


def related(tree: Path, scheme: str = "rootfs") -> dict[str, tuple[str, list[str]]]:
    """Return what is said of each package, by its name and version: how much is known, and what it depends on."""
    packages = report(tree, scheme=scheme).packages
    names = {package.purl: f"{package.name} {package.version}" for package in packages}
    found: dict[str, tuple[str, list[str]]] = {}
    for package in packages:
        assert isinstance(package.details, PackageDetails)
        found[names[package.purl]] = (package.details.relations, sorted(names[purl] for purl in package.details.depends))
    return found


def laid(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder."""
    for path, text in files.items():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / path).write_text(text, encoding="utf-8")
    return folder / "tree"


def _status(*stanzas: str) -> str:
    head = "Status: install ok installed\nArchitecture: amd64\nVersion: 1\n"
    return "\n".join(f"Package: {stanza.partition(chr(10))[0]}\n{head}{stanza.partition(chr(10))[2]}\n" for stanza in stanzas)


def test_debian(tmp_path: Path) -> None:
    """Alternatives, virtual packages, versions in brackets, architectures, continued lines; what is recommended is not needed."""
    status = _status(
        "a\nDepends: b (>= 1), missing | c,\n d:any\nPre-Depends: e [amd64] <!nocheck>\nRecommends: nothing",
        "b\nDepends: mail-agent",
        "c",
        "d\nDepends: gone",
        "e\nProvides: mail-agent (= 2), other",
    )
    assert related(laid(tmp_path, {"var/lib/dpkg/status": status})) == {
        "a 1": ("complete", ["b 1", "c 1", "d 1", "e 1"]),
        "b 1": ("complete", ["e 1"]),
        "c 1": ("complete", []),
        "d 1": ("incomplete", []),
        "e 1": ("complete", []),
    }


def test_debian_of_two_architectures(tmp_path: Path) -> None:
    """A package needs the library of its own architecture where both are there."""
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: {}\nVersion: {}\n{}\n"
    status = "\n".join(
        (
            stanza.format("app", "i386", "1", "Depends: lib"),
            stanza.format("lib", "amd64", "64", ""),
            stanza.format("lib", "i386", "32", ""),
        )
    )
    assert related(laid(tmp_path, {"var/lib/dpkg/status": status}))["app 1"] == ("complete", ["lib 32"])


def test_apk_of_a_real_database() -> None:
    """Shared objects and files are provided by the packages that install them."""
    found = related(CASES / "apk" / "alpine-3.14" / "tree")
    assert found["libcrypto1.1 1.1.1k-r0"] == ("complete", ["musl 1.2.2-r3"])
    assert found["libc-utils 0.7.2-r3"] == ("complete", ["musl-utils 1.2.2-r3"])
    assert found["musl-utils 1.2.2-r3"][0] == "incomplete"  # it needs /bin/sh, and busybox was cut from the case


def test_apk_files(tmp_path: Path) -> None:
    """What is needed by its path is met by the package that installed it; conflicts are no needs."""
    installed = (
        "P:a\nV:1\nA:x\nD:/bin/sh so:libx.so.1 !c e>=2\n\nP:b\nV:1\nA:x\np:so:libx.so.1=1 cmd:b\nF:bin\nR:sh\nF:etc\nR:x\n\n"
    )
    assert related(laid(tmp_path, {"lib/apk/db/installed": installed + "P:e\nV:2\nA:x\n\n"}))["a 1"] == (
        "complete",
        ["b 1", "e 2"],
    )


def test_rpm_of_a_real_database() -> None:
    """What rpm itself provides is no gap; a package that is not there is one."""
    found = related(CASES / "rpm" / "sqlite" / "tree")
    assert found["tiny 2:1.4.2-3.el9"] == ("complete", [])
    assert found["python3-tiny 2:1.4.2-3.el9"][0] == "incomplete"


def _metadata(name: str, version: str, *lines: str) -> str:
    return "\n".join((f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *lines)) + "\n\nRequires-Dist: a-lie\n"


def test_python(tmp_path: Path) -> None:
    """Names in any spelling, within one environment; extras are left out, markers need not be met."""
    site = "opt/venv/lib/python3.12/site-packages"
    needs = ("Requires-Dist: Zope.Interface (>=4)", "Requires-Dist: tz ; python_version < '3'", "Requires-Dist: x ; extra == 'y'")
    found = related(
        laid(
            tmp_path,
            {
                f"{site}/app-1.dist-info/METADATA": _metadata("app", "1", *needs),
                f"{site}/zope.interface-5.dist-info/METADATA": _metadata("zope_interface", "5"),
                f"{site}/x-1.dist-info/METADATA": _metadata("x", "1", "Requires-Dist: other"),
                "usr/lib/python3/dist-packages/other-1.dist-info/METADATA": _metadata("other", "1"),
                "usr/lib/python3/dist-packages/old-1.egg-info/PKG-INFO": _metadata("old", "1"),
                "usr/local/lib/python3.12/dist-packages/new-1.dist-info/METADATA": _metadata("new", "1", "Requires-Dist: other"),
            },
        )
    )
    assert found["app 1"] == ("complete", ["zope-interface 5"])
    assert found["x 1"] == ("incomplete", [])  # another environment's package does not meet it
    assert found["new 1"] == ("complete", ["other 1"])  # the system's interpreter sees both of its folders
    assert found["old 1"] == ("unknown", [])  # before wheels, metadata did not say


def _manifest(name: str, version: str, **more: Any) -> str:
    return json.dumps({"name": name, "version": version, **more})


def test_node(tmp_path: Path) -> None:
    """A name is looked for as Node does, from the inner node_modules to the outer."""
    found = related(
        laid(
            tmp_path,
            {
                "srv/package.json": _manifest("app", "1.0.0", dependencies={"a": "1", "@s/b": "1", "gone": "1"}),
                "srv/node_modules/a/package.json": _manifest(
                    "a", "1.0.0", dependencies={"c": "2"}, optionalDependencies={"o": "1"}
                ),
                "srv/node_modules/a/node_modules/c/package.json": _manifest("c", "2.0.0"),
                "srv/node_modules/c/package.json": _manifest("c", "1.0.0", peerDependencies={"@s/b": "*", "none": "*"}),
                "srv/node_modules/@s/b/package.json": _manifest("@s/b", "1.0.0", dependencies={"c": "1"}),
            },
        )
    )
    assert found == {
        "app 1.0.0": ("incomplete", ["@s/b 1.0.0", "a 1.0.0"]),
        "a 1.0.0": ("complete", ["c 2.0.0"]),
        "c 2.0.0": ("complete", []),
        "c 1.0.0": ("complete", ["@s/b 1.0.0"]),
        "@s/b 1.0.0": ("complete", ["c 1.0.0"]),
    }


def test_gems_of_several_versions(tmp_path: Path) -> None:
    """Of two versions of a gem, the one that fits is meant."""
    spec = (
        '# -*- encoding: utf-8 -*-\n# stub: {0} {1} ruby lib\n\nGem::Specification.new do |s|\n  s.name = "{0}".freeze\n{2}end\n'
    )
    need = '  s.add_runtime_dependency(%q<rack>.freeze, ["~> 2.0".freeze, ">= 2.0.9"])\n'
    folder = "usr/local/bundle/specifications"
    files = {
        f"{folder}/sinatra-3.0.gemspec": spec.format("sinatra", "3.0", need),
        **{f"{folder}/rack-{version}.gemspec": spec.format("rack", version, "") for version in ("2.2.1", "3.0.0", "2.0.8")},
    }
    assert related(laid(tmp_path, files))["sinatra 3.0"] == ("complete", ["rack 2.2.1"])


def test_php(tmp_path: Path) -> None:
    """The platform is no package; what another replaces is met by it."""
    packages = [
        {"name": "a/a", "version": "1", "require": {"php": ">=8", "ext-json": "*", "b/b": "*", "c/old": "*"}},
        {"name": "b/b", "version": "1", "dist": {"shasum": "0" * 40}},
        {"name": "c/new", "version": "2", "replace": {"c/old": "*"}},
    ]
    tree = laid(tmp_path, {"srv/vendor/composer/installed.json": json.dumps({"packages": packages})})
    assert related(tree)["a/a 1"] == ("complete", ["b/b 1", "c/new 2"])
    [digest] = [one for package in report(tree).packages for one in package.details.hashes]  # type: ignore[union-attr]
    assert (digest.algorithm, digest.value) == ("sha1", "0" * 40)


@pytest.mark.parametrize(
    ("case", "name", "expected"),
    [
        ("dotnet/portable", "Shop.Web 1.0.0", ("complete", ["Microsoft.Data.SqlClient 5.1.0"])),
        ("executables/go", "example.org/team/lib/v2 v2.3.4", ("unknown", [])),
        ("executables/rust", "aho-corasick 1.1.4", ("complete", ["memchr 2.8.3"])),
    ],
)
def test_real_cases(case: str, name: str, expected: tuple[str, list[str]]) -> None:
    """What real tools wrote is read as they mean it."""
    assert related(CASES / case / "tree")[name] == expected


def test_a_go_program_needs_all_its_modules() -> None:
    """The list of modules has no graph: the main module needs them all, of the others nothing is known."""
    found = related(CASES / "executables" / "go" / "tree")
    assert found["example.org/team/app v1.2.3"] == ("complete", ["example.org/team/lib/v2 v2.3.4", "stdlib 1.24.4"])


@pytest.mark.parametrize("case", ["npm-3", "pnpm-6", "pnpm-7", "pnpm-8", "pnpm-9", "yarn-1", "yarn-4", "bun"])
def test_node_lock_files_agree(case: str) -> None:
    """Each tool's lock of the same project says of every package what it needs, and all of it is there."""
    found = related(CASES / "lock_node" / case / "tree", "dir")
    assert {known for known, _ in found.values()} == {"complete"}
    assert next(needs for name, (_, needs) in found.items() if name.startswith("once ")) == ["wrappy 1.0.2"]


def test_nested_archives_are_parts(tmp_path: Path) -> None:
    """What lies in an archive is what it needs; an artifact's pom tells of the others, but for tests."""

    def jar(group: str, artifact: str, version: str, pom: str = "", inside: dict[str, bytes] | None = None) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            place = f"META-INF/maven/{group}/{artifact}"
            archive.writestr(f"{place}/pom.properties", f"groupId={group}\nartifactId={artifact}\nversion={version}\n")
            archive.writestr(f"{place}/pom.xml", f"<project xmlns='http://maven.apache.org/POM/4.0.0'>{pom}</project>")
            archive.writestr("A.class", b"x")
            for name, data in (inside or {}).items():
                archive.writestr(name, data)
        return out.getvalue()

    def need(group: str, artifact: str, more: str = "") -> str:
        return f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>{more}</dependency>"

    needs = need("g", "b") + need("${project.groupId}", "c", "<optional>true</optional>") + need("g", "t", "<scope>test</scope>")
    parts = {"lib/a.jar": jar("g", "a", "1", f"<dependencies>{needs}</dependencies>"), "lib/b.jar": jar("g", "b", "2")}
    tree = laid(tmp_path, {"srv/x": ""})
    (tree / "srv" / "app.jar").write_bytes(jar("g", "app", "9", inside=parts))
    found = related(tree)
    assert found["g:a 1"] == ("complete", ["g:b 2"])
    assert found["g:app 9"] == ("complete", ["g:a 1", "g:b 2"])


def test_a_scan_asks_for_none_of_it(tmp_path: Path) -> None:
    """Without an SBOM nothing of this is looked for, kept or written."""
    tree = laid(tmp_path, {"var/lib/dpkg/status": _status("a\nDepends: b", "b")})
    sources = SourceOptions(cache_dir=tmp_path / "cache")
    plain = list_inventory(parse_target(f"rootfs:{tree}"), ScanOptions(sources=sources, keep=False, now="2026-01-01T00:00:00Z"))
    assert not any(isinstance(package.details, PackageDetails) for package in plain.packages)
