"""The layer cache: shared by processes, robust against what others left there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pratique.inventory import cache as module
from pratique.inventory.cache import LayerCache, prune, stale_inspectors, status
from pratique.model.inventory import PackageEvidence
from pratique.model.layer import Inspected, LayerRecord, LayerTree, Located

DIFF_ID = "sha256:" + "a" * 64


def record(diff_id: str = DIFF_ID, size: int = 10) -> LayerRecord:
    """A record whose content follows from its name."""
    files = b"\0".join(b"%s/%d" % (diff_id.encode(), number) for number in range(size))
    located = Located("x", (PackageEvidence(type="deb", name=diff_id, version="1"),))
    return LayerRecord(diff_id=diff_id, tree=LayerTree(files=files), inspected={"reader": Inspected(1, (located,))})


def only_file(folder: Path, part: str) -> Path:
    """Return the one file of a part."""
    [path] = (folder / part).iterdir()
    return path


def test_round_trip(tmp_path: Path) -> None:
    """What was put comes back; what was not does not; without a folder nothing is kept."""
    cache = LayerCache(tmp_path / "deep" / "cache")
    cache.put(record())
    assert cache.get(DIFF_ID) == record()
    assert cache.get("sha256:other") is None
    assert cache.get("") is None
    nothing = LayerCache(None)
    nothing.put(record())
    assert nothing.get(DIFF_ID) is None
    nothing.close()
    assert only_file(tmp_path / "deep" / "cache", "layers").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"garbage", bytes(100), None])
def test_a_damaged_record_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    """Whatever stands in a record's file, it is no record or the record, and putting it again mends it."""
    cache = LayerCache(tmp_path)
    cache.put(record())
    path = only_file(tmp_path, "layers")
    path.write_bytes(path.read_bytes()[:-5] if damage is None else damage)
    assert cache.get(DIFF_ID) is None
    cache.put(record())
    assert cache.get(DIFF_ID) == record()


def test_every_single_damage(tmp_path: Path) -> None:
    """A changed byte anywhere ends in no record or another one, never in an error."""
    cache = LayerCache(tmp_path)
    cache.put(record(size=3))
    path = only_file(tmp_path, "layers")
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        cache.get(DIFF_ID)


def test_a_bomb_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that grows beyond any record is none."""
    cache = LayerCache(tmp_path)
    cache.put(record(size=50_000))
    monkeypatch.setattr(module, "MAX_RECORD", 100_000)
    assert cache.get(DIFF_ID) is None


def test_another_format_or_layer_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of another format are not read; a record under another layer's name neither."""
    cache = LayerCache(tmp_path)
    cache.put(record())
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    assert cache.get(DIFF_ID) is None
    cache.put(record())
    only_file(tmp_path, "layers").rename(cache._path("layers", "sha256:other") or tmp_path)
    assert cache.get("sha256:other") is None


def test_proofs(tmp_path: Path) -> None:
    """A blob vouches for the one layer that it held, an archive for its layers at one time."""
    cache = LayerCache(tmp_path)
    cache.remember_blob("sha256:b", "sha256:d")
    cache.remember_archive("path 1 2", ["sha256:d", "sha256:e"])
    assert cache.blob_is("sha256:b", "sha256:d")
    assert not cache.blob_is("sha256:b", "sha256:e")
    assert not cache.blob_is("sha256:d", "sha256:d")
    assert cache.archive_is("path 1 2", ["sha256:d", "sha256:e"])
    assert not cache.archive_is("path 1 2", ["sha256:e", "sha256:d"])
    assert not cache.archive_is("path 1 3", ["sha256:d", "sha256:e"])
    for path in (tmp_path / "verified").iterdir():
        path.write_bytes(b"\xff")
    assert not cache.blob_is("sha256:b", "sha256:d")


def test_hostile_files_in_the_folder(tmp_path: Path) -> None:
    """Links, folders and pipes in place of files are not followed out, not read and not waited for."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(bytes(1000))
    folder = tmp_path / "cache"
    cache = LayerCache(folder)
    cache.put(record())
    path = only_file(folder, "layers")
    path.unlink()
    path.symlink_to(outside / "precious")
    assert cache.get(DIFF_ID) is None
    cache.put(record())
    assert not path.is_symlink()
    path.unlink()
    path.mkdir()
    cache.put(record())
    assert cache.get(DIFF_ID) is None
    path.rmdir()
    os.mkfifo(path)
    assert cache.get(DIFF_ID) is None
    (folder / "blobs").symlink_to(outside)
    assert prune(folder, 0) >= 0
    assert (outside / "precious").stat().st_size == 1000


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    """Pruning keeps what was used last, within the limit."""
    cache = LayerCache(tmp_path)
    for number in range(5):
        cache.put(record(f"sha256:{number}", size=2000))
        os.utime(cache._path("layers", f"sha256:{number}") or tmp_path, (number + 1, number + 1))
    cache.get("sha256:0")
    [layers] = [part for part in status(tmp_path) if part.part == "layers"]
    assert layers.files == 5
    freed = prune(tmp_path, layers.size * 2 // 5 + 10)
    assert freed > 0
    assert [number for number in range(5) if cache.get(f"sha256:{number}")] == [0, 4]
    assert prune(tmp_path, 1 << 30) == 0


def test_a_limit_holds_at_close(tmp_path: Path) -> None:
    """A process that adds keeps the cache within its limit."""
    cache = LayerCache(tmp_path, limit=0)
    cache.put(record())
    cache.close()
    assert cache.get(DIFF_ID) is None


def test_stale_parts() -> None:
    """Only inspectors of another version, and new ones, are named."""
    assert stale_inspectors(record(), {"reader": 1}) == set()
    assert stale_inspectors(record(), {"reader": 2, "new": 1}) == {"reader", "new"}


def test_a_full_disk_costs_nothing(tmp_path: Path) -> None:
    """Where a file cannot be written to its end, there is no record, no rest of it, and no error."""
    cache = LayerCache(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        cache.put(record(size=50_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.get(DIFF_ID) is None
    assert list((tmp_path / "layers").iterdir()) == []


WORKER = """
import random, sys
from pathlib import Path
import test_cache
from pratique.inventory.cache import LayerCache, prune
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
cache = LayerCache(folder)
hits = 0
for turn in range(250):
    name = f"sha256:{chance.randrange(8)}"
    if chance.random() < 0.4:
        cache.put(test_cache.record(name, size=500))
        cache.remember_blob(name, name)
    elif chance.random() < 0.1:
        prune(folder, 20_000)
    else:
        found = cache.get(name)
        assert found is None or found == test_cache.record(name, size=500), "torn"
        hits += found is not None
print(hits)
"""


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Processes that put, get and prune the same records see whole ones or none, and no error."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(seed)],
            env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for seed in range(4)
    ]
    hits = 0
    for process in running:
        out, errors = process.communicate()
        assert (process.returncode, errors) == (0, b"")
        hits += int(out)
    assert hits > 0
    assert not list(tmp_path.rglob(".new-*"))


def test_records_are_plain_data(tmp_path: Path) -> None:
    """A record is msgpack behind zstd: nothing in it can be executed."""
    cache = LayerCache(tmp_path)
    cache.put(record())
    stored = msgspec.msgpack.decode(module._inflate(only_file(tmp_path, "layers").read_bytes()))
    assert stored["format"] == module.FORMAT
