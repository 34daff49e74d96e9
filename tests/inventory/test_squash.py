"""Squashing against a naive model: a file system in memory to which entries are applied one by one, as runtimes do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import imagebuilder
from imagebuilder import Entry, hardlink, symlink
from pratique.image.blob import Deadline, Region
from pratique.image.walk import LayerWalk
from pratique.inventory.examine import Examiner
from pratique.inventory.interest import InterestIndex
from pratique.inventory.squash import Squashed, squash
from pratique.model.finding import Finding, Severity
from pratique.model.inventory import Evidence, Gap, PackageEvidence
from pratique.model.layer import Inspected, LayerRecord, LayerTree, Located
from pratique.model.ports import File, Interest

Item = tuple[str, str | bytes | Entry]
Layer = Sequence[Item]


class Reader:
    """Wants files named w and v; a package whose name is the file's content."""

    name = "reader"
    version = 1
    interest = Interest(names=("w", "v"))

    def inspect(self, file: File) -> Iterator[Evidence | Finding | Gap]:
        yield PackageEvidence(type="generic", name=file.read().decode(), version="1")


def record(layer: Layer, number: int = 0) -> LayerRecord:
    """Examine a layer as a scan does, but for links between layers."""
    data = imagebuilder.layer_of_entries(layer)
    descriptor = os.memfd_create("layer")
    try:
        os.write(descriptor, data)
        index = InterestIndex([Reader.interest])
        examiner = Examiner([Reader()])
        walk = LayerWalk(Region(descriptor, 0, len(data)), index.select, Deadline(None))
        for wanted in walk:
            examiner.look(wanted.path, wanted.selection, wanted.file, wanted.size)
    finally:
        os.close(descriptor)
    assert not walk.gaps
    return LayerRecord(diff_id=f"sha256:{number}", tree=walk.tree, inspected=examiner.inspected())


def seen_at(squashed: Squashed) -> dict[str, str]:
    """Return path -> content, and check that no path has two."""
    found: dict[str, str] = {}
    for seen in squashed.alive:
        for evidence in seen.located.evidence:
            assert isinstance(evidence, PackageEvidence)
            found[seen.located.path] = evidence.name
    return found


class Refused(Exception):  # noqa: N818 - what a runtime answers
    """A layer that no runtime could apply."""


Node = dict[str, "Node"] | str | tuple[str]  # a folder, a file's content, a link's target


class Naive:
    """The model."""

    def __init__(self) -> None:
        self.root: dict[str, Node] = {}

    def resolve(self, parts: Sequence[str], *, make: bool) -> dict[str, Node]:
        """Walk folders, following links as a kernel does; make those that are missing."""
        stack = [self.root]
        pending = list(parts)[::-1]
        followed = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del stack[1:][-1:]
                stack = stack[:-1] or [self.root]
                continue
            node = stack[-1].get(part)
            if isinstance(node, tuple):
                followed += 1
                if followed > 40:
                    raise Refused
                if node[0].startswith("/"):
                    stack = [self.root]
                pending += node[0].split("/")[::-1]
            elif isinstance(node, dict):
                stack.append(node)
            elif node is None and make:
                fresh: dict[str, Node] = {}
                stack[-1][part] = fresh
                stack.append(fresh)
            else:
                raise Refused
        return stack[-1]

    def apply(self, layer: Layer) -> None:
        """Whiteouts first, which see links but not those that the layer replaces by folders, then entry by entry."""
        brought = {name.rstrip("/") for name, content in layer if name.endswith("/")}
        for name, _ in layer:
            *folders, base = name.split("/")
            if base.startswith(".wh."):
                self._whiteout(folders, base, brought)
        for name, content in layer:
            if not name.rpartition("/")[2].startswith(".wh."):
                self._entry(name, content)

    def _whiteout(self, folders: list[str], base: str, brought: set[str]) -> None:
        for end in range(1, len(folders) + 1):
            assume("/".join(folders[:end]) not in brought or not self._is_link(folders[:end]))
        try:
            inside = self.resolve(folders, make=False)
        except Refused:
            return
        if base == ".wh..wh..opq":
            inside.clear()
        else:
            inside.pop(base[4:], None)

    def _is_link(self, parts: list[str]) -> bool:
        try:
            return isinstance(self.resolve(parts[:-1], make=False).get(parts[-1]), tuple)
        except Refused:
            return False

    def _entry(self, name: str, content: str | bytes | Entry) -> None:
        *folders, base = name.rstrip("/").split("/")
        inside = self.resolve(folders, make=True)
        if name.endswith("/"):
            if not isinstance(inside.get(base), dict):
                assume(base not in inside or inside is self._plain(folders))  # records do not tell when it came
                inside[base] = {}
        elif isinstance(content, Entry) and content.type == b"2":
            inside[base] = (content.link,)
        elif isinstance(content, Entry) and content.type == b"1":
            *where, what = content.link.split("/")
            target = self.resolve(where, make=False).get(what)
            if not isinstance(target, str):
                raise Refused
            inside[base] = target
        else:
            inside[base] = str(content)

    def _plain(self, folders: list[str]) -> Node | None:
        """Walk folders without following links."""
        node: Node | None = self.root
        for part in folders:
            node = node.get(part) if isinstance(node, dict) else None
        return node

    def files(self, node: Node | None = None, path: str = "") -> dict[str, str]:
        """Return all files by path."""
        found: dict[str, str] = {}
        for name, child in (self.root if node is None else node).items() if not isinstance(node, str | tuple) else ():
            if isinstance(child, str):
                found[path + name] = child
            elif isinstance(child, dict):
                found |= self.files(child, f"{path}{name}/")
        return found


