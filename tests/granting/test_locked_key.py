"""An approver's key under a passphrase, as `ssh-keygen -t ed25519` makes it and the guide advises."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from pratique.granting import sshsig
from pratique.granting.approvers import Signed, sign
from pratique.model.errors import UsageError

pytestmark = pytest.mark.needs("ssh-keygen")


def _never() -> str:
    raise AssertionError("ssh-keygen asks for the passphrase itself")


def _answering(folder: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = folder / "askpass"
    asking.write_text(f"#!/bin/sh\necho {words}\n")
    asking.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(asking))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("DISPLAY", ":none")


def test_a_key_under_a_passphrase_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature is that key's; a wrong passphrase is one line with what to look at."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "geheim", "-f", str(key)], check=True)
    signed = Signed(act="approve", grant="g-1", request="sha256:" + "a" * 64, at=1.0)
    _answering(tmp_path, "geheim", monkeypatch)
    made = sign(key, signed, _never)
    public = key.with_suffix(".pub").read_text().split()[1]
    assert sshsig.verify(made.signature, made.statement()).key == sshsig.key_text(base64.b64decode(public))
    _answering(tmp_path, "wrong", monkeypatch)
    with pytest.raises(UsageError, match="ssh-keygen did not sign") as refused:
        sign(key, signed, _never)
    assert "passphrase" in (refused.value.hint or "")
