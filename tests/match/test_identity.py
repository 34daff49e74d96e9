"""Whether a component that a document names is what was scanned: images, packages, versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vexing
from pratique.match.identity import About, package_differs, repository, tag_of
from pratique.match.images import image_differs, is_image
from pratique.match.vers import in_ranges
from pratique.model.inventory import Distro
from pratique.model.vex import Component
from vexing import CONFIG, DIGEST, INDEX, OTHER, package, target

HEX = DIGEST.removeprefix("sha256:")


def component(text: str, **more: Any) -> Component:
    """A component by what may be an @id."""
    key = "purls" if text.startswith("pkg:") else "others"
    return Component(label=text, **{key: (text,), **more})


def differs(text: str, reference: str = "ghcr.io/acme/shop:1.2", **more: Any) -> str:
    """Return what differs between a named image and the one that was scanned, "" for nothing."""
    named = component(text)
    assert is_image(named)
    found = image_differs(named, About(target(reference, **more), [], None))
    return found.message if found else ""


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.25", "docker.io/library/nginx"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/library/nginx@sha256:aa", "docker.io/library/nginx"),
        ("registry-1.docker.io/acme/shop:1", "docker.io/acme/shop"),
        ("acme/shop", "docker.io/acme/shop"),
        ("localhost/shop", "localhost/shop"),
        ("localhost:5000/shop:1", "localhost:5000/shop"),
        ("https://ghcr.io/Acme/Shop", "ghcr.io/acme/shop"),
    ],
)
def test_one_repository_has_one_name(reference: str, name: str) -> None:
    """Whatever somebody calls Docker Hub."""
    assert repository(reference) == name


def test_tags() -> None:
    """A name without tag and digest means the tag latest."""
    assert [tag_of(name) for name in ("a", "a:1", "r:5000/a", "a@sha256:x", "a:1@sha256:x")] == ["latest", "1", "latest", "", "1"]


@pytest.mark.parametrize(
    "text",
    [
        f"pkg:oci/shop@sha256:{HEX}?repository_url=ghcr.io/acme/shop",
        f"pkg:oci/shop@sha256%3A{HEX}?repository_url=ghcr.io%2Facme%2Fshop&tag=1.2&arch=amd64",
        f"pkg:oci/shop@{INDEX}",  # the index that leads to it
        f"pkg:oci/shop@{CONFIG}",  # the configuration, which docker calls the image's id
        f"pkg:oci/other@{DIGEST}?repository_url=mirror.example/other",  # the content is the same, wherever it lies
        f"pkg:docker/acme/shop@{DIGEST}?repository_url=ghcr.io",
        f"pkg:docker/acme/shop@1.2?digest={DIGEST}&platform=linux%2Famd64",  # as BuildKit writes it
        "pkg:oci/shop?repository_url=ghcr.io/acme/shop",
        "pkg:oci/shop?repository_url=ghcr.io/acme/shop&tag=1.2",
        "pkg:oci/shop?repository_url=https://ghcr.io/acme/",  # without the name, as before the purl type was settled
        "pkg:oci/shop",
        "pkg:oci/Shop?tag=1.2",
        "pkg:oci/acme/shop",
        "pkg:docker/acme/shop@1.2?repository_url=ghcr.io",
        f"ghcr.io/acme/shop@{DIGEST}",
        "ghcr.io/acme/shop:1.2",
        "ghcr.io/acme/shop",
    ],
)
def test_names_of_this_image(text: str) -> None:
    """Each is a way to name it that documents in the wild use."""
    assert differs(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"pkg:oci/shop@{OTHER}?repository_url=ghcr.io/acme/shop&tag=1.2", "this one is sha256:aaaa"),
        (f"ghcr.io/acme/shop:1.2@{OTHER}", "it is about the image sha256:dddd"),
        ("pkg:oci/shop?repository_url=ghcr.io/evil/shop", "this image is ghcr.io/acme/shop"),
        ("pkg:oci/hop", "it is about hop; this image is ghcr.io/acme/shop"),
        ("pkg:oci/shop?tag=1.3", "the tag 1.3; this image was taken as 1.2"),
        ("pkg:oci/shop?arch=arm64", "the architecture arm64; this image is for linux/amd64"),
        (f"pkg:oci/shop@{INDEX}?arch=arm64", "the architecture arm64"),
        ("pkg:docker/acme/shop", "it is about docker.io/acme/shop"),
        ("pkg:docker/acme/shop@1.3?repository_url=ghcr.io", "the tag 1.3"),
        ("ghcr.io/acme/shop:2", "the tag 2"),
        ("docker.io/acme/shop", "this image is ghcr.io/acme/shop"),
    ],
)
def test_names_of_other_images(text: str, why: str) -> None:
    """And each says what differs."""
    assert why in differs(text)


@pytest.mark.parametrize(
    "where",
    [
        "docker.io/library",
        "docker.io%2Flibrary",
        "index.docker.io/library",
        "docker.io/library/nginx",
        "index.docker.io",
        "docker.io",
    ],
)
@pytest.mark.parametrize("reference", ["nginx:1.25", "docker.io/library/nginx:1.25", "index.docker.io/nginx:1.25"])
def test_docker_hub_is_one_registry(where: str, reference: str) -> None:
    """docker.io and index.docker.io: what other scanners tell apart (grype#2818, grype#1836)."""
    assert differs(f"pkg:oci/nginx?repository_url={where}", reference) == ""
    assert differs(f"pkg:oci/nginx@{DIGEST}?repository_url={where}", reference) == ""


def test_repository_url_with_the_name() -> None:
    """As the purl specification has it, and as another scanner did not match (grype#3657)."""
    reference = "registry.access.redhat.com/ubi10/podman:10.2"
    assert differs("pkg:oci/podman?repository_url=registry.access.redhat.com/ubi10/podman", reference) == ""
    assert differs(f"pkg:oci/podman@{INDEX}", reference) == ""


def test_a_tag_alone() -> None:
    """A local name and a tag (grype#1905)."""
    assert differs("pkg:oci/busybox?tag=1.36", "busybox:1.36") == ""
    assert "the tag 1.36" in differs("pkg:oci/busybox?tag=1.36", "busybox:1.37")
    assert "taken by its digest" in differs("pkg:oci/busybox?tag=1.36", f"busybox@{DIGEST}")


def test_a_digest_that_is_none() -> None:
    """sha256:sha256:..., which nothing told the author of (grype#1589)."""
    assert differs(f"pkg:oci/shop@sha256:{DIGEST}") == f"sha256:{DIGEST} is no digest"[:113]


def test_targets_without_a_name() -> None:
    """An archive has no name to compare; its digests tell."""
    assert "a digest would tell" in differs("pkg:oci/shop", "shop.tar", scheme="docker-archive")
    assert differs(f"pkg:oci/shop@{DIGEST}", "shop.tar", scheme="docker-archive") == ""
    assert "this target has no digest" in differs(f"pkg:oci/shop@{DIGEST}", "folder", scheme="dir", digest="", digests=())


def test_our_own_name_for_a_folder() -> None:
    """What our documents call a target that no registry knows."""
    about = About(target("some/folder", scheme="dir", digest="", digests=()), [], None)
    assert image_differs(component("urn:pratique:target:dir:some/folder"), about) is None
    assert image_differs(component("urn:pratique:target:dir:other"), about) is not None


def test_hashes_name_an_image() -> None:
    """And a digest that differs goes before a name that fits."""
    about = About(target(), [], None)
    assert image_differs(Component(label="x", hashes=(DIGEST,)), about) is None
    assert image_differs(component("pkg:oci/shop", hashes=(DIGEST,)), about) is None
    assert image_differs(component("pkg:oci/shop", hashes=(OTHER,)), about) is not None


# -- packages -------------------------------------------------------------------------------------------------------------------

OPENSSL = package("pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl", source="openssl@3.0.11-1")


def package_text(text: str, of: Any = OPENSSL, distro: Distro | None = vexing.DEBIAN, **more: Any) -> str:
    """Return what differs between a named package and one that is there, "" for nothing."""
    found = package_differs(component(text, **more), of, About(target(), [of], distro))
    return f"{found.code}: {found.message}" if found else ""


@pytest.mark.parametrize(
    "text",
    [
        "pkg:deb/debian/libssl3",
        "pkg:deb/debian/libssl3@3.0.11-1",
        "pkg:deb/debian/LIBSSL3@0:3.0.11-1",  # dpkg's own idea of the same version
        "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libssl3?arch=x86_64",
        "pkg:deb/debian/libssl3?distro=debian-12.6",
        "pkg:deb/debian/libssl3?distro=bookworm",
        "pkg:deb/debian/libssl3?os_distro=bookworm&os_name=debian&os_version=12",  # Docker's way (docker-hardened-images#2051)
        "pkg:deb/debian/libssl3@3.0.11-1?upstream=openssl&package-id=0123456789abcdef",  # as Syft writes references
        "pkg:deb/debian/openssl?arch=source",
        "pkg:deb/debian/openssl@3.0.11-1?arch=source",
        "pkg:deb/libssl3",
    ],
)
def test_names_of_a_package(text: str) -> None:
    """What is left out means any, and spellings that mean the same are the same."""
    assert package_text(text) == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pkg:deb/debian/openssl", "package-not-found"),
        ("pkg:deb/ubuntu/libssl3", "package-not-found"),
        ("pkg:apk/debian/libssl3", "package-not-found"),
        ("pkg:deb/debian/libssl3@3.0.11-2", "version-differs"),
        ("pkg:deb/debian/libssl3?arch=arm64", "qualifier-differs"),
        ("pkg:deb/debian/libssl3?distro=debian-11", "qualifier-differs"),
        ("pkg:deb/debian/libssl3?distro=ubuntu-12", "qualifier-differs"),
        ("pkg:deb/debian/libssl3?os_name=debian&os_version=13&os_distro=trixie", "qualifier-differs"),
        ("pkg:deb/debian/libssl3?upstream=gnutls28", "qualifier-differs"),
        ("pkg:deb/debian/libssl3?repository_url=https://example.org", "qualifier-differs"),
        ("pkg:deb/debian/openssl@3.0.12-1?arch=source", "version-differs"),
    ],
)
def test_names_of_other_packages(text: str, code: str) -> None:
    """And each says what differs."""
    assert package_text(text).startswith(f"{code}: ")


