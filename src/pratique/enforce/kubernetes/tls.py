"""Files of a certificate and its key in, a TLS context that follows them out: a new pair holds from the next connection on."""

from __future__ import annotations

from pathlib import Path

from pratique.model.errors import ConfigurationError


class Identity:
    """What the gate shows of itself, and whom it asks for a certificate."""

    def __init__(self, certificate: Path, key: Path, authority: Path | None) -> None:
        """A client may show a certificate that `authority` signed; who has none is told so. Raises ConfigurationError."""
        import ssl

        self._files = (certificate, key)
        self._authority = authority
        self._seen: tuple[object, ...] = ()
        self._expires = 0.0
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if authority is not None:
            self.context.verify_mode = ssl.CERT_OPTIONAL  # probes of a kubelet have none
        self._load()

    def refresh(self) -> bool:
        """Take up new files, if there are any; say whether. A pair that does not fit leaves the former in use.

        A further authority is believed from then on; one that was taken away, until the gate is started again.
        """
        try:
            seen = self._look()
            if seen == self._seen:
                return False
            self._load()
        except (OSError, ConfigurationError):
            return False
        return True

    def expires(self) -> float:
        """Return when the certificate that is served ends, in seconds since 1970."""
        return self._expires

    def _load(self) -> None:
        import ssl

        certificate, key = self._files
        self._seen = self._look_or_nothing()
        if self._authority is not None:
            try:
                self.context.load_verify_locations(cafile=str(self._authority))
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"{self._authority}: no certificates of an authority: {error}") from None
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)  # so that no half is taken
            self.context.load_cert_chain(certificate, key)
            self._expires = _end_of(certificate)
        except (OSError, ssl.SSLError) as error:
            hint = "pratique gate kubernetes certificates DIR makes both"
            raise ConfigurationError(f"{certificate}, {key}: no certificate with its key: {error}", hint=hint) from None

    def _look_or_nothing(self) -> tuple[object, ...]:
        try:
            return self._look()
        except OSError:
            return ()  # what is missing is said by who reads it

    def _look(self) -> tuple[object, ...]:
        files = (*self._files, *((self._authority,) if self._authority is not None else ()))
        return tuple((seen.st_ino, seen.st_size, seen.st_mtime_ns) for seen in (path.stat() for path in files))


def _end_of(certificate: Path) -> float:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0  # TLS took it; only the number is missing


def names_in(certificate: bytes) -> list[str]:
    """Return the common names of a client's certificate (DER); nothing for none."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    if not certificate:
        return []
    try:
        subject = x509.load_der_x509_certificate(certificate).subject
    except ValueError:
        return []
    return [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
