"""Who asks, stamped by the front socket and read by the plugin: a header that nobody without the key can make.

The engine tells a plugin nothing about the user of its unix socket, so the front socket, which knows, says it in a header:
numbers from the kernel, bound to this one request line and this second by an HMAC.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pratique.enforce.serving import Peer
from pratique.model.errors import ParseError
from pratique.model.privilege import CERTIFICATE, PEER, Subject

if TYPE_CHECKING:
    from cryptography import x509

HEADER = "X-Pratique-Identity"
# Between the front socket and the plugin lie an engine's queue and its decoding of a body; a stamp is not good for longer.
STAMP_SECONDS = 30.0
_KEY_BYTES = 32
# The uid of the gate itself, which no user can have.
GATE = -2


def load_key(path: Path) -> bytes:
    """Return the key that front socket and plugin share; make it where there is none. Raises OSError, ParseError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if path.stat().st_mode & 0o077 or len(key) != _KEY_BYTES:
            raise ParseError(f"{path} is no key, or others may read it") from None
        return key
    with os.fdopen(handle, "wb") as stream:
        stream.write(key := secrets.token_bytes(_KEY_BYTES))
        stream.flush()
        os.fsync(stream.fileno())
    return key


def stamp(key: bytes, peer: Peer, method: str, target: str, now: float) -> str:
    """Return the header's value for one request."""
    said = f"v1 {peer.uid} {peer.gid} {peer.pid} {now:.3f} {secrets.token_hex(8)}"
    return f"{said} {_code(key, said, method, target)}"


def read_stamp(key: bytes, value: str, method: str, target: str, now: float) -> Peer:
    """Return the peer that a header speaks of. Raises ParseError where it was not made for this request, or is too old."""
    said, _, code = value.rpartition(" ")
    if not hmac.compare_digest(code.encode(), _code(key, said, method, target).encode()):
        raise ParseError("the identity is not from the front socket, or is another request's")
    _, uid, gid, pid, at, _ = said.split(" ")
    if not -STAMP_SECONDS <= now - float(at) <= STAMP_SECONDS:
        raise ParseError("the identity is too old")
    return Peer(int(pid), int(uid), int(gid))


def _code(key: bytes, said: str, method: str, target: str) -> str:
    text = f"{said}\0{method}\0{target}".encode("utf-8", "surrogateescape")
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def is_nobody(uid: int) -> bool:
    """Say whether a number names nobody: there is none, or it stands for all users of other namespaces."""
    return uid in (-1, _overflow())


@cache
def _overflow() -> int:
    """Return the number that the kernel gives for users of another namespace whom it cannot name."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    except (OSError, ValueError):
        return 65534


def unix_subject(uid: int, gid: int) -> Subject:
    """Return the subject of a user of this machine, with the groups that the machine knows."""
    import grp  # noqa: PLC0415 - only where a unix user asks
    import pwd  # noqa: PLC0415 - as above

    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return Subject(id=f"uid:{uid}", provider="unix", strength=PEER)
    names = []
    for number in os.getgrouplist(user.pw_name, gid if gid >= 0 else user.pw_gid):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            names.append(f"gid:{number}")
    return Subject(id=user.pw_name, provider="unix", groups=tuple(sorted(set(names))), strength=PEER)


def certificate_subject(pem: bytes, known: Mapping[str, str]) -> Subject:
    """Return the subject of a TLS client: by its certificate's fingerprint where `known` names it, else by its one SAN.

    The engine has verified the certificate. A common name is not an identity: there may be none, or several. Raises ParseError.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ParseError(f"a client's certificate cannot be read: {error}") from error
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    if digest in known:
        return Subject(id=known[digest], provider="tls", strength=CERTIFICATE)
    names = _alternatives(certificate)
    if len(names) != 1:
        raise ParseError("a client's certificate has no subject alternative name, or several")
    return Subject(id=names[0], provider="tls", strength=CERTIFICATE)


def _alternatives(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *found.get_values_for_type(x509.RFC822Name),
        *found.get_values_for_type(x509.UniformResourceIdentifier),
        *found.get_values_for_type(x509.DNSName),
    ]
