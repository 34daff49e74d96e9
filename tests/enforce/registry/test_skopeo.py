"""skopeo against the registry's gate: its words of refusal are the gate's; push, look, list and delete by grant."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagebuilder
from pratique._kit.written import Duration
from pratique.enforce.admission import AdmissionSpec
from pratique.enforce.registry.access import AccessSpec, Readers
from registrygate import NAME, PASSWORDS, Gated, gated, package

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry", "skopeo")]
ACCESS = AccessSpec(readers=(Readers(repositories=("team/*",), anybody=True),))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    spec = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))
    with gated(tmp_path_factory.mktemp("gate"), admission=spec, access=ACCESS) as found:
        yield found


def test_skopeo(gate: Gated, tmp_path: Path) -> None:
    """What a pipeline does: refused with the command that asks, done with a grant, refused for a denied image."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def skopeo(*words: str, code: int) -> str:
        whole = ["skopeo", "--policy", str(tmp_path / "policy.json"), *words]
        done = subprocess.run(whole, capture_output=True, text=True, check=False, timeout=300, env=environment)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def copied(image: imagebuilder.Image, tag: str, code: int) -> str:
        folder = tmp_path / tag.replace("/", "-").replace(":", "-")
        imagebuilder.oci_layout_of(folder, [(image, "latest")])
        return skopeo("copy", "--dest-tls-verify=false", f"oci:{folder}", f"docker://{gate.host}/{tag}", code=code)

    login = ("login", "--tls-verify=false", "-u", "alice", "-p")
    assert "invalid username/password" in skopeo(*login, "wrong", gate.host, code=1)
    skopeo(*login, PASSWORDS["alice"], gate.host, code=0)
    refused = copied(package("99.0", "harmless"), "team/app:1", 1)
    assert f"pratique grant request --privilege registry.push:{NAME}/team/app" in refused
    gate.grant("push:team/app")
    copied(package("99.0", "harmless"), "team/app:1", 0)
    copied(package(), "team/app:bad", 0)
    assert package("99.0", "harmless").config.decode() in skopeo(
        "inspect", "--config", "--raw", "--tls-verify=false", f"docker://{gate.host}/team/app:1", code=0
    )
    refused = skopeo("inspect", "--tls-verify=false", f"docker://{gate.host}/team/app:bad", code=1)
    assert "known to be exploited" in refused
    assert f"pratique grant request --privilege run.image:{NAME}/team/app@sha256:" in refused
    refused = skopeo("inspect", "--tls-verify=false", f"docker://{gate.host}/secret/app:1", code=1)
    assert "unix:alice may not read secret/app" in refused
    refused = skopeo("delete", "--tls-verify=false", f"docker://{gate.host}/team/app:1", code=1)
    assert f"pratique grant request --privilege registry.delete:{NAME}/team/app" in refused
    gate.grant("delete:team/app")
    skopeo("delete", "--tls-verify=false", f"docker://{gate.host}/team/app:1", code=0)
    assert '"bad"' in skopeo("list-tags", "--tls-verify=false", f"docker://{gate.host}/team/app", code=0)