@pytest.mark.parametrize(
    ("text", "purl", "same"),
    [
        ("pkg:pypi/Flask_Login@1.0", "pkg:pypi/flask-login@1.0.0", True),
        ("pkg:pypi/flask.login", "pkg:pypi/flask-login@1.0.0", True),
        ("pkg:npm/%40acme/shop@1.0.0", "pkg:npm/%40acme/shop@1.0.0", True),
        ("pkg:npm/@acme/shop", "pkg:npm/%40acme/shop@1.0.0", True),
        ("pkg:npm/JSONStream", "pkg:npm/jsonstream@1.0.0", False),  # two packages
        ("pkg:golang/github.com/Acme/Shop@v1.19.0", "pkg:golang/github.com/acme/shop@1.19.0", True),
        ("pkg:golang/stdlib", "pkg:golang/stdlib@1.22.1", True),
        ("pkg:golang/github.com/acme/shop#cmd/tool", "pkg:golang/github.com/acme/shop@1.19.0", False),
        ("pkg:maven/org.acme/shop@1.0?type=jar", "pkg:maven/org.acme/shop@1.0", True),
        ("pkg:maven/org.acme/shop@1.0?classifier=sources", "pkg:maven/org.acme/shop@1.0", False),
        ("pkg:maven/org.acme/Shop", "pkg:maven/org.acme/shop@1.0", False),
        ("pkg:rpm/redhat/samba@4.18-1.el9", "pkg:rpm/redhat/samba@4.18-1.el9?epoch=1", True),
        ("pkg:rpm/rhel/samba@4.18-1.el9?epoch=1", "pkg:rpm/redhat/samba@4.18-1.el9?epoch=1", True),
        ("pkg:rpm/redhat/samba@1:4.18-1.el9", "pkg:rpm/redhat/samba@4.18-1.el9?epoch=1", True),
        ("pkg:rpm/redhat/samba@4.18-1.el9?epoch=2", "pkg:rpm/redhat/samba@4.18-1.el9?epoch=1", False),
        ("pkg:rpm/redhat/samba@4.18-1.el9?epoch=0", "pkg:rpm/redhat/samba@4.18-1.el9", True),
        ("pkg:deb/debian/binutils@2.44-3%2Bdhi6", "pkg:deb/debian/binutils@2.44-3%2Bdhi6?arch=amd64", True),  # trivy#6023
        ("pkg:deb/debian/binutils@2.44-3+dhi6", "pkg:deb/debian/binutils@2.44-3%2Bdhi6?arch=amd64", True),
        ("pkg:npm/glob<11.1", "pkg:npm/glob@10.4.5", False),  # scout-cli#207: a purl has no ranges
    ],
)
def test_types_have_their_own_rules(text: str, purl: str, same: bool) -> None:
    """Letter case, escapes, epochs, a leading v."""
    assert (package_text(text, package(purl)) == "") is same


