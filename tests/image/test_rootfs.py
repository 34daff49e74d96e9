"""What a container finds of an image's layers: owners, modes and capabilities from headers, the content of a few files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import hardening
import imagebuilder as ib
from pratique.image.open import open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.image.rootfs import MAX_CONTENT, read_rootfs
from pratique.model.errors import IntegrityError, TargetError
from pratique.workload.rootfs import Rootfs


def read(tmp_path: Path, layers: Sequence[bytes], *names: str, compression: ib.Compression = "gzip") -> Rootfs:
    """Read an OCI layout of these layers."""
    ib.oci_layout(tmp_path / "image", layers, compression=compression)
    with open_target(parse_target(f"oci-dir:{tmp_path / 'image'}"), None, SourceOptions(cache_dir=tmp_path)) as image:
        return read_rootfs(image, frozenset(names))


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_owners_modes_and_capabilities(tmp_path: Path, compression: ib.Compression) -> None:
    """From plain headers, from PAX records for numbers too large for those, and from extended attributes."""
    large = ib.Entry(b"x", mode=0o640, uid=3_000_000_000)
    files: ib.Files = {
        "srv/": hardening.owned(1000, 0o750),
        "srv/tool": hardening.capable(b"\x7fELF"),
        "srv/large": large,
        "srv/setuid": ib.executable(b"x", 0o4755),
        "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    }
    found = read(tmp_path, [ib.layer(files)], compression=compression).items
    assert (found["/srv"].kind, found["/srv"].mode, found["/srv"].uid, found["/srv"].members) == ("folder", 0o750, 1000, 3)
    assert found["/srv/tool"].capabilities == ("NET_RAW",)
    assert found["/srv/large"].uid == 3_000_000_000
    assert found["/srv/setuid"].mode == 0o4755
    assert found["/etc/passwd"].content == b"root:x:0:0::/root:/bin/sh\n"


def test_from_a_program_with_threads(tmp_path: Path) -> None:
    """A fork would cut them off: it is read in a new interpreter, and comes out the same; tampering, too."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        layers = [ib.layer({"srv/": hardening.owned(1000, 0o750), "etc/passwd": "root:x:0:0::/root:/bin/sh\n"})]
        found = read(tmp_path, layers).items
        assert (found["/srv"].uid, found["/etc/passwd"].content) == (1000, b"root:x:0:0::/root:/bin/sh\n")
        made = ib.docker_archive([ib.layer({"a": b"4.17.15"})])
        (tmp_path / "a.tar").write_bytes(made.replace(b"4.17.15", b"4.17.99"))
        target = parse_target(f"docker-archive:{tmp_path / 'a.tar'}")
        with (
            open_target(target, None, SourceOptions(cache_dir=tmp_path)) as image,
            pytest.raises(IntegrityError),
        ):
            read_rootfs(image, frozenset())
    finally:
        stop.set()
        thread.join()


def test_capabilities_of_both_halves(tmp_path: Path) -> None:
    """PERFMON is number 38: in the second half of revision 2; a short attribute gives none."""
    high = b"\x01\x00\x00\x02" + bytes(8) + (1 << 6).to_bytes(4, "little") + bytes(4)
    files = {"a": hardening.capable(b"x", high), "b": hardening.capable(b"x", b"\x01\x00\x00\x02")}
    found = read(tmp_path, [ib.layer(files)]).items
    assert found["/a"].capabilities == ("PERFMON",)
    assert "/b" not in found  # of root, and without rights


def test_layers_hide_and_links_share(tmp_path: Path) -> None:
    """Whiteouts of upper layers; a hard link has the owner of what it names."""
    lower = ib.layer({"a/": b"", "a/gone": hardening.owned(5, 0o644, b"x"), "a/kept": hardening.owned(5, 0o644, b"x")})
    upper = ib.layer({"a/.wh.gone": b"", "a/same": ib.hardlink("a/kept"), "b/": b"", "b/.wh..wh..opq": b""})
    found = read(tmp_path, [lower, upper]).items
    assert set(found) == {"/", "/a", "/a/kept", "/a/same", "/b"}
    assert found["/a/same"].uid == 5


def test_content_of_named_files(tmp_path: Path) -> None:
    """In whatever folder they are, up to a size."""
    files = {"x/entry.sh": "#!/bin/sh\n", "y/entry.sh": "a" * (MAX_CONTENT + 1), "z/other.sh": "b"}
    found = read(tmp_path, [ib.layer(files)], "entry.sh").items
    assert found["/x/entry.sh"].content == b"#!/bin/sh\n"
    assert found["/y/entry.sh"].content == b""
    assert "/z/other.sh" not in found


def test_what_is_no_image(tmp_path: Path) -> None:
    """A folder has no layers; a layer that was exchanged is refused, one that is cut off is no basis for anything."""
    with (
        open_target(parse_target(f"rootfs:{tmp_path}"), None, SourceOptions(cache_dir=tmp_path)) as image,
        pytest.raises(TargetError),
    ):
        read_rootfs(image, frozenset())
    broken = ib.layer({"a": hardening.owned(1, 0o644, b"x" * 3000)})[:2000]
    with pytest.raises((TargetError, IntegrityError)):
        read(tmp_path, [broken])
