"""A folder in, the authority of the gate, its serving certificate and one for the API server in it out; renewed in time.

ca.crt ca.key          the authority, for nothing else
tls.crt tls.key        what the gate shows; API servers trust it by ca.crt (caBundle)
client.crt client.key  what an API server shows to the gate, which trusts it by ca.crt (--client-ca)
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pratique.model.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

AUTHORITY_DAYS = 3650  # to exchange it every API server's configuration is touched
LEAF_DAYS = 90
# What of its time a certificate may have left when it is renewed: a month of failed renewals is noticed before it ends.
_LEFT = 1 / 3
CLIENT = "pratique-apiserver"
_BACK = dt.timedelta(minutes=5)  # clocks of other machines may be behind


class Made(NamedTuple):
    """What was made anew, by file name."""

    files: tuple[str, ...]
    authority: Path


def make(folder: Path, names: Sequence[str], now: dt.datetime) -> Made:
    """Make what is missing, and renew what is old or for other names. Raises ConfigurationError, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = []
    if not (folder / "ca.crt").exists() or not (folder / "ca.key").exists():
        if any((folder / name).exists() for name in ("ca.crt", "ca.key")):
            raise ConfigurationError(f"{folder}: one half of an authority is missing", hint="put it back, or remove the other")
        _authority(folder, now)
        made.append("ca.crt")
    for leaf, wanted, usage in (("tls", tuple(names), "server"), ("client", (), "client")):
        if _is_due(folder, leaf, wanted, now):
            _leaf(folder, leaf, wanted, usage, now)
            made.append(f"{leaf}.crt")
    return Made(tuple(made), folder / "ca.crt")


def patch(manifest: Path, authority: Path) -> int:
    """Put the authority into every `caBundle` of a manifest; return how many. Raises ConfigurationError, OSError."""
    text = manifest.read_text("utf-8")
    bundle = base64.b64encode(authority.read_bytes()).decode("ascii")
    changed, count = re.subn(r'(?m)^(\s*(?:- )?caBundle:)[ ]*("[^"\n]*"|\S*)[ ]*$', rf'\1 "{bundle}"', text)
    if not count:
        raise ConfigurationError(f"{manifest}: there is no caBundle in it")
    _write(manifest, changed.encode(), 0o644)
    return count


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read. Raises OSError."""
    _write(path, text.encode(), 0o600)


def kubeconfig(folder: Path, address: str, name: str = "") -> str:
    """Return how an API server reaches the gate as a kubeconfig, with the files of `folder` in it.

    `name` is whom the certificate has to be for, where that is not the host in the address.
    """

    def inline(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode("ascii")

    whom = f"    tls-server-name: {name}\n" if name else ""
    return (
        "apiVersion: v1\nkind: Config\n"
        f"clusters:\n- name: gate\n  cluster:\n    server: {address}\n    certificate-authority-data: {inline('ca.crt')}\n"
        f"{whom}users:\n- name: apiserver\n  user:\n    client-certificate-data: {inline('client.crt')}\n"
        f"    client-key-data: {inline('client.key')}\n"
        "contexts:\n- name: gate\n  context: {cluster: gate, user: apiserver}\ncurrent-context: gate\n"
    )


def _is_due(folder: Path, leaf: str, names: Sequence[str], now: dt.datetime) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    if not (folder / f"{leaf}.key").exists():
        return True
    try:
        seen = _read(folder / f"{leaf}.crt")
        seen.verify_directly_issued_by(_read(folder / "ca.crt"))
    except (OSError, ValueError, TypeError, InvalidSignature):
        return True
    left = seen.not_valid_after_utc - now
    if left < (seen.not_valid_after_utc - seen.not_valid_before_utc) * _LEFT:
        return True
    if not names:
        return False
    given = seen.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(getattr(one, "value", "")) for one in given] != list(names)


def _authority(folder: Path, now: dt.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("pratique gate authority")
    certificate = (
        _builder(name, name, key, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _keep(folder, "ca", certificate, key)


def _leaf(folder: Path, leaf: str, names: Sequence[str], usage: str, now: dt.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        authority = _read(folder / "ca.crt")
        signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{folder}: ca.crt and ca.key are no authority: {error}") from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"{folder / 'ca.key'}: not a key that was made here")
    key = ec.generate_private_key(ec.SECP256R1())
    common = names[0] if names else CLIENT
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(_named(common[:64]), authority.subject, key, signer, now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False)
    _keep(folder, leaf, builder.sign(signer, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    now: dt.datetime,
    days: int,
) -> x509.CertificateBuilder:
    """Begin a certificate. Strict clients, as Python is from 3.13 on, want the identifiers of both keys (RFC 5280, 4.2.1)."""
    from cryptography import x509

    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(own, critical=False)
        .add_extension(above, critical=False)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    from cryptography import x509

    no = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    return x509.KeyUsage(digital_signature=not sign, key_cert_sign=sign, crl_sign=sign, **no)


def _named(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _read(path: Path) -> Certificate:
    from cryptography import x509

    return x509.load_pem_x509_certificate(path.read_bytes())


def _keep(folder: Path, name: str, certificate: Certificate, key: EllipticCurvePrivateKey) -> None:
    """Keep both: the key first, so that a certificate never stands beside a key that is not its own for longer than a rename."""
    from cryptography.hazmat.primitives import serialization

    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(folder / f"{name}.key", secret, 0o600)
    _write(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
