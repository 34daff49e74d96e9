"""Images made to run more than they show: each trick ends in the packages, or in a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imagebuilder
from imagebuilder import Content, layer, symlink
from pratique.image.open import open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.inspection import Inspection, take_inventory
from pratique.inventory import effort
from pratique.inventory.cache import LayerCache
from pratique.inventory.squash import squash
from pratique.match.find import subjects
from pratique.model.errors import BudgetExceededError
from pratique.model.inventory import Inventory, PackageEvidence
from pratique.model.layer import Inspected, LayerRecord, LayerTree, Located

DEBIAN = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
ALPINE = "ID=alpine\nVERSION_ID=3.20.1\n"
LODASH = '{"name": "lodash", "version": "4.17.15"}'
FLASK = "Metadata-Version: 2.1\nName: flask\nVersion: 0.12\n"


def debs(*names: str) -> str:
    """Write dpkg's database."""
    return "".join(f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n\n" for name in names)


def apks(*names: str) -> str:
    """Write apk's database."""
    return "".join(f"P:{name}\nV:1.0-r0\nA:x86_64\n\n" for name in names)


@pytest.fixture
def take(tmp_path: Path) -> Any:
    """Take the inventory of an image of these layers."""

    def taken(*layers: dict[str, Content]) -> Inventory:
        path = tmp_path / "image.tar"
        path.write_bytes(imagebuilder.docker_archive([layer(files) for files in layers]))
        options = SourceOptions(cache_dir=tmp_path / "sources", offline=True)
        with open_target(parse_target(f"docker-archive:{path}"), None, options) as image:
            return take_inventory(image, LayerCache(None), Inspection())

    return taken


def names(inventory: Inventory) -> list[str]:
    """The names of all packages."""
    return sorted(package.name for package in inventory.packages)


def gaps(inventory: Inventory) -> list[tuple[str, str]]:
    """The codes and paths of all gaps."""
    return [(gap.code, gap.path) for gap in inventory.gaps]


def asked(inventory: Inventory) -> list[str]:
    """The names of the packages whose vulnerabilities are looked for."""
    return sorted(subject.name for subject in subjects(inventory.packages, inventory.release)[0])


# -- package databases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [" ", "\t", " \t  "])
def test_a_paragraph_ends_at_a_line_of_blanks(take: Any, line: str) -> None:
    """A paragraph is not hidden in the one before it by a line that only looks empty."""
    status = debs("libc6", "openssl").replace("\n\n", f"\n{line}\n", 1)
    found = take({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status})
    assert names(found) == ["libc6", "openssl"]


def test_two_packages_in_one_paragraph_are_a_gap(take: Any) -> None:
    """What stands in another package's paragraph cannot be told apart from it, and is no silence."""
    status = debs("libc6", "openssl").replace("\n\n", "\n", 1)
    found = take({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status})
    assert ("inventory.invalid", "var/lib/dpkg/status") in gaps(found)
    installed = apks("musl", "openssl").replace("\n\n", "\n", 1)
    found = take({"etc/os-release": ALPINE, "lib/apk/db/installed": installed})
    assert ("inventory.invalid", "lib/apk/db/installed") in gaps(found)


def test_line_ends_of_other_systems_hide_nothing(take: Any) -> None:
    """With a carriage return before each line feed, the packages are the same."""
    assert names(take({"etc/os-release": ALPINE, "lib/apk/db/installed": apks("musl", "openssl").replace("\n", "\r\n")})) == [
        "musl",
        "openssl",
    ]
    assert names(take({"etc/os-release": DEBIAN, "var/lib/dpkg/status": debs("libc6", "openssl").replace("\n", "\r\n")})) == [
        "libc6",
        "openssl",
    ]


def test_packages_under_another_distribution_s_name_are_a_gap(take: Any) -> None:
    """Advisories of the distribution that an edited os-release names do not speak of packages of another kind."""
    files = {"etc/os-release": ALPINE, "var/lib/dpkg/status": debs("openssl"), "lib/apk/db/installed": apks("musl")}
    assert ("advisories.unsupported-distribution", "var/lib/dpkg/status") in gaps(take(files))
    assert ("advisories.unsupported-distribution", "lib/apk/db/installed") in gaps(take(files | {"etc/os-release": DEBIAN}))
    assert gaps(take({"etc/os-release": DEBIAN, "var/lib/dpkg/status": debs("openssl")})) == []
    assert gaps(take({"etc/os-release": ALPINE, "lib/apk/db/installed": apks("musl")})) == []


MOVED = ("image.link-unresolved", "var/lib/dpkg/status")


@pytest.mark.parametrize("link", ["var/lib/dpkg", "var/lib", "var"])
@pytest.mark.parametrize("apart", [0, 1, 2])
def test_a_database_behind_a_linked_folder_is_a_gap(take: Any, link: str, apart: int) -> None:
    """Also without an os-release to miss it, and whatever layers bring the link and the database in."""
    path = "opt/" + "var/lib/dpkg/status".removeprefix(link).lstrip("/")
    made: dict[str, Content] = {link: symlink("/opt")}
    there: dict[str, Content] = {path: debs("openssl")}
    layers = [made | there] if apart == 0 else [made, there] if apart == 1 else [there, made]
    found = take(*layers)
    assert names(found) == []
    assert MOVED in gaps(found)


def test_a_database_behind_a_link_is_read_anew_or_a_gap(take: Any) -> None:
    """What a layer above writes to the file that the link leads to is not hidden by what was there before."""
    lower: dict[str, Content] = {"var/lib/dpkg/status": symlink("/opt/status"), "opt/status": debs("libc6")}
    assert gaps(take(lower)) == []
    found = take(lower, {"opt/status": debs("libc6", "openssl")})
    assert MOVED in gaps(found) or "openssl" in names(found)
    found = take({"var/lib/dpkg": symlink("/opt"), "opt/status.d/openssl": debs("openssl")})
    assert gaps(found) == [(MOVED[0], "var/lib/dpkg/status.d")]


def test_links_that_distributions_make_are_no_gap(take: Any) -> None:
    """Databases that moved with a release have links at their former places."""
    files: dict[str, Content] = {
        "lib": symlink("usr/lib"),
        "etc/os-release": symlink("../usr/lib/os-release"),
        "usr/lib/os-release": ALPINE,
        "usr/lib/apk/db/installed": apks("musl"),
        "var/lib/rpm": symlink("../../usr/lib/sysimage/rpm"),
    }
    found = take(files)
    assert (names(found), gaps(found)) == (["musl"], [])
    found = take({"var/lib/dpkg": symlink("/opt")}, {"var/lib/dpkg/status": debs("openssl")})
    assert (names(found), gaps(found)) == (["openssl"], [])


# -- ownership ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["srv/app", "opt/app", "app", "home/u", "usr/local/lib", "var/www"])
def test_no_package_list_silences_an_application(take: Any, folder: str) -> None:
    """What lies where no distribution installs anything is matched, whoever says to have installed it."""
    manifest = f"{folder}/node_modules/lodash/package.json"
    metadata = f"{folder}/site-packages/flask-0.12.dist-info/METADATA"
    found = take(
        {
            "etc/os-release": DEBIAN,
            "var/lib/dpkg/status": debs("shop"),
            "var/lib/dpkg/info/shop.list": f"/.\n/{manifest}\n/{metadata}\n",
            manifest: LODASH,
            metadata: FLASK,
        }
    )
    assert asked(found) == ["flask", "lodash", "shop"]


def test_a_distribution_s_own_packages_stay_its_own(take: Any) -> None:
    """In the system's folders the owner answers, on either side of a merged /usr."""
    paths = ("usr/share/nodejs/lodash/package.json", "lib/python3/dist-packages/flask-0.12.dist-info/METADATA")
    listed = "".join(f"/{path}\n" for path in paths)
    found = take(
        {
            "etc/os-release": DEBIAN,
            "var/lib/dpkg/status": debs("shop"),
            "var/lib/dpkg/info/shop.list": f"/.\n{listed}",
            paths[0]: LODASH,
            f"usr/{paths[1]}": FLASK,
        }
    )
    assert asked(found) == ["shop"]


# -- exhaustion -----------------------------------------------------------------------------------------------------------------


def record(files: list[bytes], links: dict[bytes, bytes], seen: list[bytes]) -> LayerRecord:
    """What an examination tells of a layer in which something was seen in some files."""
    located = tuple(Located(path.decode(), (PackageEvidence(type="npm", name="a", version="1"),)) for path in seen)
    return LayerRecord(
        diff_id="", tree=LayerTree(files=b"\0".join(files), symlinks=links), inspected={"reader": Inspected(1, located)}
    )


def deep_folders() -> list[LayerRecord]:
    """Long paths that share no folder: each has a thousand."""
    files = [b"%d/" % number + b"a/" * 990 + b"package.json" for number in range(50)]
    return [record([b"q", b"q/f", *files], {b"q": b"/z"}, files)]


def links_one_after_the_other() -> list[LayerRecord]:
    """A link between any two files: where a file lands must be found out anew each time."""
    links = {b"l%d" % number: b"/a" for number in range(500)}
    files = [b"a/" * 500 + b"%d/package.json" % number for number in range(500)]
    pairs = [path for pair in zip(links, files, strict=True) for path in pair]
    return [record([b"q", b"q/f", *pairs], links | {b"q": b"/z"}, files)]


def links_to_long_paths() -> list[LayerRecord]:
    """A link that leads through itself, hundreds of times."""
    files = [b"q/%d/package.json" % number for number in range(500)]
    return [record([b"q", *files], {b"q": b"/" + b"q/" * 900}, files)]


def many_layers_through_a_link() -> list[LayerRecord]:
    """Each small layer writes through a link, so that its entries are taken in their order."""
    links = {b"d%d/l" % number: b"/x" for number in range(2_000)}
    return [record([b"q", *links], links | {b"q": b"/z"}, []), *(record([b"q/f"], {}, []) for _ in range(100))]


@pytest.mark.parametrize("layers", [deep_folders, links_one_after_the_other, links_to_long_paths, many_layers_through_a_link])
def test_putting_layers_together_ends(monkeypatch: pytest.MonkeyPatch, layers: Any) -> None:
    """What layers of any kind may cost the process that is not confined is bounded, and the end of it is an error."""
    squash(layers())
    monkeypatch.setattr(effort, "MAX_EFFORT", 4 << 20)
    with pytest.raises(BudgetExceededError):
        squash(layers())


def test_no_path_grows_beyond_what_a_system_takes() -> None:
    """A link that leads through itself leads nowhere, and costs nothing."""
    [seen] = squash([record([b"q", b"q/x"], {b"q": b"/" + b"q/" * 900}, [b"q/x"])]).alive
    assert len(seen.located.path) < 5_000
