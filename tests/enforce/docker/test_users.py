"""Who a user is inside of a container, as the engine will see it: what may be root is known to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.enforce.docker.users import Resolved, resolve

PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:\nrisen:x:0:50::/:\n1000:x:0:0::/:\n"
    b"# comment:x:7:7::/:\nodd\nplus:x:+5:6::/:\n"
)
GROUP = b"root:x:0:\napp:x:1000:\nwheel:x:10:app,other\nshadow:x:0:app\n"


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("", Resolved(0, 0)),
        ("root", Resolved(0, 0)),
        ("app", Resolved(1000, 1000, (10, 0))),
        ("risen", Resolved(0, 50)),
        ("1000", Resolved(0, 0)),
        ("2000", Resolved(2000, 0)),
        ("00", Resolved(0, 0)),
        ("+0", Resolved(0, 0)),
        ("-0", Resolved(0, 0)),
        ("-1", Resolved(None, 0)),
        ("4294967296", Resolved(None, 0)),
        ("app:0", Resolved(1000, 0)),
        ("app:wheel", Resolved(1000, 10)),
        ("app:20", Resolved(1000, 20)),
        (":20", Resolved(0, 20)),
        ("app:", Resolved(1000, 1000, (10, 0))),
        ("nobody-knows", Resolved(None, 0)),
        ("plus", Resolved(5, 6)),
    ],
)
def test_as_the_engine_reads_it(user: str, found: Resolved) -> None:
    assert resolve(user, PASSWD, GROUP) == found


@given(user=st.text(max_size=40), passwd=st.binary(max_size=200), group=st.binary(max_size=200))
def test_nothing_breaks_it(user: str, passwd: bytes, group: bytes) -> None:
    found = resolve(user, passwd, group)
    assert found.uid is None or 0 <= found.uid < 1 << 31


@given(number=st.integers(0, 2**31 - 1), zeros=st.integers(0, 4), sign=st.sampled_from(["", "+"]))
def test_numbers_are_what_they_are_called(number: int, zeros: int, sign: str) -> None:
    assert resolve(f"{sign}{'0' * zeros}{number}:5", b"", b"").uid == number
