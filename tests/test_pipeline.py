"""Images in, inventories and verdicts out: the whole corridor, on images made here."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import imagebuilder
from imagebuilder import Entry, digest, hardlink, layer, layer_of_entries, symlink
from pratique import examination, inspection
from pratique.examination import inspectors_for
from pratique.image import blob
from pratique.image.open import open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.inspection import Inspection, take_inventory
from pratique.inventory.cache import LayerCache
from pratique.inventory.catalogers import dpkg, python
from pratique.model.errors import CouldNotError, IntegrityError, TargetError
from pratique.model.image import Extent, Layer
from pratique.model.inventory import Inventory

pytestmark = pytest.mark.usefixtures("forks")
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\n'


def status(*packages: tuple[str, str]) -> str:
    """Write dpkg's database."""
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n" for name, version in packages
    )


def dist_info(name: str, version: str, folder: str) -> dict[str, imagebuilder.Content]:
    """Write what a Python package leaves."""
    return {f"{folder}/{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}


BASE = layer(
    {
        "etc/os-release": OS_RELEASE,
        "var/lib/dpkg/status": status(("libc6", "2.36-9"), ("python3-six", "1.16.0-4")),
        "var/lib/dpkg/info/python3-six.list": "/.\n/usr\n/usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA\n",
        "usr/share/doc/libc6/copyright": "Format: x\n\nFiles: *\nLicense: LGPL-2.1+\n",
        **dist_info("six", "1.16.0", "usr/lib/python3/dist-packages"),
    }
)
APP = layer(
    {**dist_info("six", "1.16.0", "opt/venv/lib/python3.11/site-packages"), **dist_info("flask", "3.0.0", "opt/venv/lib")}
)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder for the cache."""
    return tmp_path / "cache"


def take(target: str, cache: Path | None = None, **how: Any) -> Inventory:
    """Open a target and take its inventory."""
    ref = parse_target(target)
    kept = LayerCache(cache)
    options = SourceOptions(cache_dir=Path(os.environ["HOME"]) / "sources", offline=True)
    with open_target(ref, None, options) as image:
        found = take_inventory(image, kept, Inspection(**how))
    kept.close()
    return found


def names(inventory: Inventory) -> list[str]:
    """The names of all packages."""
    return sorted(package.name for package in inventory.packages)


def codes(inventory: Inventory) -> list[str]:
    """The codes of all gaps."""
    return [gap.code for gap in inventory.gaps]


def saved(path: Path, *layers: bytes, **how: Any) -> str:
    """Write a `docker save` archive; return its target."""
    path.write_bytes(imagebuilder.docker_archive(layers, **how))
    return f"docker-archive:{path}"


def layout(path: Path, *layers: bytes, **how: Any) -> str:
    """Write an OCI layout; return its target."""
    imagebuilder.oci_layout(path, layers, **how)
    return f"oci-dir:{path}"


# -- what is found --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_image_from_end_to_end(tmp_path: Path, compression: Any) -> None:
    """Packages, distribution, owners, licences and layers, the same however the layers are compressed."""
    inventory = take(layout(tmp_path / "oci", BASE, APP, compression=compression))
    assert inventory.distro is not None
    assert (inventory.distro.id, inventory.distro.version, inventory.release) == ("debian", "12", "Debian:12")
    assert names(inventory) == ["flask", "libc6", "python3-six", "six"]
    packages = {package.name: package for package in inventory.packages}
    assert packages["libc6"].licenses == ("LGPL-2.1-or-later",)
    assert packages["libc6"].locations[0].layer == digest(BASE)
    assert packages["flask"].locations[0].layer == digest(APP)
    assert not inventory.gaps


def test_a_distribution_s_own_python_package_is_its_owner_s(tmp_path: Path) -> None:
    """What dpkg installed is shown with its owner and not matched; the same version in a virtual environment is matched."""
    alone = {package.name: package for package in take(layout(tmp_path / "a", BASE)).packages}
    assert alone["six"].owner == alone["python3-six"].purl
    both = {package.name: package for package in take(layout(tmp_path / "b", BASE, APP)).packages}
    assert both["six"].owner == ""
    assert len(both["six"].locations) == 2


def test_upper_layers_win(tmp_path: Path) -> None:
    """An upgraded package has its new version and layer, the untouched one its old; a removed file's package is gone."""
    upper = layer({"var/lib/dpkg/status": status(("libc6", "2.36-9"), ("python3-six", "1.17.0-1")), "opt/venv/.wh.lib": b""})
    packages = {package.name: package for package in take(layout(tmp_path / "oci", BASE, APP, upper)).packages}
    assert packages["libc6"].locations[0].layer == digest(BASE)
    assert packages["python3-six"].version == "1.17.0-1"
    assert packages["python3-six"].locations[0].layer == digest(upper)
    assert "flask" not in packages


def test_a_stripped_package_database_is_a_gap(tmp_path: Path) -> None:
    """A known distribution without its database: nobody can say what is installed."""
    stripped = layer({"var/lib/dpkg/.wh.status": b""})
    assert codes(take(layout(tmp_path / "oci", BASE, stripped))) == ["inventory.no-package-database"]


def test_paths_that_are_not_text(tmp_path: Path) -> None:
    """A path that is not UTF-8 appears escaped, its package is found, and another that looks the same is not confused with it."""
    content = "Metadata-Version: 2.1\nName: {}\nVersion: 1\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name, package in (("lib/\udcff-1.dist-info/METADATA", "one"), ("lib/\\xff-1.dist-info/METADATA", "two")):
            data = content.format(package).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    inventory = take(layout(tmp_path / "oci", buffer.getvalue()))
    assert names(inventory) == ["one", "two"]
    assert {package.locations[0].path for package in inventory.packages} == {"lib/\\xff-1.dist-info/METADATA"}
    msgspec.json.encode(inventory)


def test_package_data_that_is_not_text(tmp_path: Path) -> None:
    """A database with bytes that are not UTF-8 ends in packages or gaps that every document can carry."""
    data = status(("good", "1")).encode() + b"\nPackage: b\xff\xfed\nStatus: install ok installed\nVersion: 1\n"
    inventory = take(layout(tmp_path / "oci", layer({"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": data})))
    msgspec.json.encode(inventory)
    assert "good" in names(inventory) or inventory.gaps


def test_links_between_files(tmp_path: Path) -> None:
    """Wanted files that are links to others are read: hard links as they were when made, moved databases, links down a layer."""
    metadata = "Metadata-Version: 2.1\nName: {}\nVersion: 1\n"
    first = layer_of_entries(
        [
            ("store/x", metadata.format("old")),
            ("lib/a-1.dist-info/METADATA", hardlink("store/x")),
            ("store/x", metadata.format("new")),
            ("lib/b-1.dist-info/METADATA", hardlink("store/x")),
            ("lib/c-1.dist-info/METADATA", hardlink("lib/b-1.dist-info/METADATA")),
            ("etc/os-release", OS_RELEASE),
            ("var/lib/dpkg/status", symlink("../../../moved/status")),
            ("moved/status", status(("libc6", "1"))),
        ]
    )
    for compression in ("none", "gzip"):
        inventory = take(layout(tmp_path / compression, first, compression=compression))
        packages = {package.name: package for package in inventory.packages}
        assert sorted(packages) == ["libc6", "new", "old"]
        assert [place.path for place in packages["new"].locations] == ["lib/b-1.dist-info/METADATA", "lib/c-1.dist-info/METADATA"]
        assert not inventory.gaps
    dangling = layer({"lib/d-1.dist-info/METADATA": hardlink("nowhere/x")})
    assert codes(take(layout(tmp_path / "dangling", first, dangling))) == ["image.link-unresolved"]


# -- what is not believed -------------------------------------------------------------------------------------------------------


def blob_file(root: Path, content: bytes) -> Path:
    """Where a layout keeps a blob."""
    return root / "blobs" / "sha256" / digest(content).split(":")[1]


def test_tampered_layers_are_refused(tmp_path: Path) -> None:
    """A layer that is not what its digest or diff_id says: no part of the image is believed."""
    every: tuple[imagebuilder.Compression, ...] = ("none", "gzip", "zstd")
    for compression in every:
        root = tmp_path / compression
        made = imagebuilder.oci_layout(root, [BASE, APP], compression=compression)
        path = blob_file(root, made.layers[1])
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(IntegrityError):
            take(f"oci-dir:{root}")


def test_a_layer_under_another_s_diff_id_is_refused(tmp_path: Path) -> None:
    """Right blob digests under wrong diff_ids, and two blobs under one diff_id of which one is another layer."""
    for number, claimed in enumerate(([APP, APP], [BASE, BASE], [APP, BASE])):
        root = tmp_path / str(number)
        made = imagebuilder.image([BASE, APP])
        config = imagebuilder.encode(imagebuilder.configuration(claimed))
        manifest = json.loads(made.manifest)
        manifest["config"] |= {"digest": digest(config), "size": len(config)}
        data = imagebuilder.encode(manifest)
        blobs = {digest(part): part for part in (config, data, *made.layers)}
        forged = imagebuilder.Image(data, made.media_type, config, made.diffs, made.layers, made.platform, blobs)
        imagebuilder.oci_layout_of(root, [(forged, "latest")])
        for _ in range(2):
            with pytest.raises(IntegrityError):
                take(f"oci-dir:{root}", tmp_path / "cache")


def test_tampered_configuration_and_manifest_are_refused(tmp_path: Path) -> None:
    """So is whatever else has a digest, and whatever is missing."""
    for change in (lambda path: path.write_bytes(path.read_bytes() + b" "), Path.unlink):
        for part in ("config", "manifest", "layer"):
            root = tmp_path / f"{part}-{'unlink' if change is Path.unlink else 'change'}"
            made = imagebuilder.oci_layout(root, [BASE])
            change(blob_file(root, {"config": made.config, "manifest": made.manifest, "layer": made.layers[0]}[part]))
            with pytest.raises(IntegrityError):
                take(f"oci-dir:{root}")


def test_a_wrong_number_of_layers_is_refused(tmp_path: Path) -> None:
    """Fewer layers than the configuration names are no image."""
    made = imagebuilder.image([BASE, APP], compression="none")
    short = imagebuilder.Image(made.manifest, made.media_type, made.config, made.diffs[:1], made.layers[:1])
    path = tmp_path / "short.tar"
    path.write_bytes(imagebuilder.docker_archive_of([(short, ["a:b"])]))
    with pytest.raises(IntegrityError):
        take(f"docker-archive:{path}")


def test_a_decompression_bomb_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that grows beyond measure is cut, said so, and neither it nor its digest is remembered."""
    bomb = layer({"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": status(("libc6", "1")), "zero": bytes(40 << 20)})
    target = layout(tmp_path / "oci", bomb)
    monkeypatch.setattr(blob, "RATIO_FROM", 4 << 20)
    for _ in range(2):
        inventory = take(target, tmp_path / "cache")
        assert codes(inventory) == ["image.layer-limit"]
        assert names(inventory) == ["libc6"]
    assert not list((tmp_path / "cache").rglob("*"))
    monkeypatch.setattr(blob, "RATIO_FROM", 8 << 30)
    assert not take(target, tmp_path / "cache").gaps


def test_a_bomb_vouches_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that hides behind a limit under the diff_id of a harmless layer is not taken for that layer later."""
    cache = tmp_path / "cache"
    take(layout(tmp_path / "good", BASE), cache)
    bomb = gzip.compress(layer({"zero": bytes(40 << 20)}), mtime=0)
    made = imagebuilder.image([BASE])
    manifest = json.loads(made.manifest)
    manifest["layers"][0] |= {"digest": digest(bomb), "size": len(bomb)}
    data = imagebuilder.encode(manifest)
    blobs = {digest(part): part for part in (made.config, data, bomb)}
    forged = imagebuilder.Image(data, made.media_type, made.config, made.diffs, [bomb], made.platform, blobs)
    imagebuilder.oci_layout_of(tmp_path / "forged", [(forged, "latest")])
    monkeypatch.setattr(blob, "RATIO_FROM", 4 << 20)
    assert "image.layer-limit" in codes(take(f"oci-dir:{tmp_path}/forged", cache))
    monkeypatch.setattr(blob, "RATIO_FROM", 8 << 30)
    with pytest.raises(IntegrityError):
        take(f"oci-dir:{tmp_path}/forged", cache)


def test_a_broken_off_layer_is_a_gap(tmp_path: Path) -> None:
    """A layer whose digests hold but whose archive is damaged is read as far as it goes."""
    broken = layer({"etc/os-release": OS_RELEASE})[:1024] + b"x" * 512
    inventory = take(layout(tmp_path / "oci", broken))
    assert "image.layer-damaged" in codes(inventory)
    assert inventory.distro is not None


def test_time_over_is_a_gap(tmp_path: Path) -> None:
    """A deadline that is over cuts the examination, and says so."""
    assert "image.layer-limit" in codes(take(layout(tmp_path / "oci", BASE), seconds=-1.0))


# -- defects --------------------------------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[Any], Iterator[Any]]:
    """An `inspect` that raises."""

    def inspect(*_arguments: Any) -> Iterator[Any]:
        raise error

    return inspect


def test_a_defect_of_one_cataloger_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in one parser is a gap that names it; what the others see is there."""
    monkeypatch.setattr(python.INSPECTOR, "inspect", raising(AttributeError("oops")))
    inventory = take(layout(tmp_path / "oci", BASE))
    [gap] = inventory.gaps
    assert gap.code == "inventory.defect"
    assert "python" in gap.message
    assert gap.path.endswith("six-1.16.0.dist-info/METADATA")
    assert names(inventory) == ["libc6", "python3-six"]


def test_a_killed_examination_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confined process that dies is no empty inventory."""
    monkeypatch.setattr(python.INSPECTOR, "inspect", lambda _file: os._exit(9))
    with pytest.raises(CouldNotError):
        take(layout(tmp_path / "oci", BASE))


def test_a_thread_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect outside the inspectors is an error with its reason."""
    monkeypatch.setattr("pratique.image.walk.LayerWalk.check", raising(TypeError("oops")))
    with pytest.raises(TargetError, match="oops"):
        take(layout(tmp_path / "oci", BASE))


# -- the cache ------------------------------------------------------------------------------------------------------------------


@contextmanager
def unreadable() -> Iterator[None]:
    """Refuse to fetch any layer."""
    from pratique.image.opened import OpenedImage

    def fetch(_self: OpenedImage, layer: Layer) -> Extent:
        raise AssertionError(f"a cached layer was fetched: {layer}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenedImage, "fetch", fetch)
        yield


def test_the_second_scan_reads_no_layer(tmp_path: Path, cache: Path) -> None:
    """An image whose layers are named by blob digest is answered from the cache, byte for byte."""
    target = layout(tmp_path / "oci", BASE, APP)
    first = take(target, cache)
    with unreadable():
        assert take(target, cache) == first
    other = layout(tmp_path / "other", BASE, layer({"x": "y"}))
    with pytest.raises(AssertionError), unreadable():
        take(other, cache)


def test_only_a_new_inspector_runs_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one inspector's version changes, it alone looks at the layer; the others' answers come from the cache."""
    target = layout(tmp_path / "oci", BASE, APP)
    first = take(target, cache)
    monkeypatch.setattr(type(python.INSPECTOR), "version", python.INSPECTOR.version + 1)
    monkeypatch.setattr(dpkg.INSPECTOR, "inspect", raising(AssertionError("dpkg ran again")))
    assert take(target, cache) == first
    with unreadable():
        assert take(target, cache) == first


def test_what_an_absent_inspector_saw_does_not_count(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records keep the parts of inspectors that are no longer there; they are not used."""
    target = layout(tmp_path / "oci", BASE, APP)
    take(target, cache)
    kept = [inspector for inspector in inspectors_for(declared=False) if inspector.name != "python"]
    monkeypatch.setattr(inspection, "inspectors_for", lambda **_: kept)
    assert names(take(target, cache)) == ["libc6", "python3-six"]


def test_a_changed_archive_is_verified_again(tmp_path: Path, cache: Path) -> None:
    """Another time: the layers are read again. Other content under the same path is not taken for the former."""
    path = tmp_path / "image.tar"
    target = saved(path, BASE, APP)
    first = take(target, cache)
    assert take(target, cache) == first
    os.utime(path, ns=(1, 1))
    assert take(target, cache) == first
    data = path.read_bytes()
    at = data.index(b"Name: flask")
    path.write_bytes(data[: at + 6] + b"flunk" + data[at + 11 :])
    os.utime(path, ns=(2, 2))
    with pytest.raises(IntegrityError):
        take(target, cache)
    saved(path, layer({"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": status(("other", "1"))}))
    assert names(take(target, cache)) == ["other"]


@pytest.mark.parametrize("state", ["read-only", "a file", "a dangling link"])
def test_a_cache_that_cannot_be_written(tmp_path: Path, cache: Path, state: str) -> None:
    """It costs time, nothing else."""
    target = layout(tmp_path / "oci", BASE)
    if state == "read-only":
        cache.mkdir(mode=0o500)
    elif state == "a file":
        cache.write_text("")
    else:
        cache.symlink_to(tmp_path / "nowhere" / "at" / "all")
    assert take(target, cache) == take(target, cache) == take(target)


# -- the program ----------------------------------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program as a person would."""
    place = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from pratique.cli.main import main; main()"
    cwd = environment.pop("cwd", None)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, env=place | environment, cwd=cwd, check=False
    )


ALWAYS = ("--format", "json", "--offline", "--quiet", "--now", "2026-01-01T00:00:00Z")


def test_the_same_bytes_everywhere(tmp_path: Path, cache: Path) -> None:
    """Working directory, time zone, hash seed, cache and order of threads change no byte of the document."""
    target = layout(tmp_path / "oci", BASE, APP, layer({"a": "b"}))
    outputs = set()
    for number, (zone, seed) in enumerate((("UTC", "0"), ("Asia/Tokyo", "1"), ("America/Lima", "77"))):
        place = tmp_path / f"cwd{number}"
        place.mkdir()
        keep = () if number else ("--no-cache",)
        done = run("scan", target, *ALWAYS, *keep, "--cache-dir", str(cache), TZ=zone, PYTHONHASHSEED=seed, cwd=str(place))
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
    document = json.loads(outputs.pop())
    assert document["complete"] is True


def test_exit_codes(tmp_path: Path, cache: Path) -> None:
    """An empty image cannot be judged, a tampered one neither; each says why in one line. A gap makes the document incomplete."""
    options = (*ALWAYS, "--cache-dir", str(cache))
    empty = run("scan", layout(tmp_path / "empty", layer({"x": "y"})), *options)
    assert empty.returncode == 3
    assert json.loads(empty.stdout)["verdict"]["decision"] == "unknown"

    made = imagebuilder.oci_layout(tmp_path / "tampered", [BASE])
    blob_file(tmp_path / "tampered", made.layers[0]).write_bytes(bytes(len(made.layers[0])))
    tampered = run("scan", f"oci-dir:{tmp_path}/tampered", *options)
    assert (tampered.returncode, tampered.stdout) == (3, b"")
    assert tampered.stderr.count(b"\n") == 1
    assert b"Traceback" not in tampered.stderr

    stripped = layout(tmp_path / "stripped", BASE, layer({"var/lib/dpkg/.wh.status": b""}))
    partial = run("scan", stripped, *options)
    assert partial.returncode == 0
    assert json.loads(partial.stdout)["complete"] is False
    assert run("scan", stripped, *options, "--fail-on", "gaps").returncode == 1


def test_an_entry_that_is_a_device(tmp_path: Path) -> None:
    """Devices and pipes under wanted names are not read."""
    odd = layer({"etc/os-release": Entry(type=tarfile.CHRTYPE), "var/lib/dpkg/status": Entry(type=tarfile.FIFOTYPE)})
    assert take(layout(tmp_path / "oci", odd)).packages == ()


def test_a_cut_twin_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two blobs under one diff_id, one cut by a limit: the gap reaches the report, whatever order they come in."""
    bomb = gzip.compress(layer({"zero": bytes(40 << 20)}), mtime=0)
    monkeypatch.setattr(blob, "RATIO_FROM", 4 << 20)
    for number, order in enumerate((0, 1)):
        made = imagebuilder.image([BASE, BASE])
        manifest = json.loads(made.manifest)
        manifest["layers"][order] |= {"digest": digest(bomb), "size": len(bomb)}
        data = imagebuilder.encode(manifest)
        blobs = {digest(part): part for part in (made.config, data, bomb, *made.layers)}
        forged = imagebuilder.Image(data, made.media_type, made.config, made.diffs, made.layers, made.platform, blobs)
        imagebuilder.oci_layout_of(tmp_path / str(number), [(forged, "latest")])
        assert "image.layer-limit" in codes(take(f"oci-dir:{tmp_path}/{number}", tmp_path / "cache"))


def test_nothing_kept_in_memory_is_forgotten(tmp_path: Path) -> None:
    """Scanning several images one after the other in one process gives what each gives alone."""
    first, second = layout(tmp_path / "a", BASE), layout(tmp_path / "b", APP)
    alone = take(first), take(second)
    assert (take(first), take(second), take(first)) == (*alone, alone[0])


def test_no_record_is_kept_under_another_layer_s_name(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was taken over by an image cannot say what is in the layers of others."""
    victim, attacker = saved(tmp_path / "victim.tar", BASE), saved(tmp_path / "attacker.tar", APP)
    seen = take(victim, cache)
    look = examination._Layer._look

    def lie(self: Any, spool: int = -1) -> None:
        look(self, spool)
        self._outcome.record.diff_id = digest(BASE)

    with monkeypatch.context() as taken_over:
        taken_over.setattr(examination._Layer, "_look", lie)
        take(attacker, cache)
    assert take(victim, cache) == seen


def test_an_answer_to_what_was_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error, not another layer's record."""
    look = examination._Layer._look

    def lie(self: Any, spool: int = -1) -> None:
        look(self, spool)
        self._outcome.index = 7

    monkeypatch.setattr(examination._Layer, "_look", lie)
    with pytest.raises(TargetError, match="not asked"):
        take(saved(tmp_path / "image.tar", BASE))


def test_a_killed_examination_is_one_line(tmp_path: Path, cache: Path) -> None:
    """The program says so in one line and exits with 3: neither a traceback nor an empty report."""
    target = layout(tmp_path / "oci", BASE)
    code = (
        "import os, sys\nfrom pratique.inventory.catalogers import python\nfrom pratique.cli.main import main\n"
        "type(python.INSPECTOR).inspect = lambda *_: os._exit(9)\nmain()"
    )
    place = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, "scan", target, *ALWAYS, "--cache-dir", str(cache)]
    done = subprocess.run(command, capture_output=True, env=place, check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"pratique: ")
    assert done.stderr.count(b"\n") == 1
