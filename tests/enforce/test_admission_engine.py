"""Images of an engine that keeps them as registries do: called by the digest of an index, judged by what is really there."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import imagebuilder
from dockerengine import Engine
from pratique._kit.written import Duration
from pratique.enforce.admission import Admission, AdmissionSpec, Image, Judgement, Stale
from pratique.enforce.scanning import Scanner
from storing import place_in

pytestmark = [
    pytest.mark.needs("dockerd", "docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it starts an engine of its own"),
]
SPEC = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Return an engine with the containerd image store."""
    folder = Path(tempfile.mkdtemp(prefix="pa-"))  # paths of sockets are short
    folder.chmod(0o755)
    (folder / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    found = Engine(folder / "engine", extra=["--config-file", str(folder / "daemon.json")])
    try:
        found.start()
        yield found
    finally:
        found.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _image(architecture: str, version: str) -> imagebuilder.Image:
    status = f"Package: glibc\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: {version}\n"
    files = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": status}
    return imagebuilder.image([imagebuilder.layer(files)], platform=("linux", architecture, ""))


def _archive(images: list[imagebuilder.Image]) -> tuple[bytes, str]:
    """Return an archive of an index, as `docker save` writes one, and the digest of the index."""
    index = imagebuilder.index([image.descriptor() for image in images])
    digest = imagebuilder.digest(index)
    blobs = {name: data for image in images for name, data in image.blobs.items()} | {digest: index}
    notes = {"io.containerd.image.name": "docker.io/team/several:1", "org.opencontainers.image.ref.name": "1"}
    entry = {"mediaType": imagebuilder.OCI_INDEX, "digest": digest, "size": len(index), "annotations": notes}
    files = {f"blobs/sha256/{name[7:]}": data for name, data in blobs.items()}
    files |= {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": imagebuilder.encode({"schemaVersion": 2, "manifests": [entry]}),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue(), digest


def test_an_engine_that_names_an_index(engine: Engine, tmp_path: Path) -> None:
    """Its image is judged by the platform that it has; that vouches for this platform of the index, and for no other."""
    archive, index = _archive([_image("amd64", "99"), _image("arm64", "2.36-9")])
    engine.load(archive)
    (found,) = engine.look("/images/json")
    assert found["Id"] == index
    image = Image("team/several:1", (index,), f"docker:{index}")
    place = place_in(tmp_path)

    def judged(spec: AdmissionSpec, scanner: Scanner | None = None) -> Judgement:
        async def main() -> Judgement:
            admission = Admission(place, spec, scanner=scanner, engine=engine.own)
            try:
                return await admission.judge(image, "docker")
            finally:
                await admission.close()

        return asyncio.run(main())

    here = msgspec.structs.replace(SPEC, platforms=(f"linux/{_architecture()}",))
    first = judged(here)
    assert (first.allowed, first.source) == (_architecture() == "amd64", "scan")
    assert judged(here).source == "store"
    strict = msgspec.structs.replace(SPEC, unknown="deny", stale=Stale(then="deny"))  # by what is on record alone
    assert not judged(msgspec.structs.replace(strict, platforms=("linux/s390x",))).allowed
    assert not judged(strict).allowed


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
