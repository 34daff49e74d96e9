"""`pratique harden` as people run it: patches that apply, mend what they say and nothing else, and errors that help."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hardening
import imagebuilder as ib

Call = Callable[..., Any]
DEPLOYMENT = """\
# the shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      containers:
      - name: web  # the front
        image: localhost/app:1
        ports:
        - containerPort: 80
      - name: side
        image: other:1
        volumeMounts:
        - name: web-tmp
          mountPath: /data
      volumes:
      - name: web-tmp
        persistentVolumeClaim: {claimName: shop}
"""
COMPOSE = "services:\n  web:\n    image: localhost/app:1\n    ports:\n      - '8080:80'\n  db:\n    image: postgres:17\n"
SCRIPT = "#!/bin/sh\n# start it\ndocker run -d --name app \\\n  -p 8080:80 \\\n  localhost/app:1\n"
MENDED = {
    "k8s.yaml": {
        "ct-root-filesystem", "pss-escalation", "pss-capabilities-dropped", "pss-non-root", "pss-seccomp-set", "k8s-low-port",
    },
    "compose.yaml": {"ct-root-filesystem", "ct-new-privileges", "ct-capabilities-kept"},
}  # fmt: skip


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with an image and its manifests."""
    more: dict[str, Any] = {
        "data/": hardening.owned(1000),
        "usr/": b"",
        "usr/bin/": b"",
        "usr/bin/tool": ib.executable(b"\x7fELF"),
    }
    files = hardening.base(**more)
    config = {"User": "app", "Cmd": ["tool"], "ExposedPorts": {"80/tcp": {}}}
    hardening.write(tmp_path / "app.tar", files, config)
    for name, text in {"k8s.yaml": DEPLOYMENT, "compose.yaml": COMPOSE, "run.sh": SCRIPT}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(call: Call, path: str, subject: str) -> set[str]:
    """Return the checks that speak of one container."""
    found = call("lint", path, "-f", "json").json["findings"]
    return {one["id"] for one in found if subject in one["message"]}


@pytest.mark.parametrize(
    ("name", "subject", "other"), [("k8s.yaml", "container web", "side"), ("compose.yaml", "service web", "db")]
)
def test_a_patch_applies_and_mends(call: Call, at: Path, name: str, subject: str, other: str) -> None:
    """`git apply` takes what is printed, remarks and all; what it set is no longer found, and nothing new is."""
    before, others = ids(call, name, subject), ids(call, name, other)
    ran = call("harden", "app.tar", name, "--container", "web")
    assert ran.code == 0
    assert ran.out.startswith("# ")
    assert "what no file tells" in ran.out
    subprocess.run(["git", "apply", "-p1", "-"], input=ran.out.encode(), check=True, cwd=at)
    after = ids(call, name, subject)
    assert before - after == MENDED[name] & before
    assert MENDED[name] & after == set()
    # A number of the image is a low one; that is the image's to mend.
    assert after - before <= {"k8s-low-user"}
    assert ids(call, name, other) == others
    again = call("harden", "app.tar", name, "--container", "web", "-q")
    assert (again.code, again.out) == (0, "")


def test_comments_and_names_stay(call: Call, at: Path) -> None:
    """Nothing is written anew, and a volume never gets a name that another has."""
    assert call("harden", "app.tar", "k8s.yaml", "--container", "web", "--write").code == 0
    text = (at / "k8s.yaml").read_text()
    assert text.startswith("# the shop\n")
    assert "- name: web  # the front\n" in text
    assert "{name: web-tmp-1, mountPath: /tmp}" in text
    assert "- {name: web-tmp-1, emptyDir: {}}" in text
    assert text.count("persistentVolumeClaim") == 1


def test_lines_of_docker_run(call: Call, at: Path) -> None:
    """Flags are put behind `run`, once."""
    assert call("harden", "app.tar", "run.sh", "--write").code == 0
    text = (at / "run.sh").read_text()
    wanted = (
        "docker run --cap-drop=ALL --security-opt=no-new-privileges --sysctl=net.ipv4.ip_unprivileged_port_start=80 --read-only"
        " --tmpfs=/data:mode=1777 --tmpfs=/tmp:mode=1777 -d --name app \\\n"
    )
    assert wanted in text
    before = text
    assert call("harden", "app.tar", "run.sh", "--write").code == 0
    assert (at / "run.sh").read_text() == before


def test_without_a_manifest_it_prints_flags(call: Call, at: Path) -> None:
    """Flags on standard output, reasons on the other."""
    ran = call("harden", "app.tar")
    assert ran.out.startswith("--cap-drop=ALL ")
    assert ran.out.count("\n") == 1
    assert "not root" in ran.err
    assert call("harden", "app.tar", "--quiet").err == ""


