"""Rewrites: exact, safe where they say so, gone once they are done, and never worse than before."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.lint.fixes.dockerfile import FIXERS
from pratique.lint.fixes.mend import fixes, mend
from pratique.lint.fixes.yaml import CHANGES
from pratique.lint.run import UnreadError, check

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CASES = sorted(path for path in (Path(__file__).parent / "cases").glob("*/*") if path.is_file())
A = "apt-get install -y --no-install-recommends x"
LISTS = "rm -rf /var/lib/apt/lists/*"

SAFE = [
    ("add", "FROM a:1\nADD app.py /x\n", "FROM a:1\nCOPY app.py /x\n"),
    ("small", "from a:1\nadd  . /x\n", "from a:1\ncopy  . /x\n"),
    ("json", 'FROM a:1\nADD --chown=1 ["a.txt", "/x"]\n', 'FROM a:1\nCOPY --chown=1 ["a.txt", "/x"]\n'),
    ("onbuild", "FROM a:1\nONBUILD ADD src/ /x\n", "FROM a:1\nONBUILD COPY src/ /x\n"),
    ("maintainer", 'FROM a:1\nMAINTAINER Jo "J" <a@b>\n',
     'FROM a:1\nLABEL org.opencontainers.image.authors="Jo \\"J\\" <a@b>"\n'),
    ("apt", f"FROM a:1\nRUN apt-get update && {A}\n", f"FROM a:1\nRUN apt-get update && {A} && {LISTS}\n"),
    (
        "apt-lines",
        f"FROM a:1\r\nRUN apt-get update \\\r\n    && {A}  \r\nUSER 1\r\n",
        f"FROM a:1\r\nRUN apt-get update \\\r\n    && {A} \\\r\n    && {LISTS}  \r\nUSER 1\r\n",
    ),
    ("apt-two", f"FROM a:1\nRUN apt-get update && {A}\nRUN apt-get update; {A}",
     f"FROM a:1\nRUN apt-get update && {A} && {LISTS}\nRUN apt-get update; {A} && {LISTS}"),
    ("escape", f"# escape=`\nFROM a:1\nRUN apt-get update `\n && {A}\n",
     f"# escape=`\nFROM a:1\nRUN apt-get update `\n && {A} `\n && {LISTS}\n"),
    ("apk", "FROM a:1\nRUN apk update && apk add --virtual .b x\n",
     "FROM a:1\nRUN apk update --no-cache && apk add --no-cache --virtual .b x\n"),
    ("dnf", "FROM a:1\nRUN dnf -y install x\n", "FROM a:1\nRUN dnf -y install x && dnf clean all\n"),
]  # fmt: skip

NOT_SAFE = [
    ("archive", "FROM a:1\nADD rootfs /x\n", "df-add-local"),
    ("pattern", "FROM a:1\nADD $files /x\n", "df-add-local"),
    ("lists-needed", f"FROM a:1\nRUN apt-get update && {A}\nRUN apt-get install y\n", "df-apt-cache"),
    ("index-needed", "FROM a:1 AS b\nRUN apk update\nFROM b AS t\nRUN apk add y\nFROM b\nUSER 1\n", "df-apk-cache"),
    ("recommends", "FROM a:1\nRUN apt-get install -y x\n", "df-recommends"),
    ("sudo", "FROM a:1\nRUN sudo x\n", "df-sudo"),
    ("certificates", "FROM a:1\nRUN curl -f --insecure https://x\n", "df-certificate-checks"),
    ("signatures", "FROM a:1\nRUN apk add --no-cache --allow-untrusted x.apk\n", "df-package-signatures"),
    ("mode", "FROM a:1\nRUN chmod -R 777 /x\n", "df-world-writable"),
    ("insecure", "FROM a:1\nRUN --security=insecure x\n", "df-insecure-build"),
    ("network", "FROM a:1\nRUN --network=host --mount=type=cache,target=/c x\n", "df-host-network"),
    ("zypper", "FROM a:1\nRUN zypper install -y x\n", "df-rpm-cache"),
]

IMPOSSIBLE = [
    ("flag", "FROM a:1\nADD --keep-git-dir=true x.py /x\n", "df-add-local"),
    ("comment", "FROM a:1\nRUN apt-get update # && x\n", "df-apt-cache"),
    ("background", "FROM a:1\nRUN apt-get update &\n", "df-apt-cache"),
    ("heredoc", "FROM a:1\nRUN <<EOF\napt-get update\nEOF\n", "df-apt-cache"),
    ("list", 'FROM a:1\nRUN ["apt-get", "update"]\n', "df-apt-cache"),
    ("options", "FROM a:1\nRUN sudo -u x y\n", "df-sudo"),
    ("needed", "FROM a:1\nUSER app\nRUN sudo apt-get update\n", "df-sudo"),
    ("others-cache", "FROM a:1\nUSER 0\nUSER app\nRUN sudo apt-get update\n", "df-apt-cache"),
    ("quoted", "FROM a:1\nRUN chmod '777' /x\n", "df-world-writable"),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in SAFE], ids=[case[0] for case in SAFE])
def test_safe_fixes(text: str, expected: str) -> None:
    """What does not change what is built is rewritten, and every other byte stays."""
    assert mend("Dockerfile", text, NOW).text == expected


@pytest.mark.parametrize(("text", "identity"), [case[1:] for case in NOT_SAFE], ids=[case[0] for case in NOT_SAFE])
def test_other_fixes_are_proposals(text: str, identity: str) -> None:
    """What may change what is built is done only when asked for."""
    assert identity not in {fix.id for fix in mend("Dockerfile", text, NOW).done}
    mended = mend("Dockerfile", text, NOW, unsafe=True)
    assert identity in {fix.id for fix in mended.done}
    assert identity not in {name for name, _ in check("Dockerfile", mended.text, NOW).hits}


@pytest.mark.parametrize(("text", "identity"), [case[1:] for case in IMPOSSIBLE], ids=[case[0] for case in IMPOSSIBLE])
def test_what_cannot_be_rewritten_exactly_stays(text: str, identity: str) -> None:
    """Where the words do not stand as they read, or a script cannot be added to, nothing is offered."""
    checked = check("Dockerfile", text, NOW)
    assert identity in {name for name, _ in checked.hits}
    assert identity not in {fix.id for fix in fixes(checked)}


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_law(path: Path) -> None:
    """On every case: what is mended is found less often, nothing new is found, and a second time changes nothing."""
    text = path.read_text("utf-8")
    for unsafe in (False, True):
        mended = mend(path.name, text, NOW, unsafe=unsafe)
        before = Counter(name for name, _ in check(path.name, text, NOW).hits)
        after = Counter(name for name, _ in check(path.name, mended.text, NOW).hits)
        assert all(after[name] <= before[name] for name in after)
        assert all(after[fix.id] < before[fix.id] for fix in mended.done)
        assert (mended.text == text) == (not mended.done)
        assert mend(path.name, mended.text, NOW, unsafe=unsafe).done == ()
        if path.suffix == ".yaml":
            assert unsafe or not mended.done


def test_every_fixer_has_been_seen() -> None:
    """Each rewrite is exercised by a case."""
    seen = {fix.id for fix in mend("compose.yaml", COMPOSE, NOW, unsafe=True).done}
    for path in CASES:
        seen |= {fix.id for fix in mend(path.name, path.read_text("utf-8"), NOW, unsafe=True).done}
    assert seen >= {*FIXERS, *CHANGES, "ct-all-interfaces"}


COMPOSE = """# top
services:
  web:
    image: a:1   # the image
    ports:
      - "8080:80"
      - 9090
    security_opt:
      - label=type:x
  flow: {image: b, privileged: true, cap_drop: [all]}
