"""The parts of the registry's gate by themselves: laws that need neither a registry nor a network."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.enforce.registry.access import Reading
from pratique.enforce.registry.accounts import Accounts, matches, new_secret, read_accounts, scrypt_hash, secret_hash
from pratique.enforce.registry.contents import Contents
from pratique.enforce.registry.manifests import Manifest, can_be_unpacked, is_configuration, read_manifest
from pratique.enforce.registry.routes import classify, is_repository
from pratique.enforce.registry.tokens import Access, Signer, TokenError, Tokens, load_signer
from pratique.model.errors import ConfigurationError, ParseError, PolicyError, StoreError

DIGEST = "sha256:" + "a" * 64
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@cache
def _signer(*, rsa: bool = False) -> Signer:
    return load_signer(Path(tempfile.mkdtemp()), rsa=rsa)


@given(st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]), TEXT)
def test_whatever_a_path_is_it_names_one_repository_or_none(method: str, path: str) -> None:
    """A request line is refused, or leads to what is spelled alike upstream: nothing in between."""
    try:
        route = classify(method, "/v2/" + path)
    except ParseError:
        return
    assert route.path in ("/v2/", "/v2/" + path.partition("?")[0])
    assert route.repository == "" or is_repository(route.repository)
    assert "%" not in route.upstream().partition("?")[0]


@pytest.mark.parametrize("name", ["a", "a/b", "a-b/c_d/e.f", "a__b", "0/1", "a" * 255])
def test_names_that_repositories_have(name: str) -> None:
    """The specification's names."""
    assert classify("GET", f"/v2/{name}/manifests/latest").repository == name


@pytest.mark.parametrize("name", ["", "A", "a//b", "/a", "a/", "a..b", "-a", "a/manifests/b", "tags", "a" * 256, "a b", "ä"])
def test_names_that_none_has(name: str) -> None:
    """What the specification does not allow, and what has two readings."""
    assert not is_repository(name)


def test_a_states_value_goes_upstream_as_it_was() -> None:
    """An upload's state is the registry's own, and holds what must be escaped."""
    route = classify("PUT", "/v2/a/blobs/uploads/1-2?_state=ab%2Bc%3D%3D&digest=sha256%3A" + "a" * 64)
    assert route.upstream() == "/v2/a/blobs/uploads/1-2?_state=ab%2Bc%3D%3D&digest=sha256%3A" + "a" * 64


@pytest.mark.parametrize("rsa", [False, True])
def test_a_token_says_what_was_signed(*, rsa: bool) -> None:
    """What is issued is read, for its audience and its time."""
    tokens = Tokens(_signer(rsa=rsa), "here")
    access = (Access("repository", "a/b", ("pull",)),)
    token, claims = tokens.issue("alice", access, 60, 1000)
    assert tokens.read(token, 1030) == claims
    for when in (1060, 900):
        with pytest.raises(TokenError, match="expired"):
            tokens.read(token, when)
    with pytest.raises(TokenError, match="another service"):
        Tokens(_signer(rsa=rsa), "there").read(token, 1030)
    with pytest.raises(TokenError):
        Tokens(_signer(rsa=not rsa), "here").read(token, 1030)


@given(st.data())
def test_no_letter_of_a_token_can_be_changed(data: st.DataObject) -> None:
    """Another letter anywhere, one more or one less, is no token."""
    tokens = Tokens(_signer(), "here")
    token, _ = tokens.issue("alice", (), 60, 1000)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCabc019-_.=+/ \n"))
    for other in (token[:at] + letter + token[at + 1 :], token[:at] + letter + token[at:], token[:at] + token[at + 1 :]):
        if other != token:
            with pytest.raises(TokenError):
                tokens.read(other, 1030)


