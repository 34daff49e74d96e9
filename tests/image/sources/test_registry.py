"""Registries: the protocol against a simulator, above all what is asked, what is kept, and where credentials go."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import imagebuilder as ib
import registrysim as sim
from pratique.image import endpoint
from pratique.image.open import list_platforms, open_target
from pratique.image.options import SourceOptions
from pratique.model.errors import IntegrityError, PratiqueError, RegistryError, TargetError, TargetNotFoundError
from pratique.model.image import ImageRef, Platform

pytestmark = pytest.mark.loopback

LAYERS = [ib.layer({"etc/os-release": "ID=debian\n"}), ib.layer({"app/main.py": "print()\n" * 900}), ib.layer({"c": b"3"})]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login of the machine's own, no proxy, and no waiting."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pratique._kit.http.FIRST_PAUSE", 0.001)


@pytest.fixture
def registry() -> Iterator[sim.Registry]:
    """A registry that runs."""
    with sim.running() as running:
        yield running


def log_in(monkeypatch: pytest.MonkeyPatch, folder: Path, *logins: tuple[str, str, str]) -> None:
    """Store logins in a Docker configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(sim.docker_config(*logins))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


def opened(name: str, options: SourceOptions, platform: Platform | None = None, fetch: int = -1) -> tuple[Any, list[bytes]]:
    """Open an image and fetch its layers (or that many)."""
    with open_target(ImageRef("registry", name), platform, options) as image:
        wanted = image.layers if fetch < 0 else image.layers[:fetch]
        image.prefetch(wanted)
        return image, [Path(image.fetch(layer).path).read_bytes() for layer in wanted]


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_by_tag_and_by_digest(registry: sim.Registry, options: SourceOptions, docker: bool, head: bool) -> None:
    """Both media types, with and without HEAD; bare names on a loopback address may speak plain HTTP unasked."""
    registry.head_manifests = head
    made = registry.add("team/app", ib.image(LAYERS, docker=docker), "v1")
    for name in ("team/app:v1", f"team/app@{made.digest}", f"team/app:v1@{made.digest}"):
        image, found = opened(f"{sim.host(registry)}/{name}", options)
        assert (image.scheme, image.digest, image.platform, found) == (
            "registry",
            made.digest,
            Platform("linux", "amd64"),
            made.layers,
        )


def test_a_second_scan_asks_one_thing_for_a_tag_and_nothing_for_a_digest(registry: sim.Registry, options: SourceOptions) -> None:
    """What the cache has by digest is not asked for again, not even when offline."""
    made = registry.add("app", ib.image(LAYERS), "v1")
    name = f"{sim.host(registry)}/app"
    opened(f"{name}:v1", options)
    registry.asked.clear()
    assert opened(f"{name}:v1", options)[1] == made.layers
    assert [request.method for request in registry.asked if "/manifests/" in request.path or "/blobs/" in request.path] == [
        "HEAD"
    ]
    registry.asked.clear()
    offline = msgspec.structs.replace(options, offline=True)
    assert opened(f"{name}@{made.digest}", offline)[1] == made.layers
    with pytest.raises(RegistryError, match="--offline"):
        opened(f"{name}:v1", offline)
    assert registry.asked == []


def test_only_layers_asked_for_are_fetched(registry: sim.Registry, options: SourceOptions) -> None:
    """Opening reads manifest and configuration; one layer asked for is one blob."""
    made = registry.add("app", ib.image(LAYERS), "v1")
    opened(f"{sim.host(registry)}/app:v1", options, fetch=0)
    config = ib.digest(made.config)
    assert [path for path in registry.paths() if "blobs" in path] == [f"/v2/app/blobs/{config}"]
    opened(f"{sim.host(registry)}/app:v1", options, fetch=1)
    assert [path for path in registry.paths() if "blobs" in path][1:] == [f"/v2/app/blobs/{ib.digest(made.layers[0])}"]