"""


def test_compose() -> None:
    """Values are put where they belong, with the indentation that is there; comments stay."""
    mended = mend("compose.yaml", COMPOSE, NOW, unsafe=True).text
    assert '      - "127.0.0.1:8080:80"\n      - 127.0.0.1::9090\n' in mended
    assert "      - label=type:x\n      - no-new-privileges:true\n" in mended
    assert "    image: a:1   # the image\n    " in mended
    assert "privileged: false" in mended
    left = {name for name, _ in check("compose.yaml", mended, NOW).hits}
    assert not left & {*CHANGES, "ct-all-interfaces"}


POD = """apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - name: a
    image: x:1
    securityContext: {}
  - image: y:1
    name: b
    securityContext:
      capabilities:
        add: [CHOWN]
      privileged: true
  - {name: c, image: z}
"""


def test_pod() -> None:
    """A pod that asks for nothing ends within the restricted standard."""
    mended = mend("p.yaml", POD, NOW, unsafe=True).text
    left = {name for name, _ in check("p.yaml", mended, NOW).hits}
    assert {name for name in left if name.startswith("pss-")} == {"pss-capabilities-dropped"}  # CHOWN is for its owner to judge
    assert "k8s-service-account-token" not in left


def test_accepted_findings_are_left_alone() -> None:
    """What somebody accepted is not rewritten, what was accepted until yesterday is."""
    text = "FROM a:1\n# pratique: ignore=df-add-local why until=2027-01-01\nADD a.py /x\n"
    assert mend("Dockerfile", text, NOW).text == text
    assert "COPY" in mend("Dockerfile", text.replace("2027", "2025"), NOW).text


WORDS = [
    "FROM a:1", "RUN apt-get update", " && ", "apt-get install -y x", "\\\n", "\n", "ADD a.py /x", "apk add x", "sudo y", "'",
    "dnf install -y z", "chmod 777 /x", "<<EOF", "EOF", "#", ";", "MAINTAINER me", "USER root", "curl -k https://x", "&", "|",
    '"', "$(", ")", "🐳", "\r\n",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map("".join), st.booleans())
def test_any_dockerfile(body: str, unsafe: bool) -> None:
    """The law holds on whatever can be read."""
    text = "FROM a:1\n" + body
    try:
        before = check("Dockerfile", text, NOW)
    except UnreadError:
        return
    mended = mend("Dockerfile", text, NOW, unsafe=unsafe)
    after = check("Dockerfile", mended.text, NOW)
    old, new = (Counter(name for name, _ in found.hits) for found in (before, after))
    assert all(new[name] <= old[name] for name in new)
    assert all(new[fix.id] < old[fix.id] for fix in mended.done)
    assert mend("Dockerfile", mended.text, NOW, unsafe=unsafe).done == ()
