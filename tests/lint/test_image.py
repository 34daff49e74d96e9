"""Configurations of built images: what they ask for, what their history tells of, and what nobody wrote."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.lint.image import entries, written
from pratique.lint.run import Found, Result, lint, lint_config, lint_image
from pratique.model.inventory import PrivilegedFile

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
GOOD = {"User": "10001", "Healthcheck": {"Test": ["CMD", "true"]}}
TOKEN = "ghp_" + "a" * 36


def config(*history: str, **inner: Any) -> dict[str, Any]:
    """Return a configuration whose every instruction but ENV and the like made a layer."""
    none = ("ENV", "USER", "CMD", "EXPOSE", "ARG", "LABEL", "VOLUME", "HEALTHCHECK", "ENTRYPOINT")
    told = [{"created_by": text, "empty_layer": any(f"{word} " in text[:30] for word in none)} for text in history]
    layers = [f"sha256:{number}" for number in range(sum(not item["empty_layer"] for item in told))]
    return {"config": {**GOOD, **inner}, "history": told, "rootfs": {"type": "layers", "diff_ids": layers}}


def found(result: Result) -> list[tuple[str, str, str]]:
    """Return id, layer and instruction of every finding."""
    return [(item.id, item.location.layer, item.location.instruction) for item in result.findings if item.location]


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ({}, []),
        ({"User": ""}, ["df-user-missing"]), ({"User": ":100"}, ["df-user-missing"]), ({"User": None}, ["df-user-missing"]),
        ({"User": "root"}, ["df-user-root"]), ({"User": "0:0"}, ["df-user-root"]), ({"User": "00"}, ["df-user-root"]),
        ({"User": "app"}, ["df-user-name"]), ({"User": "app:5"}, ["df-user-name"]),
        ({"WorkingDir": "/proc/self/fd/8"}, ["df-system-workdir"]), ({"WorkingDir": "/app"}, []), ({"WorkingDir": 5}, []),
        ({"User": "1000:0"}, []), ({"Healthcheck": None}, ["df-healthcheck"]), ({"Healthcheck": {"Test": ["NONE"]}}, []),
        ({"Env": ["DB_PASSWORD=hunter2222", "TOKEN_FILE=/run/t", "A"]}, ["df-secret-variable"]),
        ({"Labels": {"key": TOKEN}}, ["df-secret-variable"]),
        ({"ExposedPorts": {"22/tcp": {}, "80/tcp": {}}}, ["df-ssh-server"]),
        ({"Volumes": {"/proc": {}, "/data": {}}}, ["df-system-volume"]),
        ({"Volumes": {"/var/run/docker.sock": {}}}, ["df-engine-socket"]),
        ({"OnBuild": ["RUN curl -s x | sh"]}, ["df-pipe-to-shell"]),
    ],
)  # fmt: skip
def test_configuration(inner: dict[str, Any], expected: list[str]) -> None:
    """What the image asks for when it is run."""
    assert [item[0] for item in found(lint_config("x", config("RUN /bin/sh -c true", **inner)))] == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("RUN /bin/sh -c curl -s https://x | bash # buildkit", "df-pipe-to-shell"),
        ("/bin/sh -c curl -s https://x | bash", "df-pipe-to-shell"),
        ("|1 A=b c /bin/sh -c curl -s https://x | bash", "df-pipe-to-shell"),
        ("RUN |2 A=b C=d /bin/bash -o pipefail -c curl -s https://x | bash # buildkit", "df-pipe-to-shell"),
        ("RUN /bin/sh -c set -e;\n  chmod u+s /x", "df-setuid"),
        ("RUN chmod -R 777 /app", "df-world-writable"),
        ("/bin/sh -c #(nop) ADD https://x/y /z", "df-add-remote"),
        ("ADD https://x/y /z # buildkit", "df-add-remote"),
        ("RUN /bin/sh -c apt-get update && apt-get install -y sudo # buildkit", "df-sudo"),
        ("RUN /bin/sh -c echo 'root:x' | chpasswd # buildkit", "df-password"),
        ("RUN /bin/sh -c apt-get install -y --allow-unauthenticated x # buildkit", "df-package-signatures"),
        ("RUN /bin/sh -c wget --no-check-certificate https://x", "df-certificate-checks"),
        ("COPY id_rsa /root/.ssh/id_rsa # buildkit", "df-secret-file"),
        (f"RUN /bin/sh -c git clone https://{TOKEN}:x@h/r # buildkit", "df-secret-command"),
    ],
)  # fmt: skip
def test_history(told: str, expected: str) -> None:
    """Each builder's way to tell of an instruction is read; findings name the layer that it made."""
    base = "/bin/sh -c #(nop) ADD file:0123 in / "
    result = lint_config("x", config(base, '/bin/sh -c #(nop)  CMD ["sh"]', told))
    assert [item[:2] for item in found(result)] == [(expected, "sha256:1")]