def test_platforms(registry: sim.Registry, options: SourceOptions) -> None:
    """Listed, chosen, and refused with what there is."""
    places = [("linux", "amd64", ""), ("linux", "arm64", "v8"), ("windows", "amd64", "")]
    made = [ib.image([ib.layer({"a": place[1] + place[0]})], platform=place) for place in places]
    digest = registry.add_index("app", made, "v1")
    name = f"{sim.host(registry)}/app"
    ref = ImageRef("registry", f"{name}:v1")
    assert [str(place) for place in list_platforms(ref, options)] == ["linux/amd64", "linux/arm64/v8", "windows/amd64"]
    for image, place in zip(made, places, strict=True):
        found = opened(f"{name}@{digest}", options, Platform(*place))
        assert (found[0].digest, found[1]) == (image.digest, image.layers)
    with pytest.raises(TargetNotFoundError, match=r"linux/s390x.*linux/amd64, linux/arm64/v8, windows/amd64"):
        opened(f"{name}:v1", options, Platform("linux", "s390x"))


# -- authentication -------------------------------------------------------------------------------------------------------------


def test_anonymous_tokens(registry: sim.Registry, options: SourceOptions) -> None:
    """A registry that wants a token gets an anonymous one, with the scope of the repository."""
    registry.auth = "bearer"
    made = registry.add("team/app", ib.image(LAYERS), "v1")
    assert opened(f"{sim.host(registry)}/team/app:v1", options)[1] == made.layers
    assert [path for path in registry.paths() if "/token" in path] == ["/token?service=sim&scope=repository%3Ateam%2Fapp%3Apull"]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_stored_logins(
    registry: sim.Registry, options: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Any
) -> None:
    """Basic and token registries take the login of ~/.docker/config.json."""
    registry.auth, registry.users = auth, {"ann": "s:ecret"}
    made = registry.add("app", ib.image(LAYERS), "v1")
    name = f"{sim.host(registry)}/app:v1"
    with pytest.raises(RegistryError, match="docker login"):
        opened(name, options)
    log_in(monkeypatch, tmp_path / "docker", (sim.host(registry), "ann", "wrong"))
    with pytest.raises(RegistryError) as caught:
        opened(name, options)
    assert "wrong" not in str(caught.value)
    log_in(monkeypatch, tmp_path / "docker", (sim.host(registry), "ann", "s:ecret"))
    assert opened(name, options)[1] == made.layers


def test_a_login_given_by_hand(registry: sim.Registry, options: SourceOptions) -> None:
    """Username and password of the options precede what is stored."""
    registry.auth, registry.users = "basic", {"ann": "x"}
    made = registry.add("app", ib.image(LAYERS), "v1")
    assert (
        opened(f"{sim.host(registry)}/app:v1", msgspec.structs.replace(options, username="ann", password="x"))[1] == made.layers
    )


