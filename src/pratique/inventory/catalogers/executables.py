"""Programs and shared libraries in; the Go modules, Go standard library and Rust crates that were compiled into them out.

One inspector for all, because each of the thousands of ELF files of an image is looked at once: its section names say whether
there is anything to read. Rules:

- A module path is split at its last slash: github.com/foo/bar/v2 is namespace github.com/foo/bar, name v2 (as the golang type of
  the package URL specification has it); letter case and version stay as written (v1.2.3, v2.0.0+incompatible, pseudo-versions).
- A replaced module is what replaced it; one replaced by a folder keeps its own name and version, placeholders aside.
- The standard library is `stdlib`, its version that of the compiler in three parts (go1.22rc1 is 1.22.0-rc.1; unknown: empty).
  Programs of the Go toolchain itself are `toolchain`, as the Go vulnerability database calls both.
- The main module has role "main". Where the compiler knew no version, the linker flags may say one; else it is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.inventory.executables import elf, gobuild, macho, pe, rustaudit
from pratique.inventory.executables.binary import Binary
from pratique.model.errors import ParseError
from pratique.model.inventory import Checksum, Gap, PackageEvidence
from pratique.model.ports import File, Interest

# Kubernetes distributions and database engines ship programs of 200 to 600 MB; what is read of them is a few kilobytes here and
# there, so that the limit guards only the spool that a compressed layer needs.
MAX_BYTES = 1 << 30

_GO_VERSION = re.compile(r"go(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:(rc|beta)(\d{1,4}))?(?![\d.])")
# `-X main.version=1.2.3`, also quoted; what follows the number up to a blank or quote belongs to it.
_LINKED_VERSION = re.compile(
    r"-X[ =]['\"]?([^\s=]+)\.[vV]ersion=v?(\d{1,6}\.\d{1,6}\.\d{1,6}(?:[-+][0-9A-Za-z.+-]{1,64})?)(?=['\"\s]|$)"
)
_SUM = re.compile(r"h1:[A-Za-z0-9+/]{43}=")  # of the files of a module, as go.sum has it
_PSEUDO_OF_NO_TAG = "v0.0.0-"
_UPX = b"UPX!"
# The packer's mark follows ELF and program headers, or the load commands.
_UPX_WINDOW = 4096
_GO_BUILD_ID = b"\xff Go build ID: "


class _Executables:
    """The inspector: see the module's text."""

    name = "executables"
    version = 2
    interest = Interest(magic=(elf.MAGIC, pe.MAGIC, *macho.MAGICS), max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[PackageEvidence | Gap]:
        """Yield evidence of what was compiled in, and Gaps for what is hidden."""
        head = file.read_at(0, pe.FIRST_READ)
        if head[:4] == elf.MAGIC:
            return _elf(file, head)
        return _pe(file, head) if head[:2] == pe.MAGIC else _macho(file, head)


INSPECTOR = _Executables()


def _elf(file: File, head: bytes) -> Iterator[PackageEvidence | Gap]:
    binary = elf.read_elf(file.read_at, file.size, head)
    if binary is None:
        return
    names = binary.names
    if names:
        is_go = b".go.buildinfo\0" in names or b"gopclntab\0" in names or b".note.go.buildid\0" in names
        is_rust = b".dep-v0\0" in names
        if is_go or is_rust:
            binary.decode()
            yield from _read(file, binary, is_go=is_go)
        return
    if binary.cut:
        yield Gap(code="inventory.truncated", message="the file ends before its section table", path=file.path)
    if _UPX in file.read_at(0, _UPX_WINDOW):
        yield _packed(file)
        return
    yield from _read(
        file, binary, is_go=any(_is_go_note(binary, note.offset) for note in binary.segments if note.name == b"note")
    )


def _is_go_note(binary: Binary, offset: int) -> bool:
    """Say whether a note segment begins with the Go linker's build id: 4 bytes of owner, "Go"."""
    return binary.read_at(offset + 12, 4) == b"Go\0\0"


def _pe(file: File, head: bytes) -> Iterator[PackageEvidence | Gap]:
    binary = pe.read_pe(file.read_at, head)
    if binary is None or binary.managed:
        return
    names = {section.name for section in binary.sections}
    if b"UPX0" in names and b"UPX1" in names:
        yield _packed(file)
        return
    text = binary.section(b".text")
    is_go = text is not None and binary.read_at(text.offset, len(_GO_BUILD_ID)) == _GO_BUILD_ID
    if is_go or b".data" in names or rustaudit.SECTION in names:
        yield from _read(file, binary, is_go=is_go)


def _macho(file: File, head: bytes) -> Iterator[PackageEvidence | Gap]:
    seen: set[PackageEvidence | Gap] = set()
    for binary in macho.read_macho(file.read_at, head):
        is_go = binary.section(b"__gopclntab", *gobuild.SECTIONS) is not None
        for item in _read(file, binary, is_go=is_go):
            if item not in seen:
                seen.add(item)
                yield item


def _packed(file: File) -> Gap:
    return Gap(
        code="inventory.packed-binary", message="packed with UPX: what was compiled into it cannot be seen", path=file.path
    )


def _read(file: File, binary: Binary, *, is_go: bool) -> Iterator[PackageEvidence | Gap]:
    """Read what was found to be there; one damaged half does not hide the other."""
    try:
        build = gobuild.read_go_build(binary)
        if build is not None:
            yield from _go(build)
            if _hides_modules(build):
                message = (
                    "a Go program built without modules (GOPATH or vendored by a distribution): what it contains cannot be seen"
                )
                yield Gap(code="inventory.no-build-info", message=message, path=file.path)
        elif is_go:
            message = "a Go program without build information: its modules and compiler version cannot be seen"
            yield Gap(code="inventory.no-build-info", message=message, path=file.path)
    except (ParseError, IndexError) as error:
        yield Gap(code="inventory.unreadable", message=f"Go build information: {error}", path=file.path)
    audit = binary.section(rustaudit.SECTION)
    if audit is not None:
        for crate, needs in rustaudit.read_crates(binary.content(audit, rustaudit.MAX_COMPRESSED)):
            role = "main" if crate.root else ""
            yield PackageEvidence(type="cargo", name=crate.name, version=crate.version, role=role, depends=needs)


def _hides_modules(build: gobuild.GoBuild) -> bool:
    """Say whether modules are missing where there could be some: a single file or a toolchain program needs none."""
    return build.main is None and not build.modules and not build.program.startswith(("cmd/", "command-line-arguments"))


def _go(build: gobuild.GoBuild) -> Iterator[PackageEvidence]:
    standard = go_release(build.version)
    yield PackageEvidence(type="golang", name="stdlib", version=standard)
    if build.program.startswith("cmd/"):
        yield PackageEvidence(type="golang", name="toolchain", version=standard)
    elif build.main is not None:
        yield _module(gobuild.Module(build.main.path, _main_version(build, build.main)), role="main")
    for module in build.modules:
        yield _module(module)


def _module(module: gobuild.Module, role: str = "") -> PackageEvidence:
    namespace, _, name = module.path.rpartition("/")
    if not name:
        raise ParseError(f"a module without a name: {module.path!r}")
    version = "" if module.version == gobuild.DEVELOPMENT else module.version
    hashes = (Checksum("h1", module.sum[3:]),) if _SUM.fullmatch(module.sum) else ()
    return PackageEvidence(type="golang", namespace=namespace, name=name, version=version, role=role, hashes=hashes)


def go_release(version: str) -> str:
    """Return the release of a compiler in SemVer form, "" where it is none: "go1.22 X:boringcrypto" is 1.22.0."""
    found = _GO_VERSION.match(version)
    if found is None:
        return ""
    major, minor, patch, stage, number = found.groups()
    return f"{major}.{minor}.{patch or 0}" + (f"-{stage}.{number}" if stage else "")


def _main_version(build: gobuild.GoBuild, main: gobuild.Module) -> str:
    """Return the main module's version: the compiler's, else what the linker flags set where they agree on one.

    Without tags at hand the compiler (1.24 and later) makes up v0.0.0-DATE-COMMIT, older than all releases: flags know better.
    """
    if main.version not in {"", gobuild.DEVELOPMENT} and not main.version.startswith(_PSEUDO_OF_NO_TAG):
        return main.version
    flags = build.settings.get("-ldflags", "")
    linked = {
        version
        for package, version in _LINKED_VERSION.findall(flags)
        if package == "main" or f"{package}/".startswith(f"{main.path}/")
    }
    return f"v{linked.pop()}" if len(linked) == 1 else main.version