@given(TEXT)
def test_no_text_is_a_token(text: str) -> None:
    """Whatever is shown is read or refused, never a defect."""
    with pytest.raises(TokenError):
        Tokens(_signer(), "here").read(text)


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    """The gate refuses to stand on it, and says what to do."""
    load_signer(tmp_path)
    (tmp_path / "token.key").chmod(0o644)
    with pytest.raises(StoreError, match="others may read"):
        load_signer(tmp_path)
    (tmp_path / "token.key").chmod(0o600)
    (tmp_path / "token.key").write_bytes(b"no key")
    with pytest.raises(StoreError, match="no key"):
        load_signer(tmp_path)


def test_passwords_and_secrets() -> None:
    """Right ones match, others do not, whatever they are."""
    hashed, secret = scrypt_hash("correct horse"), new_secret()
    assert matches(hashed, "correct horse")
    assert matches(secret_hash(secret), secret)
    for wrong in ("", "correct horse ", "Correct horse", "x" * 5000, "\x00", "\ud800"):
        assert not matches(hashed, wrong)
    assert not matches(secret_hash(secret), secret[:-1])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alice", "neither"), ("alice:", "neither"), ("alice:secret", "neither"),
        ("alice:$2y$05$abcdefghijklmnopqrstuv", "neither"), ("@scanner:$sha256$" + "a" * 64, "no name"),
        ("alice:$scrypt$ln=40,r=8,p=1$aaaaaaaaaaaaaaaaaaaaaa$" + "a" * 43, "neither"),
        (":$sha256$" + "a" * 64, "no name"), ("a b:$sha256$" + "a" * 64, "no name"),
        ("a:$sha256$" + "a" * 64 + ":colour=red", "none of"), ("a:$sha256$" + "a" * 64 + ":subject=claimed:root", "subject is"),
        ("a:$sha256$" + "a" * 64 + ":subject=unix:@scanner", "subject is"),
        ("a:$sha256$" + "a" * 64 + "\na:$sha256$" + "b" * 64, "comes twice"),
    ],
)  # fmt: skip
def test_lines_that_are_no_accounts_are_said(line: str, said: str) -> None:
    """Each is one line, with the file and the number; no hash is shown whole."""
    with pytest.raises(ConfigurationError, match=said) as error:
        read_accounts("users", line.encode())
    assert str(error.value).startswith("users:")


def test_accounts_say_who_somebody_is() -> None:
    """A person by the machine's name, a robot with its owner, another provider where that is said."""
    hashed = "$sha256$" + "a" * 64
    found = read_accounts("users", f"# people\nalice:{hashed}:groups=a,b\n\nci:{hashed}:owner=bob;subject=oidc:ci@x\n".encode())
    alice, robot = found["alice"].subject, found["ci"].subject
    assert (alice.provider, alice.id, alice.groups, alice.kind) == ("unix", "alice", ("a", "b"), "human")
    assert (robot.provider, robot.id, robot.owner, robot.kind, robot.strength) == ("oidc", "ci@x", "bob", "robot", 2)


def test_a_users_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever may write it may be anybody."""
    path = tmp_path / "users"
    path.write_text("alice:$sha256$" + "a" * 64)
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="others may write"):
        Accounts(path)


def test_a_users_file_that_breaks_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom a broken file meant nobody can tell; the next good one counts."""
    path = tmp_path / "users"
    path.write_text("alice:$sha256$" + "a" * 64)
    path.chmod(0o600)
    accounts = Accounts(path)
    assert accounts.get("alice") is not None
    path.write_text("nonsense")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10)
    assert accounts.get("alice") is None
    path.write_text("alice:$sha256$" + "b" * 64)
    monkeypatch.setattr(time, "monotonic", lambda: now + 20)
    assert accounts.get("alice") is not None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_an_error(data: bytes) -> None:
    """Nothing else comes of them."""
    try:
        read_manifest(data, "application/vnd.oci.image.manifest.v1+json")
    except ParseError:
        return


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "x"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_a_manifest_or_an_error(document: object) -> None:
    """Whatever the types of its parts are."""
    try:
        read_manifest(json.dumps(document).encode(), "")
    except ParseError:
        return


