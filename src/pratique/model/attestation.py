"""What somebody signed about an image, as policies and reports see it: whose word it is, and what it says of the build.

Read by `attest`, judged by `policy`; it stands in the model because neither may import the other.
"""

from __future__ import annotations

import msgspec


class Attestation(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A statement or signature about the image.

    `predicate` is its in-toto predicate type. `verified` says that a key that the person named made a signature of it, and that a
    digest of the image is its subject; `signer` is that key. The rest is what a provenance predicate says: `builder` and
    `build_type` (URIs), `source` and `revision` that were built, and `signed_at`, when the build ended (RFC 3339): claims, as
    good as their signer. `origin` is where it was read.
    """

    predicate: str
    signer: str = ""
    verified: bool = False
    signed_at: str = ""
    builder: str = ""
    build_type: str = ""
    source: str = ""
    revision: str = ""
    origin: str = ""