def test_a_codename_that_nobody_knows() -> None:
    """Not every image says its codename; with the version beside it, it says no more."""
    plain = Distro(id="debian", version="12")
    assert package_text("pkg:deb/debian/libssl3?os_distro=bookworm&os_name=debian&os_version=12", distro=plain) == ""
    assert package_text("pkg:deb/debian/libssl3?os_distro=bookworm", distro=plain) != ""
    assert package_text("pkg:deb/debian/libssl3?distro=debian-12", distro=None) == ""  # the package's own purl says it
    assert "not known" in package_text("pkg:deb/debian/libssl3?distro=debian-12.1", distro=None)


def test_names_that_cannot_be_compared() -> None:
    """A CPE, a purl that is none, nothing at all: told, and never taken for the package."""
    about = About(target(), [OPENSSL], vexing.DEBIAN)
    for named, word in (
        (Component(label="cpe:2.3:a:x:y", cpes=("cpe:2.3:a:x:y",)), "CPE"),
        (Component(label="pkg:", purls=("pkg:",)), "no package URL"),
        (Component(label="OpenSSL"), "no way that can be compared"),
    ):
        found = package_differs(named, OPENSSL, about)
        assert found is not None
        assert found.code == "not-comparable"
        assert word in found.message


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("vers:pypi/<2.0", True),
        ("vers:pypi/<1.0", False),
        ("vers:pypi/>=1.0|<1.6", True),
        ("vers:pypi/>=1.0|<1.5", False),
        ("vers:pypi/<1.6|>=1.0", True),  # out of order
        ("vers:pypi/<1.0|>=1.4|<=1.5", True),
        ("vers:pypi/1.5", True),
        ("vers:pypi/1.4|1.6", False),
        ("vers:pypi/!=1.5", False),
        ("vers:pypi/!=1.4", True),
        ("vers:pypi/>1.5", False),
        ("vers:pypi/*", True),
        ("1.5", True),
        ("1.5.0", True),
        ("1.6", False),
        ("<2", None),
        ("vers:pypi/<what is this?", None),
        ("vers:pypi/", None),
    ],
)
def test_ranges(text: str, inside: bool | None) -> None:
    """The ranges of the vers specification, and versions as they stand; what is neither is not guessed."""
    found = in_ranges((text,), "1.5", package("pkg:pypi/x@1.5"))
    assert (None if found is None else found.code) == {True: None, False: "version-differs", None: "not-comparable"}[inside]


@given(st.text(max_size=60), st.sampled_from(["", "pkg:", "pkg:oci/", "pkg:deb/debian/", "pkg:pypi/x@", "vers:pypi/"]))
def test_any_text_is_compared(text: str, start: str) -> None:
    """Nothing that a document calls a product raises, and nonsense is never the package or image."""
    about = About(target(), [OPENSSL], vexing.DEBIAN)
    named = component(start + text, ranges=(start + text,) if start == "vers:pypi/" else ())
    image_differs(named, about)
    package_differs(named, OPENSSL, about)
