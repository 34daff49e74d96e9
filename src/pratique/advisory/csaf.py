"""CSAF 2.0 documents, as far as advisories need them.

https://docs.oasis-open.org/csaf/csaf/v2.0/csaf-v2.0.html
"""

from __future__ import annotations

import msgspec


class Product(msgspec.Struct, frozen=True):
    """A product, or a package of one; the helper holds `cpe` or `purl`."""

    product_id: str
    product_identification_helper: dict[str, msgspec.Raw] | None = None


class Branch(msgspec.Struct, frozen=True):
    """A node of the product tree."""

    branches: list[Branch] | None = None
    product: Product | None = None


class Relationship(msgspec.Struct, frozen=True):
    """A package as part of a product."""

    full_product_name: Product
    product_reference: str
    relates_to_product_reference: str


class Tree(msgspec.Struct, frozen=True):
    """What the statements speak of."""

    branches: list[Branch] = []
    relationships: list[Relationship] | None = None


class Remediation(msgspec.Struct, frozen=True):
    """What can be done, or why nothing is."""

    category: str
    details: str = ""
    url: str = ""
    product_ids: list[str] = []


class Threat(msgspec.Struct, frozen=True):
    """The impact on products."""

    category: str
    details: str = ""
    product_ids: list[str] = []


class Vector(msgspec.Struct, frozen=True):
    """A CVSS vector."""

    vector: str = msgspec.field(name="vectorString", default="")


class Score(msgspec.Struct, frozen=True):
    """Vectors by version."""

    cvss_v4: Vector | None = None
    cvss_v3: Vector | None = None
    cvss_v2: Vector | None = None


class Weakness(msgspec.Struct, frozen=True):
    """A CWE."""

    id: str = ""


class Status(msgspec.Struct, frozen=True):
    """Product ids by what is said of them."""

    fixed: list[str] = []
    known_affected: list[str] = []
    known_not_affected: list[str] = []
    under_investigation: list[str] = []


class Vulnerability(msgspec.Struct, frozen=True):
    """One CVE."""

    cve: str
    title: str = ""
    cwe: Weakness | None = None
    discovery_date: str = ""
    release_date: str = ""
    product_status: Status = Status()
    remediations: list[Remediation] = []
    threats: list[Threat] = []
    scores: list[Score] = []


class Severity(msgspec.Struct, frozen=True):
    """A severity word."""

    text: str = ""


class Tracking(msgspec.Struct, frozen=True):
    """When the document was published."""

    current_release_date: str = ""


class Head(msgspec.Struct, frozen=True):
    """About the document."""

    title: str = ""
    aggregate_severity: Severity | None = None
    tracking: Tracking = Tracking()


class Document(msgspec.Struct, frozen=True):
    """A whole document."""

    document: Head
    product_tree: Tree
    vulnerabilities: list[Vulnerability]