def test_identity_tokens_and_helpers(
    registry: sim.Registry, options: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper's identity token is traded for an access token; the helper is run with the registry's name and nothing else."""
    registry.auth, registry.identity_token, registry.users = "bearer", "refresh-me", {"ann": "x"}
    made = registry.add("app", ib.image(LAYERS), "v1")
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-sim"
    helper.write_text('#!/bin/sh\nread -r server\necho "$1 $server" >> "$0.log"\n'
                      '[ -e "$0.none" ] && { echo credentials not found in native keychain; exit 1; }\n'
                      'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"refresh-me\\"}"\n')  # fmt: skip
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_CONFIG", str(programs))
    name = f"{sim.host(registry)}/app:v1"
    for config in ({"credHelpers": {sim.host(registry): "sim"}}, {"credsStore": "sim"}):
        (programs / "config.json").write_bytes(ib.encode(config))
        assert opened(name, options)[1] == made.layers
    assert set((programs / "docker-credential-sim.log").read_text().splitlines()) == {f"get {sim.host(registry)}"}
    (programs / "docker-credential-sim.none").touch()
    with pytest.raises(RegistryError, match="docker login"):
        opened(name, options)
    helper.write_text("#!/bin/sh\necho the key ring is locked >&2\nexit 1\n")
    with pytest.raises(RegistryError, match="key ring is locked"):
        opened(name, options)
    (programs / "config.json").write_bytes(ib.encode({"credsStore": "absent"}))
    with pytest.raises(RegistryError, match="docker-credential-absent is not installed"):
        opened(name, options)
    (programs / "config.json").write_bytes(ib.encode({"credsStore": "../../evil"}))
    with pytest.raises(PratiqueError, match="no name of a credential helper"):
        opened(name, options)


def test_a_token_that_runs_out_is_renewed(registry: sim.Registry, options: SourceOptions) -> None:
    """A 401 in the middle costs one more token, not the scan."""
    registry.auth = "bearer"
    made = registry.add("app", ib.image(LAYERS), "v1")
    with open_target(ImageRef("registry", f"{sim.host(registry)}/app:v1"), None, options) as image:
        registry.tokens.clear()
        registry.tokens.add("another")
        assert Path(image.fetch(image.layers[0]).path).read_bytes() == made.layers[0]


def test_credentials_never_leave_their_registry(
    registry: sim.Registry, options: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither storage that a registry redirects to, nor a mirror, nor another registry ever sees a login."""
    registry.auth, registry.users = "basic", {"ann": "secret"}
    made = registry.add("app", ib.image(LAYERS), "v1")
    storage = sim.Registry()
    blobs = made.blobs
    with (
        sim.serve(lambda asked: storage.part(asked, blobs[asked.path.rpartition("/")[2]]), storage.asked) as address,
        sim.running() as mirror,
    ):
        registry.redirect_blobs = address
        log_in(monkeypatch, tmp_path / "docker", (sim.host(registry), "ann", "secret"))
        with_mirror = msgspec.structs.replace(options, mirrors={sim.host(registry): (sim.host(mirror),)})
        assert opened(f"{sim.host(registry)}/app:v1", with_mirror)[1] == made.layers
        with pytest.raises(TargetNotFoundError):
            opened(f"{sim.host(mirror)}/app:v1", options)
    assert len(storage.asked) == len(set(blobs)) - 1
    assert mirror.asked
    for request in storage.asked + mirror.asked:
        assert not {"authorization", "cookie", "proxy-authorization"} & set(request.headers)


def test_a_token_server_that_is_not_safe_gets_nothing(
    registry: sim.Registry, options: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain HTTP to another machine, other schemes, and users in the address are refused before a login is sent."""
    registry.auth = "bearer"
    registry.add("app", ib.image(LAYERS), "v1")
    log_in(monkeypatch, tmp_path / "docker", (sim.host(registry), "ann", "secret"))
    for realm in (
        "http://tokens.example.test/token",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "https://a:b@127.0.0.1/",
        "",
        "::",
    ):
        registry.realm = realm or " "
        with pytest.raises(RegistryError, match="token server"):
            opened(f"{sim.host(registry)}/app:v1", options)


def test_a_registry_elsewhere_sends_nobody_to_this_machine(
    registry: sim.Registry, options: SourceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token server on a loopback address is asked for a registry on one, or where it was named by hand."""
    registry.auth = "bearer"
    registry.add("app", ib.image(LAYERS), "v1")
    elsewhere = sim.host(registry)
    monkeypatch.setattr(endpoint, "is_loopback", lambda host: host.startswith("localhost"))
    named = msgspec.structs.replace(options, insecure=(elsewhere,))
    for realm in ("http://localhost:1/token", "https://localhost:1/token"):
        registry.realm = realm
        with pytest.raises(RegistryError, match="token server"):
            opened(f"{elsewhere}/app:v1", named)


def test_a_redirect_from_https_to_http_or_to_a_file_is_refused(registry: sim.Registry, options: SourceOptions) -> None:
    """Other schemes are not followed, and neither are redirects without end."""
    registry.add("app", ib.image(LAYERS), "v1")
    registry.redirect_blobs = "file:///etc/passwd#"
    with pytest.raises(IntegrityError, match="not allowed"):
        opened(f"{sim.host(registry)}/app:v1", options)
    registry.redirect_blobs = ""
    loop = sim.Answer(302, {"Location": "/v2/app/manifests/v1"})
    registry.faults["HEAD /v2/app/manifests/v1"] = [loop] * 20
    with pytest.raises(IntegrityError, match="redirects more than"):
        opened(f"{sim.host(registry)}/app:v1", options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Bearer realm="https://a/b",service="c d",scope="x:y,z"',
            [("bearer", {"realm": "https://a/b", "service": "c d", "scope": "x:y,z"})],
        ),
        ('Basic realm="x", Bearer realm=y', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        ('BEARER Realm = "a\\"b"', [("bearer", {"realm": 'a"b'})]),
        ("", []),
        ('realm="alone"', []),
        ('Bearer realm="not closed', [("bearer", {})]),
    ],
)
def test_challenges(text: str, expected: Any) -> None:
    """Several schemes in one header, quoting, and what is broken."""
    assert endpoint.parse_challenges(text) == expected


# -- mirrors --------------------------------------------------------------------------------------------------------------------


def test_mirrors_are_asked_first(registry: sim.Registry, options: SourceOptions) -> None:
    """With a prefix in their path; docker.io names are completed; an absent mirror is passed over."""
    made = registry.add("hub/library/debian", ib.image(LAYERS), "12")
    place = f"{registry.address}/hub"
    mirrored = msgspec.structs.replace(options, mirrors={"docker.io": ("127.0.0.1:1", place)})
    assert opened("debian:12", mirrored)[1] == made.layers
    registry.repositories["app"] = registry.repositories["hub/library/debian"]
    fallen = msgspec.structs.replace(options, mirrors={sim.host(registry): ("127.0.0.1:1",)})
    assert opened(f"{sim.host(registry)}/app:12", fallen)[1] == made.layers


def test_a_mirror_that_tampers_is_not_passed_over(registry: sim.Registry, options: SourceOptions) -> None:
    """A wrong digest is told, even if the registry itself would have had the right bytes."""
    made = registry.add("app", ib.image(LAYERS), "v1")
    with sim.running() as mirror:
        mirror.add("app", made, "v1")
        mirror.repositories["app"][made.digest] = (made.media_type, made.manifest + b" ")
        mirrored = msgspec.structs.replace(options, mirrors={sim.host(registry): (sim.host(mirror),)})
        with pytest.raises(IntegrityError, match="tampered"):
            opened(f"{sim.host(registry)}/app@{made.digest}", mirrored)


# -- faults ---------------------------------------------------------------------------------------------------------------------


def test_retries(registry: sim.Registry, options: SourceOptions) -> None:
    """429 with Retry-After, 502 and 503 are sat out."""
    made = registry.add("app", ib.image(LAYERS), "v1")
    registry.faults["HEAD /v2/app/manifests/v1"] = [sim.Answer(503), sim.Answer(429, {"Retry-After": "0"})]
    registry.faults[f"GET /v2/app/blobs/{ib.digest(made.layers[0])}"] = [sim.Answer(502), sim.Answer(500)]
    assert opened(f"{sim.host(registry)}/app:v1", options)[1] == made.layers


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (sim.Answer(429, {"Retry-After": "3600"}), RegistryError, r"429.*3600 seconds"),
        (sim.Answer(403), RegistryError, "access denied"),
        (sim.Answer(404), TargetNotFoundError, "no image v1"),
        (sim.Answer(418), RegistryError, "status 418"),
        (sim.Answer(401), RegistryError, "login is needed"),
    ],
)
def test_refusals_are_one_clear_line(
    registry: sim.Registry, options: SourceOptions, answer: sim.Answer, error: type[PratiqueError], message: str
) -> None:
    """Host, repository, status, and what to do."""
    registry.faults["/v2/app/manifests/v1"] = [answer] * 9
    with pytest.raises(error, match=message) as caught:
        opened(f"{sim.host(registry)}/app:v1", options)
    assert f"{sim.host(registry)}/app" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_registry_says_is_told_without_control_characters(registry: sim.Registry, options: SourceOptions) -> None:
    """The message of an error body, bounded."""
    body = ib.encode({"errors": [{"message": "no\x1b[31m " + "x" * 900}]})
    registry.faults["/v2/app/manifests/v1"] = [sim.Answer(403, {}, body)]
    registry.head_manifests = False
    registry.faults["GET /v2/app/manifests/v1"] = [sim.Answer(403, {}, body)]
    registry.faults["/v2/app/manifests/v1"] = [sim.Answer(405)]
    with pytest.raises(RegistryError, match="no") as caught:
        opened(f"{sim.host(registry)}/app:v1", options)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_downloads_go_on(registry: sim.Registry, options: SourceOptions, ranges: bool) -> None:
    """Each break is resumed where it was, or from the beginning where the registry knows no ranges."""
    made = registry.add("app", ib.image(LAYERS, compression="none"), "v1")
    registry.ranges = ranges
    digest = ib.digest(made.layers[1])
    registry.faults[digest] = [sim.Answer(cut=3000), sim.Answer(cut=2000), sim.Answer(cut=0)]
    image, layers = opened(f"{sim.host(registry)}/app:v1", options)
    assert layers == made.layers
    assert {Path(image.fetch(layer).path).stat().st_mode & 0o777 for layer in image.layers} == {0o600}
    asked = [request.headers.get("range", "") for request in registry.asked if digest in request.path]
    if ranges:
        assert asked == ["", "bytes=3000-", "bytes=5000-", "bytes=5000-"]