NAMES = st.sampled_from(["a", "b", "w"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.one_of(PATHS, PATHS.map("/{}".format), PATHS.map("../{}".format), st.sampled_from([".", "..", "/", "a/../b"]))
ENTRIES = st.one_of(
    st.tuples(PATHS, st.sampled_from(["1", "2", "3", "4", "5"])),
    st.tuples(PATHS, st.sampled_from(["6", "7", "8", "9"])),
    st.tuples(PATHS.map("{}/".format), st.just(b"")),
    st.tuples(PATHS, TARGETS.map(symlink)),
)
WHITEOUTS = st.one_of(
    st.tuples(PATHS, NAMES).map(lambda pair: (f"{pair[0]}/.wh.{pair[1]}", b"")),
    NAMES.map(lambda name: (f".wh.{name}", b"")),
    PATHS.map(lambda path: (f"{path}/.wh..wh..opq", b"")),
)
LAYERS = st.tuples(st.lists(WHITEOUTS, max_size=2), st.lists(ENTRIES, max_size=6)).map(lambda parts: parts[0] + parts[1])


def ordinary(layer: Layer) -> bool:
    """Say whether a layer is one that an archiver could write.

    A folder's entry comes before what is in it, and a name that was a link is not written again after it was written through. (In
    the model: no folder's entry takes the place of a file by way of a link.)
    """
    names = [name for name, _ in layer if "/.wh." not in f"/{name}"]
    links = [name for name, content in layer if isinstance(content, Entry)]
    return all(names.count(name) + names.count(f"{name}/") == 1 for name in links) and all(
        not any(earlier.startswith(name) for earlier in names[:place]) for place, name in enumerate(names) if name.endswith("/")
    )


@settings(max_examples=400)
@given(st.lists(LAYERS, min_size=1, max_size=4))
@example([[("a/w", "1")], [("b", symlink("a")), ("b/w", "2")]])
@example([[("a", symlink("b")), ("b/w", "1")], [("a/", b""), ("a/w", "2")]])
@example([[("a/w", "1")], [("a", symlink("b")), ("a/w", "2")]])
@example([[("a/w", "1"), ("a", "file"), ("a/", b""), ("a/b", "2")]])
@example([[("a", symlink("b")), ("b", symlink("a")), ("w", "1")]])
@example([[("a/b/w", "1")], [("a/.wh..wh..opq", b""), ("a/w", "2")], [("a/.wh.w", b"")]])
def test_what_survives_is_what_a_runtime_shows(layers: list[list[Item]]) -> None:
    """The evidence of the squashed layers is that of the files in the model's tree, with the content they have there."""
    model = Naive()
    try:
        for layer in layers:
            assume(ordinary(layer))
            model.apply(layer)
    except Refused:
        assume(False)
    squashed = squash([record(layer, number) for number, layer in enumerate(layers)])
    expected = {path: content for path, content in model.files().items() if path.rpartition("/")[2] == "w"}
    assert seen_at(squashed) == expected


def located(content: str, path: str = "w") -> Located:
    return Located(path, (PackageEvidence(type="deb", name=content, version="1"),))


def test_findings_in_hidden_files_are_leaked() -> None:
    """What an upper layer hides is no longer installed, but anybody can still read a secret in it."""
    finding = Finding(kind="secret", id="key", title="a key", message="", severity=Severity.HIGH, fingerprint="f")
    lower = LayerRecord(
        diff_id="sha256:0",
        tree=LayerTree(files=b"a/w"),
        inspected={"reader": Inspected(1, (Located("a/w", (located("p").evidence), (finding,)),))},
    )
    uppers: list[list[Item]] = [
        [("a/.wh.w", b"")],
        [("a/.wh..wh..opq", b"")],
        [(".wh.a", b"")],
        [("a", "file")],
        [("a/w", "new")],
    ]
    for upper in uppers:
        squashed = squash([lower, record(upper, 1)])
        assert [seen.located.findings for seen in squashed.leaked] == [(finding,)]
        assert "p" not in seen_at(squashed).values()
    assert [seen.located.findings for seen in squash([lower]).alive] == [(finding,)]


def status(*packages: tuple[str, str]) -> LayerRecord:
    """A layer that writes a package database."""
    evidence = tuple(PackageEvidence(type="deb", name=name, version=version) for name, version in packages)
    return LayerRecord(
        diff_id="sha256:x", tree=LayerTree(files=b"status"), inspected={"dpkg": Inspected(1, (Located("status", evidence),))}
    )


def test_a_package_belongs_to_the_layer_that_brought_it() -> None:
    """Rewriting the database moves nobody; an upgrade does, and so does removing and installing again."""
    squashed = squash(
        [
            status(("old", "1"), ("upgraded", "1"), ("back", "1")),
            status(("old", "1"), ("upgraded", "1")),
            status(("old", "1"), ("upgraded", "2"), ("back", "1"), ("new", "1")),
        ]
    )
    [seen] = squashed.alive
    origins = {key[1]: layer for key, layer in seen.origins.items()}
    assert origins == {"old": 0, "upgraded": 2, "back": 2, "new": 2}


def test_within_one_layer() -> None:
    """What the same archive writes again replaces what was there, whatever it is."""
    cases: list[tuple[Layer, dict[str, str]]] = [
        ([("w", "1"), ("w", "2")], {"w": "2"}),
        ([("w", "1"), ("w", symlink("x"))], {}),
        ([("w", symlink("x")), ("w", "1")], {"w": "1"}),
        ([("w", "1"), ("w/", b"")], {}),
        ([("d/w", "1"), ("d", "file")], {}),
        ([("d/", b""), ("d/w", "1"), ("d", symlink("e")), ("d/v", "2")], {"e/v": "2"}),
        ([("d", symlink("e")), ("d/w", "1"), ("e/w", "2")], {"e/w": "2"}),
        ([("e/w", "2"), ("d", symlink("e")), ("d/w", "1")], {"e/w": "1"}),
        ([("d", symlink("e")), ("d/", b""), ("d/w", "1")], {"d/w": "1"}),
        ([("w", "1"), (".wh.w", b"")], {"w": "1"}),
    ]
    for layer, expected in cases:
        assert seen_at(squash([record(layer)])) == expected, layer


def test_gaps_go_with_their_files() -> None:
    """What could not be read in a file that is gone is no gap of the image; what cannot be placed stays one."""
    gap = Gap(code="inventory.unreadable", message="damaged", path="a/w.jar!/inner")
    flood = Gap(code="inventory.too-many", message="more")
    lower = LayerRecord(
        diff_id="sha256:0", tree=LayerTree(files=b"a/w.jar"), inspected={"reader": Inspected(1, (), (gap, flood))}
    )
    assert [gap.code for gap in squash([lower]).gaps] == ["inventory.too-many", "inventory.unreadable"]
    assert [gap.layer for gap in squash([lower]).gaps] == ["sha256:0"] * 2
    assert [gap.code for gap in squash([lower, record([("a/.wh.w.jar", b"")], 1)]).gaps] == ["inventory.too-many"]


def test_deep_and_looping_links_end() -> None:
    """Thousands of levels and links that lead nowhere take neither a deep stack nor long."""
    deep = "/".join(["a"] * 2000)
    layers: list[list[Item]] = [
        [("a", symlink("b/" * 500 + "c")), ("x", symlink("x/x"))],
        [(f"{deep}/w", "1"), ("x/x/w", "2")],
        [(f".wh.{'y' * 90}", b"")],
    ]
    squashed = squash([record(layer, number) for number, layer in enumerate(layers)])
    assert sorted(seen_at(squashed).values()) == ["1", "2"]


def test_hard_links() -> None:
    """A link has what content chose in its target, in this layer or a lower one; names choose for themselves."""
    first = record([("bin", "x"), ("again", hardlink("bin"))])
    seen = Located("bin", (PackageEvidence(type="golang", name="m", version="1"),), content=True)
    first.inspected["reader"] = Inspected(1, (seen,))
    second = LayerRecord(diff_id="sha256:1", tree=LayerTree(files=b"more", hardlinks={b"more": b"bin"}), inspected={})
    third = record([(".wh.bin", b"")], 2)
    assert sorted(seen_at(squash([first, second, third]))) == ["again", "more"]
