"""Bytes of TOML, JSON, YAML and XML in, plain values out, whoever wrote them: bounded in size, depth and expansion.

Nothing is fetched, no entity or alias is expanded, no tag builds an object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pratique.model.errors import ParseError
from pratique.model.ports import MEBIBYTE

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_TOML = 8 * MEBIBYTE  # tomllib reads some 2 MB a second; locks of the largest projects are 2 MB
MAX_YAML = 16 * MEBIBYTE  # 20 MB a second; the largest known lock is 4 MB
MAX_XML = 4 * MEBIBYTE  # project files that people write stay below 1 MB
MAX_DEPTH = 64  # lock files nest to 6; libyaml's time grows with the square of the depth
MAX_DOTS = 200  # parts of a dotted key: tomllib's time grows with their square
BOM = b"\xef\xbb\xbf"


def toml(data: bytes) -> dict[str, Any]:
    """Read TOML 1.0. Raises ParseError, ValueError (TOMLDecodeError, UnicodeDecodeError), RecursionError."""
    import tomllib  # noqa: PLC0415 - only for files of this kind

    if len(data) > MAX_TOML:
        raise ParseError(f"{len(data)} bytes of TOML; at most {MAX_TOML} are read")
    # A key's dots stand before an equals sign or, in a table's header, on a line of their own.
    if any(part.count(b".") > MAX_DOTS for part in data.replace(b"=", b"\n").split(b"\n")):
        raise ParseError(f"a key of more than {MAX_DOTS} parts")
    return tomllib.loads(data.removeprefix(BOM).decode())


def record(value: Any, key: str) -> dict[str, Any]:
    """Return the table under a key, an empty one where there is none or something else."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def records(value: Any, key: str) -> list[dict[str, Any]]:
    """Return the tables in the list under a key."""
    found = value.get(key) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def text(value: Any, key: str) -> str:
    """Return the text under a key, "" where there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found.strip() if isinstance(found, str) else ""


def json_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises ParseError, ValueError (msgspec), RecursionError."""
    return msgspec.json.decode(data.removeprefix(BOM), type=dict[str, Any])


def yaml_mappings(data: bytes) -> list[dict[str, Any]]:
    """Read YAML documents, each a mapping of mappings, lists and texts.

    Every scalar stays a text, so that version 1.10 is not the number 1.1. Built from libyaml's events, as its composer recurses
    in C without a bound. Anchors and aliases are refused: no lock file has them. Raises ParseError.
    """
    import yaml  # 20 ms to import

    if len(data) > MAX_YAML:
        raise ParseError(f"{len(data)} bytes of YAML; at most {MAX_YAML} are read")
    try:
        documents = _build(data, yaml)
    except yaml.YAMLError as error:
        raise ParseError(f"no YAML: {str(error).splitlines()[0]}") from error
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise ParseError("YAML that is no mapping")
    return documents


def _build(data: bytes, yaml: Any) -> list[Any]:
    """Turn events into values. `stack` holds the open containers, `keys` the key that each open mapping waits to fill."""
    scalar, start_map, start_list = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
    ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
    stack: list[Any] = []
    keys: list[Any] = []
    documents: list[Any] = []
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        kind = event.__class__
        if kind is scalar:
            value = event.value
        elif kind is start_map or kind is start_list:
            value = {} if kind is start_map else []
        elif kind in ends:
            stack.pop()
            keys.pop()
            continue
        elif kind is yaml.AliasEvent:
            raise ParseError("a YAML alias in a lock file")
        else:
            continue  # where the stream and its documents begin and end
        if not stack:
            documents.append(value)
        else:
            _place(stack[-1], keys, value)
        if kind is not scalar:
            if len(stack) >= MAX_DEPTH:
                raise ParseError(f"YAML nested deeper than {MAX_DEPTH}")
            stack.append(value)
            keys.append(None)
    return documents


def _place(container: Any, keys: list[Any], value: Any) -> None:
    if isinstance(container, list):
        container.append(value)
    elif keys[-1] is None:
        if not isinstance(value, str):
            raise ParseError("a YAML key that is no text")
        if value in container:
            raise ParseError(f"the YAML key {value[:80]!r} stands twice in one mapping")
        keys[-1] = value
    else:
        container[keys[-1]] = value
        keys[-1] = None


def xml(data: bytes) -> _Element:
    """Read an XML document in UTF-8 or another encoding that agrees with ASCII. Raises ParseError.

    A document type, and with it every entity, is refused before and after parsing.
    """
    from lxml import etree  # 20 ms to import

    if len(data) > MAX_XML:
        raise ParseError(f"{len(data)} bytes of XML; at most {MAX_XML} are read")
    data = data.removeprefix(BOM).lstrip()
    if not data.startswith(b"<") or b"\0" in data:
        raise ParseError("no XML, or in an encoding unlike ASCII")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ParseError("XML with a document type is not read")
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ParseError(f"no XML: {error.msg}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ParseError("XML with a document type is not read")
    return root