def test_a_download_that_was_given_up_is_resumed_by_the_next_scan(registry: sim.Registry, options: SourceOptions) -> None:
    """What has arrived is kept, and a damaged rest is noticed and thrown away."""
    made = registry.add("app", ib.image(LAYERS, compression="none"), "v1")
    digest = ib.digest(made.layers[1])
    part = options.cache_dir / "blobs/sha256" / f"{digest.split(':')[1]}.part"
    for damage in (False, True):
        registry.faults[digest] = [sim.Answer(cut=4000), *[sim.Answer(cut=0)] * 30]
        with pytest.raises((RegistryError, IntegrityError)):
            opened(f"{sim.host(registry)}/app:v1", options)
        assert part.stat().st_size == 4000
        if damage:
            part.write_bytes(b"x" * 4000)
        registry.faults.clear()
        registry.asked.clear()
        assert opened(f"{sim.host(registry)}/app:v1", options)[1] == made.layers
        assert [request.headers.get("range", "") for request in registry.asked if digest in request.path] == (
            ["bytes=4000-", ""] if damage else ["bytes=4000-"]
        )
        assert not part.exists()
        part.with_suffix("").unlink()


@pytest.mark.parametrize("change", ["flip", "longer", "shorter", "other"])
def test_a_tampered_layer_is_refused(registry: sim.Registry, options: SourceOptions, change: str) -> None:
    """A blob of another digest or size never gets its name in the cache."""
    made = registry.add("app", ib.image(LAYERS, compression="none"), "v1")
    digest, data = ib.digest(made.layers[1]), made.layers[1]
    wrong = {"flip": data[:-1] + b"x", "longer": data + b"x", "shorter": data[:-1], "other": b"x"}[change]
    registry.repositories["app"][digest] = ("", wrong)
    with pytest.raises(PratiqueError) as caught:
        opened(f"{sim.host(registry)}/app:v1", options)
    assert caught.value.exit_code == 3
    assert isinstance(caught.value, IntegrityError)
    assert not (options.cache_dir / "blobs/sha256" / digest.split(":")[1]).exists()


