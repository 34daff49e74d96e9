"""Privileges are a closed set with one spelling each, and one stands for another only where that is safe."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.grant import globs
from pratique.grant.privileges import FORMS, Privilege, covers, device, every, fewest, mount, parse
from pratique.model.errors import UsageError

PART = st.text(alphabet="ab*?.", min_size=1, max_size=4).filter(lambda part: part not in (".", ".."))
PATTERN = st.lists(st.one_of(st.just("**"), PART), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
NAME = st.lists(st.text(alphabet="ab.", min_size=1, max_size=4), min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "run.root", "run.cap:NET_ADMIN", "run.cap:ALL", "run.hostns:pid", "run.mount:/srv/data/**:ro", "run.mount:/:rw",
        "run.mount:/with:colon:rw", "run.device:/dev/fuse", "run.device-rule:c-188-*-rwm", "run.unconfined:proc",
        "run.image:reg/app@sha256:" + "0" * 64, "run.hostport:8000-8999", "run.uid:*", "impersonate:system:serviceaccount:a:b",
        "registry.push:reg.example/team/*", "exec.root", "run.mount:./data:ro", "run.mount:~/x:rw",
    ],
)  # fmt: skip
def test_what_is_read_is_written_alike(text: str) -> None:
    """One privilege has one spelling."""
    assert str(parse(text)) == text
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run.rot", "did you mean 'run.root'"),
        ("run.cap:NET_ADMN", "did you mean 'NET_ADMIN'"),
        ("run.cap", "needs something behind a colon"),
        ("exec.root:1", "write exec.root"),
        ("run.mount:/x", "did you mean 'run.mount:/x:ro'"),
        ("run.mount:/x/../y:ro", "has no .."),
        ("run.mount:relative:ro", "begins with /"),
        ("run.mount:/a b:ro", "no spaces"),
        ("run.hostns:mnt", "one of pid"),
        ("run.hostport:80a", "a number, a range"),
        ("run.image:app:latest", "tags move"),
        ("registry.push:a 'b'", "no spaces or quotes"),
        ("", "there is no privilege"),
    ],
)
def test_mistakes_are_explained(text: str, said: str) -> None:
    """A mistake is one line that says what would be right."""
    with pytest.raises(UsageError) as error:
        parse(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("have", "want", "enough"),
    [
        ("run.privileged", "run.cap:SYS_ADMIN", True),
        ("run.privileged", "run.device:/dev/kvm", True),
        ("run.privileged", "run.unconfined:seccomp", True),
        ("run.privileged", "run.root", True),
        ("run.privileged", "run.hostns:pid", False),
        ("run.privileged", "run.mount:/etc:ro", False),
        ("run.privileged", "run.sysctl:kernel.core_pattern", False),
        ("run.root", "run.userns-root", True),
        ("run.root", "run.group:0", True),
        ("run.userns-root", "run.root", False),
        ("run.cap:ALL", "run.cap:SYS_ADMIN", True),
        ("run.cap:SYS_ADMIN", "run.cap:ALL", False),
        ("run.mount:/data/**:rw", "run.mount:/data/x/y:ro", True),
        ("run.mount:/data/**:ro", "run.mount:/data/x:rw", False),
        ("run.mount:/data/**:rw", "run.mount:/data:rw", True),
        ("run.mount:/data/*:rw", "run.mount:/data/x/y:rw", False),
        ("run.mount:/data/*:rw", "run.mount:/data/**:rw", False),
        ("run.mount:/data/?:rw", "run.mount:/data/*:rw", False),
        ("run.mount:/**:rw", "run.mount:/proc/1/root/etc:rw", False),
        ("run.mount:/proc/1/root/etc:rw", "run.mount:/proc/1/root/etc:rw", True),
        ("exec.privileged", "exec.root", True),
        ("exec.root", "exec.any", True),
        ("exec.any", "exec.root", False),
        ("exec.root", "attach", False),
        ("run.hostport:8000-8999", "run.hostport:8080", True),
        ("run.hostport:8000-8999", "run.hostport:8000-9000", False),
        ("run.hostport:*", "run.hostport:1-65535", True),
        ("build.insecure", "build.run", True),
        ("registry.push:reg/team/*", "registry.push:reg/team/app", True),
        ("registry.push:reg/team/*", "registry.push:reg/team/app/x", False),
        ("registry.delete:reg/a", "registry.push:reg/a", False),
        ("engine.admin", "run.privileged", False),
        ("run.image:**@sha256:*", f"run.image:docker.io/library/app@{DIGEST}", True),
        ("run.image:**@sha256:*", f"run.image:app@{DIGEST}", True),
        ("run.image:reg.example/**@sha256:*", f"run.image:reg.example/team/a/app@{DIGEST}", True),
        ("run.image:reg.example/**@sha256:*", f"run.image:reg.example.org/app@{DIGEST}", False),
        ("run.image:reg.example/*@sha256:*", f"run.image:reg.example/team/app@{DIGEST}", False),
    ],
)
def test_what_stands_for_what(have: str, want: str, enough: bool) -> None:
    """A privilege stands for lesser ones, and for nothing beside them."""
    assert covers(parse(have), parse(want)) is enough


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/data/../etc", "run.mount:/etc:rw"),
        ("/data//x/./y/", "run.mount:/data/x/y:rw"),
        ("/../..", "run.mount:/:rw"),
        ("/a*b", "run.mount:/a%2Ab:rw"),
        ("/a b", "run.mount:/a%20b:rw"),
        ("/a%2Ab", "run.mount:/a%252Ab:rw"),
        ("/new\nline", "run.mount:/new%0Aline:rw"),
    ],
)
def test_paths_of_requests_are_no_patterns(path: str, written: str) -> None:
    """A path is cleaned as engines clean it, and what would be a wildcard in it is a letter."""
    found = mount(path, read_only=False)
    assert str(found) == written
    assert parse(written) == found
    assert not globs.is_pattern(found.argument)


@pytest.mark.parametrize(
    "path", ["/data/../proc/1/root/etc", "//proc//self/root", "/proc/1/task/1/cwd", "/dev/fd/3", "/proc/1/%72oot"]
)
def test_paths_through_processes_match_no_wildcard(path: str) -> None:
    """What leads to wherever a process is is never covered by accident."""
    found = mount(path, read_only=True)
    if "%72" not in path:
        assert globs.is_magic(found.argument)
    assert covers(parse("run.mount:/**:rw"), found) is ("%72" in path)  # there, the percent sign is a letter of a real name


def test_rules_for_devices_are_privileges_of_their_own() -> None:
    """All devices of a number are another thing than one path."""
    assert str(device("c 188:* rwm")) == "run.device-rule:c-188-*-rwm"
    assert str(device("/dev/fuse")) == "run.device:/dev/fuse"
    assert not covers(parse("run.device:/**"), device("a *:* rwm"))
    assert not covers(parse("run.device-rule:c-188-0-rwm"), device("c 188:* rwm"))


def test_every_form_is_in_every() -> None:
    """What the built-in policy lets one ask for is all there is, and each of it is well spelled."""
    assert {one.form for one in every()} == set(FORMS)
    assert all(parse(str(one)) == one for one in every() if one.argument != "**" or one.form != "run.image")


def test_fewest_leaves_out_what_another_stands_for() -> None:
    """The shortest list says the same."""
    given_ = [parse(text) for text in ("run.cap:SYS_ADMIN", "run.privileged", "run.root", "run.mount:/a:ro", "run.mount:/a:rw")]
    assert fewest(given_) == (parse("run.mount:/a:rw"), Privilege("run.privileged"))


@given(PATTERN, PATTERN, NAME)
@settings(deadline=None, max_examples=300)
def test_covering_is_sound(pattern: str, other: str, name: str) -> None:
    """What a covered pattern matches, the covering one matches, too."""
    if globs.covers(pattern, other) and globs.covers(other, name):
        assert globs.covers(pattern, name)


@given(PATTERN)
@settings(deadline=None, max_examples=50)
def test_every_pattern_covers_itself(pattern: str) -> None:
    """A grant of exactly what is entitled to is within it."""
    assert globs.covers(pattern, pattern)
    assert globs.covers("/**", pattern)


@given(st.text(max_size=30))
@settings(deadline=None, max_examples=200)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but UsageError comes of any text; literals come back as they were."""
    with contextlib.suppress(UsageError):
        parse(text)
    assert not globs.is_pattern(globs.literal(text))
    if text.isascii() and text.isprintable():
        assert globs.plain(globs.literal(text)) == text


def test_matching_ends() -> None:
    """A pattern that somebody wrote to be slow is not."""
    assert not globs.covers("/" + "a*" * 200 + "b", "/" + "a" * 1000)
    assert not globs.covers("/" + "/".join(["**", "a"] * 100) + "/b", "/" + "/".join("a" * 300))