def test_what_is_no_instruction() -> None:
    """Remarks of other builders, missing and odd entries say nothing."""
    for told in ("bazel build //:image", "", "apko", "COPY", "Buildpacks Launcher Config", "# debian.sh --arch 'amd64' out/"):
        assert found(lint_config("x", config(told))) == []


def test_hygiene_of_a_history_is_nobodys_concern() -> None:
    """An image is there already: what would only have made it smaller is not reported."""
    assert (
        found(lint_config("x", config("RUN /bin/sh -c apt-get update # buildkit", "RUN /bin/sh -c apk add x # buildkit"))) == []
    )


def test_secrets_are_named_not_shown() -> None:
    """In ENV of configuration and history once, and as build arguments; values are nowhere in the findings."""
    inner = {"Env": [f"GITHUB_TOKEN={TOKEN}"]}
    result = lint_config(
        "x", config(f"ENV GITHUB_TOKEN={TOKEN}", f"RUN |1 NPM_TOKEN={TOKEN} /bin/sh -c npm ci # buildkit", **inner)
    )
    assert found(result) == [
        ("df-secret-variable", "", "ENV GITHUB_TOKEN=(not shown)"),
        ("df-secret-variable", "sha256:0", "ARG NPM_TOKEN=(not shown)"),
    ]
    assert TOKEN not in str(result)


def test_privileged_files() -> None:
    """Files that give rights are one finding a layer, with the instruction that brought them; without any there is none."""
    made = config("ADD rootfs / # buildkit", "RUN /bin/sh -c chmod u+s /a # buildkit", "RUN x", **GOOD)
    files = [
        PrivilegedFile("bin/su", "sha256:0", 0o4755), PrivilegedFile("bin/ping", "sha256:0", 0, capable=True),
        PrivilegedFile("a", "sha256:1", 0o6755),
    ]  # fmt: skip
    result = lint_image(made, Found(files))
    told = {item.location.layer: item for item in result.findings if item.id == "im-privileged-files" and item.location}
    assert "2 files give rights to whoever runs them: /bin/su (mode 4755), /bin/ping (capabilities)" in told["sha256:0"].message
    assert told["sha256:1"].location is not None
    assert told["sha256:1"].location.instruction == "RUN chmod u+s /a"
    assert [item for item in found(lint_image(made, Found())) if item[0] == "im-privileged-files"] == []


def test_a_file_with_a_configuration() -> None:
    """JSON of a configuration is told from manifests by its members; what is damaged is said."""
    content = json.dumps(config("RUN x", User="root")).encode()
    result = lint("config.json", content, NOW)
    assert (result.kind, [item[0] for item in found(result)]) == ("image", ["df-user-root"])
    assert lint("-", content, NOW).kind == "image"
    assert [gap.code for gap in lint("c.json", content[:-2], NOW).gaps] == ["lint.unreadable"]
    assert lint("p.json", b'{"apiVersion": "v1", "kind": "Pod", "spec": {}}', NOW).kind == "kubernetes"


def test_limits() -> None:
    """Histories without end and findings without number are gaps, and do not take long."""
    many = config(*["RUN /bin/sh -c sudo x"] * 1_001)
    assert [gap.code for gap in lint_config("x", many).gaps] == ["lint.too-large"]
    flood = config(*["RUN /bin/sh -c " + ";".join(f"sudo x{n}" for n in range(2000))] * 20)
    assert len(lint_config("x", flood).findings) <= 5_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "created_by", "empty_layer", "Test"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["config", "history", "rootfs", "User"]), JSON))
def test_any_document(document: dict[str, Any]) -> None:
    """Whatever stands where, nothing is raised, and the findings can be written."""
    document["config"] = {
        name: document.get("config") for name in ("User", "Env", "Labels", "ExposedPorts", "Volumes", "OnBuild")
    }
    msgspec.json.encode(lint_config("x", document))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='RUN|1 A=b/bin/sh -c#(nop)\nCOPY"[]', max_size=60))
def test_any_history(text: str) -> None:
    """Every entry is read as an instruction or as none."""
    assert isinstance(written(text), str)
    told = config(text)
    assert len(entries(told)) == 1
    assert lint_config("x", told) == lint_config("x", told)