def test_tampered_manifests_and_configurations_are_refused(registry: sim.Registry, options: SourceOptions) -> None:
    """By digest, by the digest that HEAD stated, and by that of the configuration."""
    made = registry.add("app", ib.image(LAYERS), "v1")
    held = registry.repositories["app"]
    name = f"{sim.host(registry)}/app"
    held[made.digest] = (made.media_type, made.manifest + b" ")
    for target in (f"{name}:v1", f"{name}@{made.digest}"):
        with pytest.raises(IntegrityError, match="tampered"):
            opened(target, options)
    held[made.digest] = (made.media_type, made.manifest)
    config = ib.digest(made.config)
    for wrong in (made.config[:-1] + b" ", made.config + b" ", b"{}"):
        held[config] = ("", wrong)
        with pytest.raises(TargetError):
            opened(f"{name}:v1", options)
    held[config] = ("", made.config)
    opened(f"{name}:v1", options)


def test_a_lost_blob_is_no_partial_image(registry: sim.Registry, options: SourceOptions) -> None:
    """404 for a layer that the manifest names ends in exit 3."""
    made = registry.add("app", ib.image(LAYERS), "v1")
    del registry.repositories["app"][ib.digest(made.layers[2])]
    with pytest.raises(IntegrityError, match="has lost"):
        opened(f"{sim.host(registry)}/app:v1", options)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (ib.encode({"schemaVersion": 1, "name": "app", "fsLayers": []}), "schema 1"),
        (b"<html>", "not as the specification says"),
        (b" " * (5 << 20), "limit"),
        (ib.encode({"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64, "size": 1 << 40}, "layers": []}), "limit"),
    ],
)
def test_hostile_manifests(registry: sim.Registry, options: SourceOptions, manifest: bytes, message: str) -> None:
    """Old formats, pages of login portals, and numbers that cannot be."""
    registry.repositories["app"] = {"v1": ("application/json", manifest), ib.digest(manifest): ("application/json", manifest)}
    with pytest.raises(TargetError, match=message):
        opened(f"{sim.host(registry)}/app:v1", options)


def test_nobody_there_and_no_such_name(options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and an unknown host are told as such, and at once."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1: no connection"):
        opened("127.0.0.1:1/app", options)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RegistryError, match=r"registry\.invalid: the name is not known"):
        opened("registry.invalid/app", options)


