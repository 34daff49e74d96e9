"""What is in an image: evidence as catalogers see it, and the packages, distribution and gaps that it settles into."""

from __future__ import annotations

from typing import Literal

import msgspec

PackageType = Literal["deb", "apk", "rpm", "pypi", "npm", "maven", "golang", "cargo", "gem", "composer", "nuget", "generic"]


class SourcePackage(msgspec.Struct, frozen=True, order=True):
    """The source package that a binary package was built from; `version` is the source's own, epoch included."""

    name: str
    version: str = ""


class Location(msgspec.Struct, frozen=True, order=True):
    """Where something was seen: `path` without leading slash (`a.war!/WEB-INF/lib/b.jar` in an archive), `layer` a diff_id."""

    path: str
    layer: str = ""


class Gap(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What could not be examined or known. Every Gap reaches the report, and a policy can refuse on it.

    `code` is documented and stable (docs/reference/problems.md). A code that begins `advisories.` speaks of what is known about
    vulnerabilities; any other of the target itself. `path`, `package` (a purl) and `source` name what it concerns.
    """

    code: str
    message: str
    path: str = ""
    package: str = ""
    source: str = ""
    layer: str = ""


class Checksum(msgspec.Struct, frozen=True, order=True):
    """A digest of something. `algorithm` is md5, sha1, sha256, sha384 or sha512, and `value` then hexadecimal digits.

    Two more are no digest of one file: h1 is Go's, of a module's list of files (base64), q1 apk's, of a package's control part.
    """

    algorithm: str
    value: str


class PackageEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="package"):
    """One installed (or declared) package as one file shows it.

    `namespace`, `name` and `version` are those of the purl type (a Maven group is the namespace; an npm scope with its @; a Go
    module path is split at its last slash). For rpm, `version` is [epoch:]version-release. `inner` is a path inside an archive,
    `declared` marks a lock file's wish rather than installed evidence. `role` is "main" for what an application says it is
    itself, "dev" for what only its developers need. `depends` is what it needs of the same file (see DetailEvidence), None where
    the file does not say it.
    """

    type: PackageType
    name: str
    version: str
    namespace: str = ""
    arch: str = ""
    source: SourcePackage | None = None
    licenses: tuple[str, ...] = ()
    qualifiers: tuple[tuple[str, str], ...] = ()
    inner: str = ""
    role: str = ""
    declared: bool = False
    depends: tuple[str, ...] | None = None
    hashes: tuple[Checksum, ...] = ()


class OwnershipEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="owns"):
    """Which paths an OS package installed. `package` and `arch` name it as its PackageEvidence does.

    Only paths for which `pratique.inventory.ownership.worth_keeping` is true need to be given: those where another cataloger
    could find a package.
    """

    type: PackageType
    package: str
    paths: tuple[str, ...]
    arch: str = ""


class LicenseEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="licenses"):
    """Licences that a file of its own states for an OS package, named as in its PackageEvidence (without a version)."""

    type: PackageType
    package: str
    licenses: tuple[str, ...]


class DistroEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="distro"):
    """What an os-release (or an older release file) says. `id` is lower case; `rank` orders rival files, lowest first."""

    id: str
    version: str = ""
    like: tuple[str, ...] = ()
    name: str = ""
    codename: str = ""
    variant: str = ""
    cpe: str = ""
    rank: int = 0


class DetailEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="details"):
    """What only an SBOM asks about a package. `type` to `inner` name it as its PackageEvidence does; without a name it is the
    only one of its type at its place.

    `path` is the file that the PackageEvidence is from, "" for the same one. `requires` are names as the ecosystem writes them:
    `a|b` is one of several, `name@version` that version alone, `name ~> 1.2, < 2` one that fits; what begins with `?` need not be
    there. None means that the file does not say what the package needs. `provides` are other names that it goes by. `supplier`
    is who answers for it, as the file has it ("Name <address>").
    """

    type: PackageType
    name: str
    version: str = ""
    namespace: str = ""
    arch: str = ""
    inner: str = ""
    path: str = ""
    requires: tuple[str, ...] | None = None
    provides: tuple[str, ...] = ()
    hashes: tuple[Checksum, ...] = ()
    supplier: str = ""


class FilesEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="files"):
    """All paths that a package installed, without leading slash. The package is named as in DetailEvidence."""

    type: PackageType
    name: str
    paths: tuple[str, ...]
    version: str = ""
    arch: str = ""
    path: str = ""


class ContentEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="content"):
    """The size in bytes and the digests of a file's content."""

    size: int
    hashes: tuple[Checksum, ...]


AccountFileName = Literal["passwd", "shadow", "group", "gshadow"]
CredentialKind = Literal["empty", "set", "weak", "none"]


class Account(msgspec.Struct, frozen=True, array_like=True):
    """One line of a file of accounts or groups. `number` is -1 where the file has none, `shell` is passwd's alone.

    `credential` says of what kind the password is and never what it is: "empty" asks for none, "weak" is a hash of a scheme that
    is quickly guessed, "set" any other hash; "none" opens nothing, or stands elsewhere.
    """

    name: str
    line: int
    credential: CredentialKind = "none"
    locked: bool = False
    number: int = -1
    shell: str = ""


class AccountsEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="accounts"):
    """What one of the files in /etc that decide who is who says. `mode` are its permission bits."""

    file: AccountFileName
    mode: int
    entries: tuple[Account, ...] = ()


class SecretEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="secret"):
    """That a file holds keys or logins: `what` in words, nothing of its content."""

    what: str


Evidence = (
    PackageEvidence
    | OwnershipEvidence
    | LicenseEvidence
    | DistroEvidence
    | DetailEvidence
    | FilesEvidence
    | ContentEvidence
    | AccountsEvidence
    | SecretEvidence
)


class Distro(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The distribution of an image. `eol` is the last day of its security support (date, or empty when not known)."""

    id: str
    version: str = ""
    like: tuple[str, ...] = ()
    name: str = ""
    codename: str = ""
    eol: str = ""


class ImageFile(msgspec.Struct, frozen=True, order=True):
    """A regular file of the squashed image: `path` without leading slash, `layer` a diff_id, digests of its content."""

    path: str
    layer: str = ""
    size: int = 0
    hashes: tuple[Checksum, ...] = ()


class PackageDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What only an SBOM tells of a package.

    `depends` are purls of packages in the same image. `relations` says whether these are all that it needs ("complete"), whether
    some of it is not there or not known ("incomplete"), or that nobody says what it needs. `hashes` are of the archive that it
    was installed from, or of the file that it is. `files` are paths, `supplier` is who answers for it ("Name <address>").
    """

    depends: tuple[str, ...] = ()
    relations: Literal["unknown", "incomplete", "complete"] = "unknown"
    hashes: tuple[Checksum, ...] = ()
    files: tuple[str, ...] = ()
    supplier: str = ""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package in the squashed image. One a purl, with all its locations.

    `name` is as the ecosystem writes it (`@scope/name`, `group:artifact`, a whole Go module path), `namespace` its purl's part.
    `ecosystem` is the OSV name (`PyPI`, `Debian`, ...), without a release. `owner` is the purl of the OS package that installed
    it: such a package is shown, but its vulnerabilities are the owner's. `details` are there only where an SBOM is written.
    """

    name: str
    version: str
    purl: str
    type: PackageType
    ecosystem: str
    namespace: str = ""
    arch: str = ""
    source: SourcePackage | None = None
    licenses: tuple[str, ...] = ()
    locations: tuple[Location, ...] = ()
    owner: str = ""
    role: str = ""
    declared: bool = False
    details: PackageDetails | msgspec.UnsetType = msgspec.UNSET


class PrivilegedFile(msgspec.Struct, frozen=True, order=True):
    """A file that gives rights to whoever runs it: `mode` has setuid or setgid bits, or `capable` that it has capabilities."""

    path: str
    layer: str
    mode: int = 0
    capable: bool = False


class AccountFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of accounts as the squashed image has it; `layer` is the diff_id of the one that wrote it last."""

    file: AccountFileName
    layer: str
    mode: int
    entries: tuple[Account, ...]


class SecretFile(msgspec.Struct, frozen=True, order=True):
    """A file with keys or logins in one layer. `gone` says that an upper layer hides it, from containers, not from who pulls."""

    path: str
    layer: str
    what: str
    gone: bool = False


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What an image holds: packages sorted by purl, findings of detectors are kept apart, gaps in the order they were met.

    `release` is the OSV ecosystem of the distribution with its release ("Debian:12"), "" where it has none. `privileged` are
    the files of the squashed image with setuid bits or capabilities, sorted by path. `files` are all its regular files, where
    they were asked for. `accounts` are passwd, shadow, group and gshadow, those that are there; `secrets` are files with keys and
    logins, of all layers; `check_gaps` what of these could not be read, which concerns nobody but who asks about them.
    """

    distro: Distro | None
    release: str
    packages: tuple[Package, ...]
    gaps: tuple[Gap, ...]
    privileged: tuple[PrivilegedFile, ...] = ()
    accounts: tuple[AccountFile, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
    check_gaps: tuple[Gap, ...] = ()
    files: tuple[ImageFile, ...] = ()
