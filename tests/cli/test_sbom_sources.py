"""One image from an archive, a layout, a registry and an engine: one SBOM, but for the fields that name where it came from."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imagebuilder as ib
import registrysim as sim
import sbomimage

pytestmark = pytest.mark.loopback
Call = Callable[..., Any]
NOW = ("--now", "2024-06-01", "-q", "--files")
# docs/guides/sbom.md names these.
SOURCE_PROPERTIES = re.compile(r"pratique:(?:scheme|layer:\d+:digest)$")


def layout(folder: Path, image: ib.Image) -> Path:
    """Write an OCI layout."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for digest, data in image.blobs.items():
        (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(data)
    (folder / "index.json").write_bytes(ib.index([image.descriptor()]))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def without_source(document: Any) -> Any:
    """Take out the fields that name the source, and what is made of all others."""
    if document.get("bomFormat"):
        subject = document["metadata"]["component"]
        root = subject.pop("bom-ref")
        for field in ("name", "version", "purl"):
            subject.pop(field, None)
        subject["properties"] = [item for item in subject["properties"] if not SOURCE_PROPERTIES.match(item["name"])]
        document.pop("serialNumber")
        return json.loads(json.dumps(document).replace(json.dumps(root), '"root"'))
    if "@graph" in document:
        namespace = next(one["spdxId"].partition("#")[0] for one in document["@graph"] if "spdxId" in one)
        document = json.loads(json.dumps(document).replace(namespace, ""))
        graph = []
        for element in document["@graph"]:
            kind = element.get("spdxId", "")
            if kind == "#target":
                graph.append({key: element[key] for key in ("type", "spdxId", "software_primaryPurpose")})
                continue
            if kind in ("#document", "#sbom"):
                element.pop("name")
                element["element"] = [one for one in element.get("element", ()) if not one.startswith("#annotation")]
            elif element["type"] == "Annotation" and element["subject"] == "#target":
                continue
            graph.append(element)
        return graph
    document.pop("documentNamespace")
    document.pop("name")
    target = document["packages"][0]
    for field in ("name", "versionInfo", "checksums", "externalRefs"):
        target.pop(field, None)
    target["annotations"] = [one for one in target["annotations"] if not one["comment"].startswith("pratique:scheme")]
    return document


@pytest.mark.parametrize("name", ["cyclonedx", "cyclonedx@1.7", "spdx", "spdx@3.0"])
def test_every_source_gives_the_same(call: Call, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages, relations, files, layers, identifiers and their order are the image's, not the source's."""
    layers = [ib.layer(files) for files in sbomimage.layers()]
    image, plain = ib.image(layers), ib.docker_archive(layers, tags=("example.test/app:1",))
    archive = tmp_path / "image.tar"
    archive.write_bytes(plain)
    targets = [f"docker-archive:{archive}", f"oci-dir:{layout(tmp_path / 'layout', image)}"]
    written: list[object] = []

    def write(target: str) -> None:
        path = tmp_path / "document"
        ran = call("sbom", target, *NOW, "-o", f"{name}={path}", "--cache-dir", tmp_path / f"cache{len(written)}")
        assert (ran.code, ran.err) == (0, "")
        written.append(without_source(json.loads(path.read_bytes())))

    for target in targets:
        write(target)
    with sim.running() as registry:
        registry.add("app", image, "1")
        write(f"registry:{sim.host(registry)}/app:1")
    identity = ib.digest(image.config)

    def answer(request: sim.Asked) -> sim.Answer:
        if request.path.partition("?")[0].endswith("/get"):
            return sim.Answer(200, {"Content-Type": "application/x-tar"}, plain)
        document = {"Id": identity, "Os": "linux", "Architecture": "amd64"}
        return sim.Answer(200, {"Api-Version": "1.48"}, ib.encode(document))

    with tempfile.TemporaryDirectory(dir="/tmp") as folder, sim.serve(answer, [], Path(folder) / "e.sock") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        write("docker:example.test/app:1")
    assert len(written) == 4
    for other in written[1:]:
        assert json.dumps(other) == json.dumps(written[0])