def test_plain_http_needs_permission(registry: sim.Registry, options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an address is no loopback one, a registry without TLS is refused, unless it is named as insecure."""
    registry.add("app", ib.image(LAYERS), "v1")
    monkeypatch.setattr(endpoint, "is_loopback", lambda _: False)
    with pytest.raises(RegistryError, match="TLS"):
        opened(f"{sim.host(registry)}/app:v1", options)
    opened(f"{sim.host(registry)}/app:v1", msgspec.structs.replace(options, insecure=("127.0.0.1",)))


def test_two_scans_at_once_share_a_download(registry: sim.Registry, options: SourceOptions) -> None:
    """The second waits for the first and takes its file."""
    made = registry.add("app", ib.image(LAYERS, compression="none"), "v1")
    results: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: results.append(opened(f"{sim.host(registry)}/app:v1", options)[1])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [made.layers] * 4
    assert not [entry for entry in (options.cache_dir / "blobs/sha256").iterdir() if entry.suffix]
    for data in made.layers:
        assert registry.paths("GET").count(f"/v2/app/blobs/{ib.digest(data)}") == 1


def test_progress_is_told(registry: sim.Registry, options: SourceOptions) -> None:
    """What is downloaded, how much of it, and how much it is in all."""
    made = registry.add("app", ib.image(LAYERS, compression="none"), "v1")
    told: list[tuple[str, int, int]] = []
    opened(f"{sim.host(registry)}/app:v1", msgspec.structs.replace(options, progress=lambda *step: told.append(step)))
    for data in made.layers:
        assert (f"downloading {ib.digest(data)[:19]}", len(data), len(data)) in told


def test_logins_are_looked_up_under_all_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker Hub's old address, Podman's logins for a part of a registry, and files that are no JSON."""
    from pratique.image.credentials import find

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    logins = [
        ("https://index.docker.io/v1/", "hub", "1"),
        ("reg.test/team", "team", "2"),
        ("https://reg.test", "all", "hush-hush"),
    ]
    (tmp_path / "config.json").write_bytes(sim.docker_config(*logins))

    def user(registry: str, repository: str) -> str:
        found = find(registry, repository)
        return found.username if found else ""

    assert user("docker.io", "library/debian") == "hub"
    assert (user("reg.test", "team/app"), user("reg.test", "other/app"), user("reg.test", "teams/app")) == ("team", "all", "all")
    assert user("other.test", "team/app") == ""
    assert user("reg.test.evil.test", "team/app") == ""
    assert "hush" not in repr(find("reg.test", "x"))
    for wrong in (b"{", b"[]", json.dumps({"auths": {"reg.test": {"auth": "?"}}}).encode()):
        (tmp_path / "config.json").write_bytes(wrong)
        with pytest.raises(PratiqueError, match=r"config\.json") as caught:
            find("reg.test", "x")
        assert caught.value.exit_code == 2
