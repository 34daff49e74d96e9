"""Who vouches for a file: whoever signed its last change, as git and the person's own keys say, and nobody else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pratique._kit.gitsigned import signer_of

pytestmark = [pytest.mark.needs("git", "ssh-keygen"), pytest.mark.usefixtures("_own_home")]


@pytest.fixture
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the person who runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in [name for name in os.environ if name.startswith("GIT_") and name != "GIT_CONFIG_NOSYSTEM"]:
        monkeypatch.delenv(name)


def run(folder: Path, *arguments: str) -> None:
    """Run a program in a folder."""
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)


def key(folder: Path, name: str) -> Path:
    """Make an SSH key."""
    run(folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name)
    return folder / name


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose user signs with the key `eve`."""
    folder = tmp_path / "work"
    folder.mkdir()
    signing = key(tmp_path, "eve")
    run(folder, "git", "init", "-q", "-b", "main")
    for name, value in (
        ("user.name", "Eve"), ("user.email", "eve@acme.example"), ("gpg.format", "ssh"), ("user.signingkey", str(signing)),
        ("commit.gpgsign", "false"),
    ):  # fmt: skip
        run(folder, "git", "config", name, value)
    return folder


def allowed(folder: Path, *names: str) -> Path:
    """A file of signers that are believed."""
    path = folder / "allowed"
    path.write_text("".join(f"{name}@acme.example {(folder / f'{name}.pub').read_text()}" for name in names))
    return path


def commit(folder: Path, content: str, *, sign: bool, name: str = "waivers.yaml") -> Path:
    """Change a file and commit it."""
    path = folder / name
    path.write_text(content)
    run(folder, "git", "add", name)
    run(folder, "git", "commit", "-q", "-m", "m", *(["-S"] if sign else []))
    return path


def test_the_last_change_counts(repository: Path, tmp_path: Path) -> None:
    """Signed; then another file changed without; then this one; then one that nobody committed."""
    signers = allowed(tmp_path, "eve")
    path = commit(repository, "a", sign=True)
    assert signer_of(path, signers) == ("eve@acme.example", "")
    commit(repository, "b", sign=False, name="other")
    assert signer_of(path, signers).signer == "eve@acme.example"
    path.write_text("changed")
    assert signer_of(path, signers) == ("", "it is not as it was committed")
    commit(repository, "c", sign=False)
    assert "is not signed" in signer_of(path, signers).why_not
    (repository / "new").write_text("n")
    assert signer_of(repository / "new", signers) == ("", "it is not committed")


def test_a_key_that_nobody_believes(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key, no file of signers; and the person's own configuration where none is named."""
    path = commit(repository, "a", sign=True)
    key(tmp_path, "bob")
    assert "key" in signer_of(path, allowed(tmp_path, "bob")).why_not
    assert signer_of(path).signer == ""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    run(repository, "git", "config", "--global", "gpg.ssh.allowedSignersFile", str(allowed(tmp_path, "eve")))
    assert signer_of(path).signer == "eve@acme.example"


def test_what_the_repository_itself_says_is_not_believed(repository: Path, tmp_path: Path) -> None:
    """Its configuration names its own signers, and a program that finds everything good."""
    path = commit(repository, "a", sign=True)
    yes = tmp_path / "yes"
    ran = tmp_path / "ran"
    yes.write_text(f"#!/bin/sh\ntouch {ran}\necho 'Good \"git\" signature for root@x with ED25519 key SHA256:x'\n")
    yes.chmod(0o755)
    for name, value in (
        ("gpg.ssh.program", str(yes)), ("gpg.program", str(yes)), ("core.fsmonitor", str(yes)),
        ("gpg.ssh.allowedSignersFile", str(allowed(tmp_path, "eve"))),
    ):  # fmt: skip
        run(repository, "git", "config", name, value)
    assert signer_of(path).signer == ""
    assert not ran.exists()


def test_where_git_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, an odd name, no git."""
    path = tmp_path / "--output=x"
    path.write_text("a")
    assert "git cannot tell" in signer_of(path).why_not
    assert not (tmp_path / "x").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no git" in signer_of(path).why_not


def test_another_repository_in_the_environment(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook says which repository it works on; the file's own is asked."""
    path = commit(repository, "a", sign=True)
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert signer_of(path, allowed(tmp_path, "eve")).signer == "eve@acme.example"
