"""What others say about vulnerabilities in products (VEX): documents, their statements, and what became of each in a report.

Read by `attest`, applied by `match`; it stands in the model because neither may import the other. Words are those of OpenVEX and
of the minimum requirements for VEX (CISA, 2023): four statuses and five justifications.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.model.finding import FindingStatus

VexFormat = Literal["openvex", "csaf", "cyclonedx"]
Justification = Literal[
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
]
JUSTIFICATIONS: tuple[Justification, ...] = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
UnappliedCode = Literal[
    "vulnerability-not-found",
    "image-differs",
    "package-not-found",
    "version-differs",
    "qualifier-differs",
    "elsewhere",
    "not-comparable",
    "other-bom",
    "superseded",
    "not-yet",
    "unreadable",
    "document-not-used",
]


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of software as a document names it; the names are alternatives.

    `purls` and `others` (references of images, IRIs) as written, `hashes` as "sha256:<hex>", `cpes` are kept to be told. `ranges`
    narrows the versions (vers: ranges or exact versions), () is all. `bom` is the serial number (urn:uuid:...) of the BOM that a
    component is of, where only that is known of it. `label` is what messages call it.
    """

    label: str
    purls: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    cpes: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    bom: str = ""


class Product(msgspec.Struct, frozen=True):
    """What a statement is about: a component or, where `parts` are given, only these in it. None: whatever holds the parts."""

    component: Component | None
    parts: tuple[Component, ...] = ()


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement. `names` are all names of the vulnerability; `number` counts from 1 in its document; `timestamp` is UTC with
    six decimals, so that texts sort as moments do, "" where nobody says.
    """

    number: int
    vulnerability: str
    names: tuple[str, ...]
    status: FindingStatus
    products: tuple[Product, ...]
    justification: str = ""
    impact: str = ""
    action: str = ""
    notes: str = ""
    timestamp: str = ""


class Unread(msgspec.Struct, frozen=True):
    """A statement that cannot be read, and why."""

    number: int
    vulnerability: str
    why: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document whose trust was settled.

    `source` is where it was read from, `subjects` the digests that an attestation is about (() without one: no limit), `signer`
    the key that verifies it, "" for none; `why_not` says why it is not used, "" where it is; `rank` is the place of its author
    among those that are allowed.
    """

    source: str
    format: VexFormat
    id: str = ""
    author: str = ""
    version: str = ""
    timestamp: str = ""
    statements: tuple[Statement, ...] = ()
    unread: tuple[Unread, ...] = ()
    subjects: tuple[str, ...] = ()
    signer: str = ""
    why_not: str = ""
    rank: int = 0


class VexDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document in a report: who wrote it, whose key verified it, how many statements it has and how many were applied."""

    source: str
    id: str
    format: VexFormat
    author: str
    version: str
    timestamp: str
    signer: str
    statements: int
    applied: int
    why_not: str = ""


class VexUnapplied(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that had no effect, the product that came nearest, and what differed."""

    document: str
    statement: int
    vulnerability: str
    status: str
    product: str
    code: UnappliedCode
    message: str


class VexReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all documents. `counts` is over all unapplied statements by code, those without room in the list as well."""

    documents: tuple[VexDocument, ...]
    unapplied: tuple[VexUnapplied, ...]
    counts: dict[str, int]