def test_a_privileged_container_is_left_alone(call: Call, at: Path) -> None:
    """Without a trial nothing is written, with one it is no longer privileged."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: localhost/app:1\n"
    (at / "pod.yaml").write_text(pod + "    securityContext:\n      privileged: true\n")
    ran = call("harden", "app.tar", "pod.yaml")
    assert (ran.code, "---" in ran.out) == (0, False)
    assert "it is privileged" in ran.out
    assert call("harden", "app.tar", "pod.yaml", "--attempt", "--write").code == 0
    assert "privileged: false" in (at / "pod.yaml").read_text()
    assert not {name for name in ids(call, "pod.yaml", "Pod p") if name.startswith("pss-")}


def test_a_program_that_is_known(call: Call, at: Path) -> None:
    """Real programs are larger than any script, and a script may end in one that the configuration does not name."""
    entry = ib.executable(b"#!/bin/sh\nexec nginx -g 'daemon off;'\n")
    files: dict[str, Any] = {
        "usr/": b"",
        "usr/sbin/": b"",
        "usr/sbin/nginx": ib.executable(b"\x7fELF" + bytes(400_000)),
        "entry.sh": entry,
        "run/": b"",
    }
    for number, config in enumerate(({"Cmd": ["nginx"]}, {"Entrypoint": ["/entry.sh"]})):
        hardening.write(at / f"{number}.tar", hardening.base(**files), config | {"ExposedPorts": {"80/tcp": {}}})
        wanted = "--cap-drop=ALL --cap-add=CHOWN --cap-add=NET_BIND_SERVICE --cap-add=SETGID --cap-add=SETUID"
        assert call("harden", f"{number}.tar", "-q").out.startswith(wanted)


def test_json(call: Call, at: Path) -> None:
    """Everything that was concluded, for programs."""
    (found,) = json.loads(call("harden", "app.tar", "k8s.yaml", "--container", "web", "-f", "json").out)
    assert found["container"] == "Deployment shop/web"
    assert (found["user"], found["group"], found["low_port"], found["tmpfs"]) == (1000, 1001, 80, ["/data", "/tmp"])
    assert found["because"]
    assert found["open"]


@pytest.mark.parametrize("name", ["k8s.yaml", "compose.yaml"])
def test_the_archive_says_whose_image_it_is(call: Call, at: Path, name: str) -> None:
    """Of several containers those are meant whose image the archive is called by, whatever its tag."""
    (at / name).write_text((at / name).read_text().replace("localhost/app:1", "localhost/app:2@sha256:" + "a" * 64))
    named, told = (call("harden", "app.tar", name, *more).out for more in (("--container", "web"), ()))
    assert told == named
    assert "cap" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("app.tar", "foreign.yaml"), "--container NAME"),
        (("app.tar", "k8s.yaml", "--container", "nobody"), "there is no container nobody"),
        (("app.tar", "--write"), "--write needs a manifest"),
        (("app.tar", "-f", "table"), "not one of patch, json"),
        (("app.tar", "empty.yaml"), "no container in it"),
        (("app.tar", "k8s.yaml", "--prove", "docker"), "leave the manifest and --format out"),
        (("app.tar", "-f", "json", "--prove", "docker"), "leave the manifest and --format out"),
        (("app.tar", "--prove", "runc"), "not one of docker, podman"),
        (("app.tar", "--prove-check", "true"), "--prove-check needs --prove ENGINE"),
    ],
)
def test_bad_usage(call: Call, at: Path, arguments: tuple[str, ...], words: str) -> None:
    """One line, and what to do."""
    (at / "empty.yaml").write_text("a: b\n")
    (at / "foreign.yaml").write_text(DEPLOYMENT.replace("localhost/app:1", "shop:1"))
    ran = call("harden", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_no_engine(call: Call, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is not installed is said to be missing."""
    monkeypatch.setenv("PATH", str(at))
    ran = call("harden", "app.tar", "--prove", "podman")
    assert ran.code == 2
    assert "there is no program of that name" in ran.err


@pytest.mark.parametrize("arguments", [("none.tar",), ("app.tar", "none.yaml"), ("app.tar", "broken.yaml"), (".",)])
def test_what_cannot_be_read(call: Call, at: Path, arguments: tuple[str, ...]) -> None:
    """Exit 3, with the file."""
    (at / "broken.yaml").write_text("services: [\n")
    ran = call("harden", *arguments)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.count("\n") == 1


def test_an_image_for_windows(call: Call, at: Path) -> None:
    """It has none of these privileges."""
    (at / "win.tar").write_bytes(ib.docker_archive([ib.layer({"a": "b"})], platform=("windows", "amd64", "")))
    ran = call("harden", "win.tar", "--platform", "windows/amd64")
    assert ran.code == 3
    assert "for windows" in ran.err


def test_a_layer_that_is_not_what_it_says(call: Call, at: Path) -> None:
    """Nothing is concluded from files that somebody exchanged."""
    content = (at / "app.tar").read_bytes()
    (at / "app.tar").write_bytes(content.replace(b"worker:x:1002", b"worker:x:0000", 1))
    ran = call("harden", "app.tar")
    assert ran.code == 3
    assert "tampered" in ran.err or "diff_id" in ran.err


def test_what_is_said_elsewhere_is_not_changed(call: Call, at: Path) -> None:
    """An anchor that two services share stays; what could not be written is said."""
    text = (
        "services:\n  web:\n    image: localhost/app:1\n    security_opt: &opts\n      - label=type:x\n"
        "  db:\n    image: localhost/other:1\n    security_opt: *opts\n"
    )
    (at / "compose.yaml").write_text(text)
    ran = call("harden", "app.tar", "compose.yaml", "--container", "db", "--write")
    assert ran.code == 0
    assert "could not be written" in ran.err
    after = (at / "compose.yaml").read_text()
    assert after.count("no-new-privileges") == 0
    assert "cap_drop" in after.partition("  db:")[2]
    assert "cap_drop" not in after.partition("  db:")[0]
