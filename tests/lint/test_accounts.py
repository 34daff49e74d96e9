"""Accounts of an image: files of /etc in, what is wrong with them out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.inventory.detectors.accounts import INSPECTOR, MAX_ENTRIES
from pratique.lint.accounts import MAX_FINDINGS, check_accounts
from pratique.lint.run import Found, lint_image
from pratique.model.inventory import AccountFile, AccountsEvidence, Gap

SHA512 = "$6$saltsalt$" + "a" * 86
MODES = {"passwd": 0o644, "shadow": 0o640, "group": 0o644, "gshadow": 0o640}
ROOT = "root:x:0:0:root:/root:/bin/sh\n"


class Memory:
    """A file as inspectors see it."""

    def __init__(self, name: str, content: bytes, mode: int) -> None:
        self.path, self.mode, self.size, self._content = f"etc/{name}", mode, len(content), content

    def read(self) -> bytes:
        """Return all of it."""
        return self._content

    def read_at(self, offset: int, length: int) -> bytes:
        """Return a part of it."""
        return self._content[offset : offset + length]


def read(name: str, content: bytes, mode: int) -> tuple[AccountFile, list[Gap]]:
    """Inspect one file."""
    seen = list(INSPECTOR.inspect(Memory(name, content, mode)))
    (one,) = [item for item in seen if isinstance(item, AccountsEvidence)]
    gaps = [item for item in seen if isinstance(item, Gap)]
    return AccountFile(file=one.file, layer="sha256:0", mode=one.mode, entries=one.entries), gaps


def files(contents: dict[str, str], modes: dict[str, int] | None = None) -> list[AccountFile]:
    """Inspect some files with the modes that distributions give them."""
    return [read(name, text.encode(), {**MODES, **(modes or {})}[name])[0] for name, text in contents.items()]


def told(contents: dict[str, str], modes: dict[str, int] | None = None) -> list[tuple[str, str, int]]:
    """Return check, file and line of everything that is found."""
    return [(seen.id, seen.file.file, seen.hit.place.line) for seen in check_accounts(files(contents, modes))]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({"passwd": ROOT, "shadow": "root:*::0:::::\n"}, []),
        ({"passwd": ROOT, "shadow": "root:!::0:::::\n"}, []),
        ({"passwd": ROOT, "shadow": "root:!!:1::::::\n"}, []),
        ({"passwd": ROOT, "shadow": f"root:!{SHA512}:1::::::\n"}, []),  # locked: no password matches
        ({"passwd": ROOT, "shadow": "root:x:1::::::\n"}, []),
        ({"passwd": ROOT, "shadow": "root:*NP*:1::::::\n"}, []),
        ({"passwd": ROOT}, []),  # an account without a line in shadow cannot log in
        ({}, []),
        # CVE-2019-5021: Alpine 3.3 to 3.9
        ({"passwd": ROOT, "shadow": "root:::0:::::\n"}, [("im-empty-password", "shadow", 1)]),
        ({"shadow": "root:::0:::::\n"}, [("im-empty-password", "shadow", 1)]),
        ({"passwd": "a:x:1:1::/:\n", "shadow": "root:::0:::::\n"}, []),  # nobody of that name
        ({"passwd": "root:*:0:0::/:\n", "shadow": "root:::0:::::\n"}, []),  # passwd does not ask shadow
        ({"passwd": "root::0:0::/:\n", "shadow": "root:*::0:::::\n"}, [("im-empty-password", "passwd", 1)]),
        ({"passwd": ROOT, "shadow": "# no\n\nroot:*:::\nroot::1::::::\n"}, []),  # the first line counts
        ({"passwd": ROOT, "shadow": f"root:{SHA512}:1::::::\n"}, [("im-password", "shadow", 1)]),
        ({"passwd": ROOT, "shadow": "root:$y$j9T$a$b:1::::::\n"}, [("im-password", "shadow", 1)]),
        ({"passwd": f"root:{SHA512}:0:0::/:\n"}, [("im-password", "passwd", 1)]),
        ({"passwd": "root:ab0123456789.:0:0::/:\n"}, [("im-password", "passwd", 1)]),
        ({"group": "wheel:$1$a$b:10:\n"}, [("im-password", "group", 1)]),
        ({"gshadow": "wheel:$1$a$b::\n"}, [("im-password", "gshadow", 1)]),
        ({"gshadow": "wheel:::\n", "group": "wheel::10:\n"}, []),  # nobody but its members: no empty password
        ({"passwd": ROOT + "toor:*:0:0::/:\n"}, [("im-second-root", "passwd", 2)]),
        ({"passwd": ROOT + "x:*:00:5::/:\n"}, [("im-second-root", "passwd", 2)]),
        ({"passwd": ROOT + "x:*:4294967296:5::/:\n"}, [("im-second-root", "passwd", 2)]),  # musl counts on from 0
        ({"passwd": ROOT + "x:*:-0:5::/:\n+:*:0:0:::\n#toor:x:0:0:::\n"}, []),
        ({"passwd": ROOT + "a:*:5:5::/:\nb:*:5:6::/:\n"}, [("im-double-account", "passwd", 3)]),
        ({"passwd": ROOT + "a:*:5:5::/:\na:*:6:6::/:\n"}, [("im-double-account", "passwd", 3)]),
        ({"passwd": ROOT + "root:*:0:0::/:\n"}, [("im-double-account", "passwd", 2)]),
        ({"passwd": ROOT + "a:*:5:5::/:\na:*:5:5::/:\n"}, [("im-double-account", "passwd", 3)]),  # once, by its name
        ({"passwd": ROOT + "a:*:5:0::/:\nb:*:6:0::/:\n"}, []),  # a group may be that of many
        ({"group": "root:x:0:\nwheel:x:0:\n"}, [("im-double-account", "group", 2)]),
        ({"group": "a:x:7:\nb:x:8:\na:x:9:\n"}, [("im-double-account", "group", 3)]),
    ],
)  # fmt: skip
def test_found(contents: dict[str, str], expected: list[tuple[str, str, int]]) -> None:
    """What each line of these files means to a login, and what it does not."""
    assert told(contents) == expected


@pytest.mark.parametrize(
    ("name", "mode", "content", "expected"),
    [
        ("passwd", 0o644, ROOT, []),
        ("passwd", 0o666, ROOT, ["im-accounts-writable"]),
        ("passwd", 0o664, ROOT, ["im-accounts-writable"]),  # chmod g=u, for numbers that are chosen at run time
        ("group", 0o646, "root:x:0:\n", ["im-accounts-writable"]),
        ("shadow", 0o600, "root:*:::\n", []), ("shadow", 0, "root:*:::\n", []), ("shadow", 0o640, "root:*:::\n", []),
        ("shadow", 0o644, "root:*:::\n", []),  # nothing in it that anybody could guess at
        ("shadow", 0o644, f"root:{SHA512}:::\n", ["im-password", "im-shadow-readable"]),
        ("shadow", 0o660, "root:*:::\n", ["im-accounts-writable"]),
    ],
)  # fmt: skip
def test_modes(name: str, mode: int, content: str, expected: list[str]) -> None:
    """Who may write who is who, and who may read hashes."""
    assert [check for check, _, _ in told({name: content}, {name: mode})] == expected


def test_the_finding() -> None:
    """It says layer, file and line, keeps its fingerprint where lines move, and holds no hash."""
    config: dict[str, Any] = {
        "config": {"User": "1000", "Healthcheck": {}},
        "history": [{"created_by": "RUN /bin/sh -c passwd -d app # buildkit"}],
        "rootfs": {"diff_ids": ["sha256:0"]},
    }

    def findings(above: str) -> dict[str, Any]:
        contents = {"passwd": f"{ROOT}app:x:7:7::/:/bin/sh\nold:ab0123456789.:8:8::/:\n", "shadow": f"{above}app::1::::::\n"}
        return {item.id: item for item in lint_image(config, Found(accounts=files(contents))).findings}

    found, moved = findings(""), findings("x:*:::\ny:*:::\n")
    where = found["im-empty-password"].location
    assert (where.path, where.line, where.layer) == ("etc/shadow", 1, "sha256:0")
    assert "passwd -d app" in where.instruction
    assert "its shell is /bin/sh" in found["im-empty-password"].message
    assert moved["im-empty-password"].location.line == 3
    assert moved["im-empty-password"].fingerprint == found["im-empty-password"].fingerprint
    assert b"ab0123456789." not in msgspec.json.encode(list(found.values()))
    assert "every account of the container can read" in found["im-password"].message


def test_floods() -> None:
    """A file of too many accounts is a gap, and what is found in it stays readable."""
    lines = "".join(f"u{number}::{number % 7}:0::/:\n" for number in range(MAX_ENTRIES + 5))
    one, gaps = read("passwd", lines.encode(), 0o644)
    assert (len(one.entries), [gap.code for gap in gaps]) == (MAX_ENTRIES, ["inventory.too-many"])
    found = check_accounts([one])
    assert len(found) <= 4 * MAX_FINDINGS
    assert all(len(seen.hit.message) < 2_000 for seen in found)


@given(
    st.lists(
        st.lists(
            st.sampled_from([b"root", b"a", b"", b"x", b"*", b"0", b"5", b"$6$a$b", b"\xff", b"\n", b"#", b"\0"]), max_size=8
        ).map(b":".join),
        max_size=8,
    ).map(b"\n".join),
    st.integers(0, 0o7777),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes(content: bytes, mode: int) -> None:
    """Whatever stands in such a file, it can be told, and two looks at it say the same."""
    both = [[read(name, content, mode)[0] for name in MODES] for _ in range(2)]
    assert check_accounts(both[0]) == check_accounts(both[1])
    msgspec.json.encode(lint_image({}, Found(accounts=both[0])))
