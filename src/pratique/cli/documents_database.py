"""What `pratique db` prints with `--format json`, as types from which the schemas are made."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from pratique.advisory.compare import Difference
from pratique.advisory.index import Entry
from pratique.cli.documents import fields_of
from pratique.model.advisory import Advisory, Exploited, ExploitScore, Ssvc

_States = Literal["ok", "stale", "missing", "failed", "ahead", "outdated"]
_SOURCE_MORE = {"state": _States, "age_seconds": int | None, "known_since": str | None}
Source = TypedDict("Source", {**fields_of(Entry), **_SOURCE_MORE})  # type: ignore[misc]  # its members are those of a struct, and more


class DatabaseStatus(TypedDict):
    """`db status`."""

    kind: str
    built_at: str
    digest: str
    folder: str
    sources: list[Source]


class Touched(TypedDict):
    """A package of an inventory that a difference is about."""

    file: str
    purl: str
    name: str
    version: str


_HEAD = {"schema": Literal["urn:pratique:schema:database-difference-1"], "old": str, "new": str, "scores_changed": int}
_DIFFERENCE = {**fields_of(Difference), "scores": NotRequired[list[str]], "inventory": NotRequired[list[Touched]]}
DatabaseDifference = TypedDict("DatabaseDifference", {**_HEAD, **_DIFFERENCE})  # type: ignore[misc]  # as above


class Affected(TypedDict):
    """A package that an advisory is about."""

    feed: str
    id: str
    ecosystem: str
    package: str
    versions: str


_Known = TypedDict("_Known", {"feed": str, **fields_of(Advisory)})  # type: ignore[misc]  # as above


class Shown(TypedDict):
    """`db show`."""

    id: str
    advisories: list[_Known]
    affected: list[Affected]
    kev: list[Exploited]
    epss: list[ExploitScore]
    ssvc: dict[str, Ssvc]


class PackageFound(TypedDict):
    """A package by its name, and how many advisories are about it."""

    feed: str
    ecosystem: str
    package: str
    advisories: int


class AdvisoryFound(TypedDict):
    """An advisory by its name or title; `aliases` are separated by spaces."""

    feed: str
    id: str
    aliases: str
    title: str


class Searched(TypedDict):
    """`db search`; `more` says that there was more than --limit."""

    text: str
    packages: list[PackageFound]
    advisories: list[AdvisoryFound]
    more: bool