def test_readers_are_as_their_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change counts within a second; a file that breaks lets nobody read until it is mended."""
    path = tmp_path / "readers.yaml"
    head = "apiVersion: pratique/v1\nkind: RegistryAccess\nmetadata: {name: a}\nspec:\n  readers:\n"
    path.write_text(head + "  - {repositories: ['a/*'], anybody: true}\n")
    reading = Reading(path)
    seen = [[one.repositories for one in reading.current().readers]]
    began = time.monotonic()
    for number, text in enumerate(("nonsense: [", head + "  - {repositories: ['b/*'], anybody: true}\n"), 1):
        path.write_text(text)
        monkeypatch.setattr(time, "monotonic", lambda number=number: began + 10 * number)
        seen.append([one.repositories for one in reading.current().readers])
    assert seen == [[("a/*",)], [], [("b/*",)]]
    path.write_text(head + "  - {repository: ['b/*']}\n")
    with pytest.raises(PolicyError, match=r"readers\.yaml:6:6: .*repositories"):
        Reading(path)


def test_contents_outlive_the_gate_and_forget_what_is_deleted(tmp_path: Path) -> None:
    """Which manifests need a blob is known after a restart; another repository's do not count."""
    contents = Contents(tmp_path)
    one, two = (Manifest("image", "sha256:" + letter * 64, (DIGEST, "sha256:" + "f" * 64)) for letter in "bc")
    for manifest in (one, two, one):
        contents.learn("a", manifest)
    contents.close()
    contents = Contents(tmp_path)
    assert [found.digest for found in contents.needing("a", DIGEST)] == [two.digest, one.digest]
    assert contents.needing("b", DIGEST) == []
    contents.forget("a", two.digest)
    assert [found.digest for found in contents.needing("a", DIGEST)] == [one.digest]
    assert not contents.kind("a", two.digest)
    contents.close()


@pytest.mark.parametrize(
    ("body", "image"),
    [
        (b'{"architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}', True), (b' \n{"ROOTFS":{}}', True),
        ('{"rootf\u017f":{}}'.encode(), True), (b'{"rootfs":{},"a":"\xff\xfe"}', True), (b'{"rootfs":{}}{}', True),
        (b'{"a":' * 100_000, True), (b'{"name":"chart","version":"1.0"}', False), (b"{}", False), (b"", False),
        (b"PK\x03\x04", False), (b'["rootfs"]', False), (b'{"config":{"rootfs":1}}', False),
    ],
)  # fmt: skip
def test_configurations_of_images_are_known_however_they_are_spelled(body: bytes, image: bool) -> None:
    """What an engine could decode is one; what it could not, or has nothing to unpack by, is an artifact's."""
    assert is_configuration(body) is image


def _tar(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return out.getvalue()[:512]


def _old_tar(name: str) -> bytes:
    """A header as Unix V7 wrote it, without a magic number, in letters that JSON may have."""
    header = bytearray(name.encode().ljust(100) + b"000644 " + b" " + b"0000000 " * 2 + b"00000000000 " * 2 + b" " * 8)
    header = bytearray(bytes(header).ljust(512))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o  " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    ("head", "packed"),
    [
        (_tar("a"), True), (_old_tar('{"critical":"'), True), (bytes(512), True), (gzip.compress(b"x").ljust(512), True),
        (b"\x28\xb5\x2f\xfd", True), (b"\x50\x2a\x4d\x18", True), (b"BZh9", True), (b"\xfd7zXZ\x00", True),
        (b'{"critical":{}}', False), (b'{"_type":"x"}'.ljust(512), False), (b"", False), (b"package a\n".ljust(512), False),
    ],
)  # fmt: skip
def test_what_can_be_unpacked_is_known_by_its_beginning(head: bytes, packed: bool) -> None:
    """Compressed data and tar archives, however old; a JSON document that is a tar archive as well is one."""
    assert can_be_unpacked(head) is packed


@given(st.text(st.characters(codec="ascii", exclude_characters="/\x00"), min_size=1, max_size=90))
def test_every_tar_archive_can_be_unpacked(name: str) -> None:
    """Whatever its first entry is called."""
    assert can_be_unpacked(_tar(name))
