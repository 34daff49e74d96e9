"""Who asks: stamps that only the front socket makes, users of the machine, TLS clients by certificate."""

from __future__ import annotations

import datetime as dt
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pratique.enforce.docker.identity import (
    GATE,
    STAMP_SECONDS,
    certificate_subject,
    is_nobody,
    load_key,
    read_stamp,
    stamp,
    unix_subject,
)
from pratique.enforce.serving import Peer, peer_of
from pratique.model.errors import ParseError

KEY = b"k" * 32
PEER = Peer(4711, 1000, 100)


def test_a_stamp_says_who() -> None:
    value = stamp(KEY, PEER, "POST", "/containers/create", 1000.0)
    assert read_stamp(KEY, value, "POST", "/containers/create", 1001.0) == PEER


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user")
def test_no_user_has_the_number_of_the_gate() -> None:
    """Numbers of users have no sign: 4294967294, which some systems call nfsnobody, is not the gate's own -2."""
    number = (1 << 32) + GATE
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0pratique-{os.getpid()}")  # in no folder
        listening.listen()
        listening.settimeout(10)
        program = (
            "import os, socket, sys; os.setuid(int(sys.argv[1])); socket.socket(socket.AF_UNIX).connect('\\0' + sys.argv[2])"
        )
        words = [sys.executable, "-ISc", program, str(number), f"pratique-{os.getpid()}"]
        subprocess.run(words, check=True, timeout=30)
        end, _ = listening.accept()
        with end:
            assert peer_of(end).uid == number


@pytest.mark.parametrize(
    ("key", "method", "target", "now"),
    [
        (b"x" * 32, "POST", "/a", 1000.0),
        (KEY, "GET", "/a", 1000.0),
        (KEY, "POST", "/a?x=1", 1000.0),
        (KEY, "POST", "/a", 1000.0 + STAMP_SECONDS + 1),
        (KEY, "POST", "/a", 1000.0 - STAMP_SECONDS - 1),
    ],
)
def test_a_stamp_of_something_else_says_nothing(key: bytes, method: str, target: str, now: float) -> None:
    value = stamp(KEY, PEER, "POST", "/a", 1000.0)
    with pytest.raises(ParseError):
        read_stamp(key, value, method, target, now)


@given(value=st.text(max_size=200))
def test_nothing_else_is_a_stamp(value: str) -> None:
    with pytest.raises(ParseError):
        read_stamp(KEY, value, "GET", "/", 0.0)


@given(at=st.integers(0, 120), by=st.integers(1, 255))
def test_no_byte_of_a_stamp_can_be_changed(at: int, by: int) -> None:
    value = stamp(KEY, PEER, "POST", "/a", 1000.0)
    place = at % len(value)
    other = value[:place] + chr((ord(value[place]) + by) % 256) + value[place + 1 :]
    with pytest.raises(ParseError):
        read_stamp(KEY, other, "POST", "/a", 1000.0)


def test_each_stamp_is_another() -> None:
    assert stamp(KEY, PEER, "GET", "/", 1.0) != stamp(KEY, PEER, "GET", "/", 1.0)


def test_the_key_is_made_once_and_is_roots(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ParseError, match="others may read it"):
        load_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ParseError):
        load_key(path)


def test_users_of_the_machine() -> None:
    me = pwd.getpwuid(os.getuid())
    found = unix_subject(me.pw_uid, me.pw_gid)
    assert (found.id, found.provider, found.strength, found.kind) == (me.pw_name, "unix", 1, "human")
    assert found.groups == tuple(sorted(set(found.groups)))
    stranger = unix_subject(3_999_999, 3_999_999)
    assert (stranger.id, stranger.groups) == ("uid:3999999", ())


def certificate(*names: x509.GeneralName) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice"), x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_tls_clients() -> None:
    """By the one alternative name, or by the certificate itself; never by a common name, of which there may be several."""
    pem = certificate(x509.RFC822Name("alice@example.org"))
    found = certificate_subject(pem, {})
    assert (found.id, found.provider, found.strength) == ("alice@example.org", "tls", 2)
    digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    assert certificate_subject(pem, {digest: "robot-7"}).id == "robot-7"
    bare = certificate()
    with pytest.raises(ParseError, match="no subject alternative name"):
        certificate_subject(bare, {})
    with pytest.raises(ParseError, match="or several"):
        certificate_subject(certificate(x509.DNSName("a"), x509.RFC822Name("root@b")), {})
    with pytest.raises(ParseError, match="cannot be read"):
        certificate_subject(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", {})


def test_nobody() -> None:
    """The number that stands for all users of other namespaces is no identity."""
    overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
    assert is_nobody(overflow)
    assert is_nobody(-1)
    assert not is_nobody(0)
