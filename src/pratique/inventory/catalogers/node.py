"""Manifests of installed Node packages in, npm packages out; and Node itself, where it was unpacked below /usr/local.

Which `package.json` is evidence:

- Inside a `node_modules` folder only one directly in `NAME` or `@SCOPE/NAME` below the innermost `node_modules`, as Node
  resolves names. That holds for npm, yarn and pnpm alike (`.pnpm/x@1/node_modules/x`, `.yarn/unplugged/x/node_modules/x`).
  Deeper ones are test fixtures, templates and markers such as {"type": "module"}; taken as packages they are false positives.
- Next.js bundles dependencies with their manifests in `next/dist/compiled/NAME`; those that still state that name and a version
  are code that runs, as much as if they were installed.
- Debian's `usr/share/nodejs/NAME` is Node's search path there, so it is read like a `node_modules`.
- Anywhere else it is an application's own manifest (role "main"), or part of a Python package (no role).

The name is the manifest's own: a folder may have an alias's name. Yarn's Plug'n'Play keeps packages inside zip files and
lists them in `.pnp.cjs` (or `.pnp.js`, `.pnp.data.json`): that table is what runs, so it is the evidence and the zips need
not be opened.

https://docs.npmjs.com/cli/configuring-npm/package-json https://yarnpkg.com/advanced/pnp-spec
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from pratique.model.errors import ParseError
from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

# The largest manifests on the registry are some 100 KB; the table of a work space with 3,000 packages is 5 MB.
MAX_BYTES = 32 * MEBIBYTE
MAX_MANIFEST = 4 * MEBIBYTE
MAX_PACKAGES = 50_000
# The registry allows 214 characters; local names are not longer either.
MAX_NAME = 214
MAX_LICENSES = 16

_TABLES = (".pnp.cjs", ".pnp.js", ".pnp.data.json")
_NODE_HEADER = "usr/local/include/node/node_version.h"
_DEBIAN = re.compile(r"usr/(?:share|lib|lib/[^/]+)/nodejs/(.*)")
# yarn's pnpm-like linker: node_modules/.store/SLUG/package
_STORE = re.compile(r"\.store/[^/]+/package")
_COMPILED = "/dist/compiled/"
_ASSET = re.compile(r"(?:^|/)(?:site|dist)-packages/")
_BOM = b"\xef\xbb\xbf"


class _Manifest(msgspec.Struct):
    name: Any = None
    version: Any = None
    license: Any = None
    licenses: Any = None


_DECODER = msgspec.json.Decoder(_Manifest)


class _Node:
    """The inspector: see the module's text."""

    name = "node"
    version = 1
    interest = Interest(names=("package.json", *_TABLES), paths=(_NODE_HEADER,), max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[PackageEvidence | Gap]:
        """Yield the package that a manifest describes, or those of a Plug'n'Play table. Raises ParseError, ValueError."""
        path = file.path
        if path == _NODE_HEADER:
            yield _runtime(file.read_at(0, MEBIBYTE))
        elif path.endswith("package.json"):
            folder = path[: -len("/package.json")]
            inside = _inside(folder)
            if inside is None:
                yield from _manifest(file, "", "" if _ASSET.search(path) else "main")
            elif _is_package(inside):
                yield from _manifest(file, inside, "")
            elif _COMPILED in inside:
                yield from _bundled(file, inside.rpartition(_COMPILED)[2])
        else:
            yield from _table(file)


INSPECTOR = _Node()


def _inside(folder: str) -> str | None:
    """Return the part of a folder's path below its innermost node_modules; None where there is none."""
    _, found, inside = f"/{folder}".rpartition("/node_modules/")
    if found:
        return inside
    if folder.endswith("node_modules"):
        return ""
    debian = _DEBIAN.fullmatch(folder)
    return debian[1] if debian else None


def _is_package(inside: str) -> bool:
    """Say whether it is NAME or @SCOPE/NAME. Names that begin with a dot are folders of tools (.vite, .cache, .pnpm)."""
    if inside.startswith("."):
        return _STORE.fullmatch(inside) is not None
    return inside.count("/") == (1 if inside.startswith("@") else 0) and inside != ""


def _manifest(file: File, folder: str, role: str) -> Iterator[PackageEvidence | Gap]:
    if file.size > MAX_MANIFEST:
        raise ParseError(f"a package.json of {file.size} bytes; at most {MAX_MANIFEST} are read")
    manifest = _DECODER.decode(file.read().removeprefix(_BOM))
    name, version = _text(manifest.name), _text(manifest.version)
    if version and folder and not name:
        name = folder
    if name and version:
        yield _package(name, version, _licenses(manifest), role)
    elif name and folder:
        # What is not below node_modules may leave its version out: an application that is never published needs none.
        yield Gap(
            code="inventory.invalid", message=f"node: the installed package {name[:MAX_NAME]} has no version", path=file.path
        )


def _bundled(file: File, folder: str) -> Iterator[PackageEvidence | Gap]:
    """Read a bundled copy's manifest. Most were stripped of their version, and are then a part of who bundles them."""
    for seen in _manifest(file, "", ""):
        if isinstance(seen, PackageEvidence) and f"{seen.namespace}/{seen.name}".lstrip("/") == folder:
            yield seen


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _package(name: str, version: str, licenses: tuple[str, ...] = (), role: str = "") -> PackageEvidence:
    scope, _, short = name.partition("/") if name.startswith("@") else ("", "", name)
    if not short or "/" in short or len(name) > MAX_NAME or len(version) > MAX_NAME:
        raise ParseError(f"no name and version of a Node package: {name[:MAX_NAME]!r} {version[:MAX_NAME]!r}")
    # npm itself reads "v1.2.3" and "=1.2.3" as 1.2.3.
    return PackageEvidence(
        type="npm", namespace=scope, name=short, version=version.lstrip("=v ") or version, licenses=licenses, role=role
    )


def _licenses(manifest: _Manifest) -> tuple[str, ...]:
    """Read `license` as a string or the older {"type": ...}, or the older list `licenses` of either."""
    stated = manifest.license or manifest.licenses
    listed = stated[:MAX_LICENSES] if isinstance(stated, list) else [stated]
    names = (_text(one.get("type")) if isinstance(one, dict) else _text(one) for one in listed)
    return tuple(dict.fromkeys(name[:MAX_NAME] for name in names if name))


def _runtime(header: bytes) -> PackageEvidence:
    """Read Node's version from its own header file, which the official images bring."""
    stated = dict(re.findall(rb"^#define NODE_(MAJOR|MINOR|PATCH)_VERSION (\d{1,4})\s", header, re.MULTILINE))
    try:
        version = b".".join((stated[b"MAJOR"], stated[b"MINOR"], stated[b"PATCH"])).decode()
    except KeyError as error:
        raise ParseError("no version of Node in its header file") from error
    return PackageEvidence(type="generic", name="node", version=version, licenses=("MIT",))


def _table(file: File) -> Iterator[PackageEvidence | Gap]:
    """Read a Plug'n'Play table: packageRegistryData is a list of [name, list of [reference, facts]]."""
    rows = _state(file.read(), file.path).get("packageRegistryData")
    if not isinstance(rows, list):
        raise ParseError("a Plug'n'Play table without packages")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name, references = row if isinstance(row, list) and len(row) == 2 else (None, None)
        if name is None or not isinstance(references, list):
            continue  # the work space itself has no name here; its package.json says what it is
        for reference in references:
            found = _resolved(name, reference[0]) if isinstance(reference, list) and reference else None
            if found and found not in seen:
                seen.add(found)
                yield _package(*found)
                if len(seen) > MAX_PACKAGES:
                    raise ParseError(f"more than {MAX_PACKAGES} packages in a Plug'n'Play table")


def _state(data: bytes, path: str) -> dict[str, Any]:
    """Cut the table out of the script that holds it. Yarn 3.2 and later write it as one quoted string, earlier as an object."""
    if not path.endswith(".json"):
        start = data.find(b"RAW_RUNTIME_STATE =")
        if start >= 0:
            first = data.find(b"'", start) + 1
            last = data.find(b"';", first)
            if first == 0 or last < 0:
                raise ParseError("the Plug'n'Play table is cut off")
            data = _unquote(data[first:last])
        else:
            return _object(data)
    state = msgspec.json.decode(data.removeprefix(_BOM))
    if not isinstance(state, dict):
        raise ParseError("a Plug'n'Play table that is no object")
    return state


_LAST_COMMA = re.compile(rb",(?=\s*[}\]])")


def _unquote(text: bytes) -> bytes:
    """Undo the quoting of a JavaScript string as Yarn writes it: backslashes, quotes and continued lines."""
    parts = text.replace(b"\r\n", b"\n").split(b"\\\\")
    return b"\\".join(part.replace(b"\\\n", b"").replace(b"\\'", b"'") for part in parts)


def _object(data: bytes) -> dict[str, Any]:
    """Read the object that earlier Yarn passes to hydrateRuntimeState."""
    from json import JSONDecoder  # noqa: PLC0415 - rarely needed, and 3 ms to import

    at = data.find(b"hydrateRuntimeState({")
    if at < 0:
        # With pnpEnableInlining off the table stands in .pnp.data.json, and the script says so.
        if b".pnp.data.json" in data:
            return {"packageRegistryData": []}
        raise ParseError("no Plug'n'Play table")
    # It is JSON but for a comma behind the last field, which JavaScript allows.
    state = JSONDecoder().raw_decode(_LAST_COMMA.sub(b"", data[at + len(b"hydrateRuntimeState(") :]).decode())[0]
    return state if isinstance(state, dict) else {}


def _resolved(name: Any, reference: Any) -> tuple[str, str] | None:
    """Return name and version that a reference stands for; None for work spaces, links and what comes from no registry.

    Forms: npm:1.2.3, npm:other@1.2.3 (an alias), virtual:HASH#npm:1.2.3 (bound to peers), patch:name@npm%3A1.2.3#... (patched).
    """
    if not (isinstance(name, str) and isinstance(reference, str)):
        return None
    kind, _, rest = reference.partition(":")
    if kind == "virtual":
        return _resolved(name, rest.partition("#")[2])
    if kind == "patch":
        patched, _, inner = unquote(rest.partition("#")[0]).rpartition("@")
        return _resolved(patched, inner)
    if kind != "npm":
        return None
    version = rest.partition("::")[0]
    alias, at, aliased = version.rpartition("@")
    return (alias, aliased) if at and alias else (name, version)
