"""Layers laid over one another: what a container finds, with owners and links."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.workload.rootfs import Item, Layers, Rootfs, accounts, group_number, groups_of

FOLDER = Item("folder", 0o755, 0, 0)
OTHERS = Item("file", 0o644, 7, 7)  # of another owner than root, so that it is kept


def test_upper_layers_win() -> None:
    """A whiteout hides, an opaque folder hides what is below, a folder keeps what is in it, a file takes a folder's place."""
    layers = Layers()
    for path in ("a/x", "a/y", "b/x", "c/x"):
        layers.put(path, OTHERS)
    layers.hide("a/x")
    layers.clear("b")
    layers.put("b/new", OTHERS)
    layers.put("a", Item("folder", 0o700, 5, 5))
    layers.put("c", OTHERS)
    found = layers.rootfs().items
    assert set(found) == {"/", "/a", "/a/y", "/b", "/b/new", "/c"}
    assert (found["/a"].mode, found["/a"].uid, found["/a"].members) == (0o700, 5, 1)
    assert found["/c"].kind == "file"


def test_files_of_root_are_counted_and_left_out() -> None:
    """Only what somebody may want to know is kept; what is there is counted."""
    layers = Layers()
    layers.put("etc/plain", Item("file", 0o644, 0, 0))
    layers.put("etc/open", Item("file", 0o666, 0, 0))
    layers.put("etc/rights", Item("file", 0o4755, 0, 0))
    found = layers.rootfs().items
    assert set(found) == {"/", "/etc", "/etc/open", "/etc/rights"}
    assert found["/etc"].members == 3


def test_entries_below_a_link_go_where_it_leads() -> None:
    """As runtimes extract them: inside of the image, never out of it."""
    layers = Layers()
    layers.put("usr/bin", FOLDER)
    layers.put("bin", Item("link", 0o777, 0, 0, "usr/bin"))
    layers.put("out", Item("link", 0o777, 0, 0, "../../../usr"))
    layers.put("bin/tool", OTHERS)
    layers.put("out/more", OTHERS)
    found = layers.rootfs()
    assert "/usr/bin/tool" in found.items
    assert "/usr/more" in found.items
    assert found.resolve("/bin/tool") == ("/usr/bin/tool", OTHERS)
    assert found.resolve("/out/../usr/./more")[0] == "/usr/more"


def test_links_in_a_circle_end() -> None:
    """Somewhere, without an answer."""
    rootfs = Rootfs({"/a": Item("link", 0o777, 0, 0, "b"), "/b": Item("link", 0o777, 0, 0, "a")})
    assert rootfs.resolve("/a/x")[1] is None
    layers = Layers()
    layers.put("a", Item("link", 0o777, 0, 0, "a"))
    layers.put("a/x", OTHERS)
    assert any(path.endswith("/x") for path in layers.rootfs().items)


def test_rights() -> None:
    """The owner's part counts for the owner, the group's for the group, even where others have more."""
    item = Item("file", 0o027, 1, 2)
    assert not item.allows(4, 1, frozenset((2,)))
    assert item.allows(2, 9, frozenset((2,)))
    assert not item.allows(4, 9, frozenset((2,)))
    assert item.allows(4, 9, frozenset())


def test_accounts() -> None:
    """As /etc/passwd and /etc/group have them; what is no line is passed over."""
    passwd = Item(
        "file", 0o644, 0, 0, content=b"root:x:0:0::/root:/bin/sh\n# c\nbroken:x:a:b::/\napp:x:5:6:,,:/a:/bin/sh\napp:x:9:9::/:\n"
    )
    group = Item("file", 0o644, 0, 0, content=b"g:x:7:other,app\nh:x:8:\n")
    rootfs = Rootfs({"/etc/passwd": passwd, "/etc/group": group})
    assert accounts(rootfs) == {"root": (0, 0, "/root"), "app": (5, 6, "/a")}
    assert groups_of(rootfs, "app") == {7}
    assert (group_number(rootfs, "h"), group_number(rootfs, "none")) == (8, None)


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a", "../a", "a/../b", "/a/b/"])
ENTRIES = st.one_of(
    st.tuples(
        st.just("put"), NAMES, st.sampled_from([FOLDER, OTHERS, Item("link", 0o777, 0, 0, "b"), Item("link", 0o777, 0, 0, "/")])
    ),
    st.tuples(st.just("hide"), NAMES, st.just(FOLDER)),
    st.tuples(st.just("clear"), NAMES, st.just(FOLDER)),
)


@settings(max_examples=60)
@given(st.lists(ENTRIES, max_size=12))
def test_any_layers_make_a_tree(entries: list[tuple[str, str, Item]]) -> None:
    """Whatever comes in whatever order: every path has its folder, which counts it."""
    layers = Layers()
    for what, path, item in entries:
        if what == "put":
            layers.put(path, item)
        elif what == "hide":
            layers.hide(path)
        else:
            layers.clear(path)
    items = layers.rootfs().items
    counted: dict[str, int] = {}
    for path in items:
        if path != "/":
            above = path.rpartition("/")[0] or "/"
            assert items[above].kind == "folder"
            counted[above] = counted.get(above, 0) + 1
    assert all(item.members == counted.get(path, 0) for path, item in items.items() if item.kind == "folder")
