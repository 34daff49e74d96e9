"""Files on request: each with the digests of what the image really holds, and with the package that installed it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import imagebuilder
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.inventory.cache import LayerCache
from pratique.model.inventory import ImageFile, PackageDetails
from pratique.model.report import Report
from pratique.pipeline import ScanOptions, list_inventory
from pratique.report import cyclonedx, spdx

SITE = "usr/local/lib/python3.12/site-packages"
RECORD = "x.py,sha256=AAAA,1\nx-1.dist-info/METADATA,,\n../../../bin/x,,\n"
LOWER = {
    "var/lib/dpkg/status": "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n",
    "var/lib/dpkg/info/tool.list": "/.\n/usr\n/bin/tool\n/usr/share/doc/tool/README\n/etc/tool.conf\n/etc/gone\n",
    "usr/bin/tool": "tool\n",
    "etc/tool.conf": "old\n",
    "etc/gone": "x",
}
UPPER = {
    "etc/tool.conf": "new\n",
    "etc/.wh.gone": "",
    "srv/loose": "nobody's\n",
    f"{SITE}/x-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: x\nVersion: 1\n",
    f"{SITE}/x-1.dist-info/RECORD": RECORD,
    f"{SITE}/x.py": "",
    "usr/local/bin/x": "#!python\n",
}


def listed(tmp_path: Path, *, files: bool = True) -> Report:
    """List an image of two layers."""
    path = tmp_path / "image.tar"
    path.write_bytes(imagebuilder.docker_archive([imagebuilder.layer(LOWER), imagebuilder.layer(UPPER)]))
    how = ScanOptions(sources=SourceOptions(cache_dir=tmp_path / "cache"), now="2026-01-01T00:00:00Z", details=True, files=files)
    return list_inventory(parse_target(f"docker-archive:{path}"), how)


def test_digests_are_of_what_is_there(tmp_path: Path) -> None:
    """The upper layer's file counts, what it hides is gone, and each is named with its layer."""
    report = listed(tmp_path)
    assert isinstance(report.files, tuple)
    files = {file.path: file for file in report.files}
    content = {**LOWER, **UPPER}
    assert set(files) == {path for path in content if "gone" not in path}
    for path, file in files.items():
        data = content[path].encode()
        stated = {one.algorithm: one.value for one in file.hashes}
        assert (file.size, stated["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert stated["sha1"] == hashlib.sha1(data, usedforsecurity=False).hexdigest()
    lower, upper = (layer.diff_id for layer in report.target.layers)
    assert (files["usr/bin/tool"].layer, files["etc/tool.conf"].layer) == (lower, upper)


def test_packages_have_their_files(tmp_path: Path) -> None:
    """As far as these are in the image, under the paths that they have there; /bin is /usr/bin."""
    owned: dict[str, Any] = {}
    for package in listed(tmp_path).packages:
        assert isinstance(package.details, PackageDetails)
        owned[package.name] = package.details.files
    assert owned["tool"] == ("etc/tool.conf", "usr/bin/tool")
    assert owned["x"] == ("usr/local/bin/x", f"{SITE}/x-1.dist-info/METADATA", f"{SITE}/x.py")


def test_nothing_of_it_unasked(tmp_path: Path) -> None:
    """An SBOM without them says nothing of files, and one with them is the same but for them."""
    report = listed(tmp_path, files=False)
    assert not isinstance(report.files, tuple)
    assert "files" not in written(spdx.REPORTER, report)
    assert [one.purl for one in report.packages] == [one.purl for one in listed(tmp_path).packages]


def written(reporter: Any, report: Report) -> Any:
    """Write a report, and read it."""
    out = io.BytesIO()
    reporter.write(report, out)
    return json.loads(out.getvalue())


def test_cyclonedx_puts_files_into_their_packages(tmp_path: Path) -> None:
    """Each file once: inside of the component that installed it, else beside the components."""
    document = written(cyclonedx.REPORTER, listed(tmp_path))
    inside = {one["name"]: [file["name"] for file in one.get("components", ())] for one in document["components"]}
    assert inside["tool"] == ["etc/tool.conf", "usr/bin/tool"]
    assert inside["srv/loose"] == []
    names = [name for one in document["components"] for name in (one["name"], *inside[one["name"]]) if "/" in name]
    assert len(names) == len(set(names))


def test_spdx_packages_with_files_are_analysed(tmp_path: Path) -> None:
    """The verification code is the SHA-1 of the files' sorted SHA-1s; a package without files has none."""
    report = listed(tmp_path)
    document = written(spdx.REPORTER, report)
    packages = {one["name"]: one for one in document["packages"]}
    assert isinstance(report.files, tuple)
    sums = sorted(_sha1(file) for file in report.files if file.path in ("etc/tool.conf", "usr/bin/tool"))
    code = hashlib.sha1("".join(sums).encode(), usedforsecurity=False).hexdigest()
    assert packages["tool"]["packageVerificationCode"]["packageVerificationCodeValue"] == code
    contained = {one["relatedSpdxElement"] for one in document["relationships"] if one["relationshipType"] == "CONTAINS"}
    assert {file["SPDXID"] for file in document["files"]} <= contained


def _sha1(file: ImageFile) -> str:
    return next(one.value for one in file.hashes if one.algorithm == "sha1")


def test_files_of_several_names(tmp_path: Path) -> None:
    """Hard links are files with one content; that they were looked at makes no package of them, then or in a later scan."""
    metadata = f"{SITE}/x-1.dist-info/METADATA"
    entries: imagebuilder.Files = {
        metadata: UPPER[metadata],
        "srv/copy": imagebuilder.hardlink(metadata),
        **LOWER,
        "usr/bin/alias": imagebuilder.hardlink("usr/bin/tool"),
    }
    path = tmp_path / "image.tar"
    path.write_bytes(imagebuilder.docker_archive([imagebuilder.layer(entries)]))
    target = parse_target(f"docker-archive:{path}")

    def run(cache: str, *, files: bool) -> Report:
        sources = SourceOptions(cache_dir=tmp_path / cache)
        return list_inventory(target, ScanOptions(sources=sources, now="2026-01-01T00:00:00Z", details=files, files=files))

    alone, listed = run("alone", files=False), run("shared", files=True)
    assert run("shared", files=False) == alone
    assert [one.locations for one in listed.packages] == [one.locations for one in alone.packages]
    assert isinstance(listed.files, tuple)
    hashes = {file.path: file.hashes for file in listed.files}
    assert (hashes["srv/copy"], hashes["usr/bin/alias"]) == (hashes[metadata], hashes["usr/bin/tool"])


def test_a_scan_loads_nothing_of_it(tmp_path: Path) -> None:
    """What an SBOM looked at is kept beside the record of the layer, which stays as small as it was."""
    listed(tmp_path)
    whole, plain = LayerCache(tmp_path / "cache"), LayerCache(tmp_path / "cache")
    for layer in listed(tmp_path).target.layers:
        record, more = plain.get(layer.diff_id), whole.get(layer.diff_id, details=True)
        assert record is not None
        assert more is not None
        assert not any(name.startswith("details_") for name in record.inspected)
        assert any(name.startswith("details_") for name in more.inspected)
