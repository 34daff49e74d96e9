"""Each attack that The Update Framework names, against a real web server: refused in one line, the last good database stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from pratique.advisory.repository import catalogue as names
from pratique.advisory.repository import steps
from pratique.advisory.repository.catalogue import Catalogue
from pratique.advisory.repository.client import Bounds
from pratique.advisory.repository.keys import Ring
from pratique.advisory.repository.pull import How, Pulled, pull, trust_folder
from pratique.advisory.repository.shelf import Folder
from pratique.advisory.repository.web import Web
from pratique.model.errors import FeedError, PratiqueError, VerificationError
from repositorysim import (
    NOW,
    Fault,
    Publisher,
    Site,
    breaks,
    breaks_at_once,
    endless,
    fixed_in,
    says,
    slow,
    status,
    truncated,
    web,
)

pytestmark = pytest.mark.loopback
DAY = timedelta(days=1)


class Victim:
    """A client that has the first publication, and is lured to a second."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.publisher = Publisher(folder / "publisher")
        self.site, self.first, self.cache = site, folder / "first", folder / "cache"
        self.root = self.publisher.root

    def pull(self, now: Any = NOW + DAY, **bounds: float) -> Pulled:
        """Pull over HTTP."""
        library = Web(self.site.url)
        try:
            return pull(self.cache, library, self.root, How(now=now, bounds=Bounds(**bounds)))
        finally:
            library.close()

    def refuses(
        self, said: str = "", kind: type[PratiqueError] = VerificationError, now: Any = NOW + DAY, **bounds: float
    ) -> None:
        """Pull in vain: the error is of this kind and one line, the database is as it was and nothing half-done lies about."""
        before = sorted(path.name for path in (self.cache / "db").glob("*.sqlite"))
        known = fixed_in(self.cache)
        with pytest.raises(kind) as caught:
            self.pull(now, **bounds)
        text = str(caught.value)
        assert said in text
        assert "\n" not in text
        assert fixed_in(self.cache) == known
        assert sorted(path.name for path in (self.cache / "db").glob("*.sqlite")) == before

    def recovers(self) -> None:
        """Once the attack is over, the client has the second publication."""
        self.site.faults.clear()
        self.pull()
        assert fixed_in(self.cache) == "3.0"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A publisher with two publications, a copy of the first, and the cache of a client that has the first."""
    folder = tmp_path_factory.mktemp("scene")
    publisher = Publisher(folder / "publisher")
    publisher.publish()
    pull(folder / "cache", Folder(publisher.dest), publisher.root, How(now=NOW))
    shutil.copytree(publisher.dest, folder / "first")
    publisher.learn("3.0")
    publisher.publish(NOW + DAY)
    return folder


@pytest.fixture
def victim(scene: Path, tmp_path: Path) -> Iterator[Victim]:
    shutil.copytree(scene, tmp_path / "scene", symlinks=True)
    with web(tmp_path / "scene/publisher/dest") as site:
        yield Victim(tmp_path / "scene", site)


def test_without_an_attack(victim: Victim) -> None:
    """The second publication is taken, by its changes."""
    done = victim.pull()
    assert (done.number, done.changed, done.whole) == (2, ("osv/PyPI",), ())
    assert fixed_in(victim.cache) == "3.0"


@pytest.mark.parametrize("part", ["feeds/", "changes/", "catalogue"])
def test_tampered_target(victim: Victim, part: str) -> None:
    """A byte of a file is another: of the catalogue, of the changes, or of a whole file where the changes are withheld."""
    if part == "feeds/":
        victim.site.faults["changes/"] = status(404)
    path = next(path for path in victim.publisher.dest.rglob("*.zst") if part in str(path) and _is_new(victim, path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    victim.site.faults[path.name] = says(bytes(content))
    victim.refuses("does not verify")
    victim.recovers()


def _is_new(victim: Victim, path: Path) -> bool:
    return not (victim.first / path.relative_to(victim.publisher.dest)).exists()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_tampered_metadata(victim: Victim, role: str) -> None:
    """What is signed is changed, the signature is not."""
    path, _ = victim.publisher.role(role)
    document = json.loads(path.read_bytes())
    document["signed"]["expires"] = "2036-01-01T00:00:00Z"
    victim.site.faults[path.name] = says(json.dumps(document).encode())
    victim.refuses("does not verify")
    victim.recovers()


def test_rollback_of_everything(victim: Victim) -> None:
    """The server gives the whole first publication to a client that has seen the second."""
    victim.pull()
    victim.site.folder = victim.first
    victim.refuses("version")
    assert fixed_in(victim.cache) == "3.0"


def test_rollback_survives_cleaning_the_database(victim: Victim) -> None:
    """Who removes the database still knows what was seen."""
    victim.pull()
    shutil.rmtree(victim.cache / "db")
    victim.site.folder = victim.first
    with pytest.raises(VerificationError, match="version"):
        victim.pull()


def test_rollback_of_the_snapshot(victim: Victim) -> None:
    """Who has the timestamp's key announces the first snapshot again."""
    victim.pull()
    old = (victim.first / "metadata/1.snapshot.json").read_bytes()

    def change(timestamp: Any) -> None:
        timestamp.version = 3
        timestamp.snapshot_meta = MetaFile.from_data(1, old, ["sha256"])

    victim.publisher.forge("timestamp", change)
    victim.site.faults["1.snapshot.json"] = says(old)
    victim.refuses("snapshot version")


def test_rollback_of_the_targets(victim: Victim) -> None:
    """Who has the keys of timestamp and snapshot puts the first targets into a new snapshot."""
    victim.pull()
    old = (victim.first / "metadata/1.targets.json").read_bytes()
    publisher, ring = victim.publisher, Ring.load(victim.publisher.keys)
    _, snapshot = publisher.role("snapshot")
    snapshot.signed.version = 3
    snapshot.signed.meta["targets.json"] = MetaFile.from_data(1, old, ["sha256"])
    content = _signed(snapshot, ring)
    (publisher.dest / "metadata/3.snapshot.json").write_bytes(content)
    path, timestamp = publisher.role("timestamp")
    timestamp.signed.version = 3
    timestamp.signed.snapshot_meta = MetaFile.from_data(3, content, ["sha256"])
    path.write_bytes(_signed(timestamp, ring))
    victim.refuses("targets.json version")


def _signed(made: Metadata[Any], ring: Ring) -> bytes:
    keyids = list(made.signatures)
    made.signatures.clear()
    for keyid in keyids:
        made.sign(ring.signers[keyid], append=True)
    return made.to_bytes()


def test_freeze(victim: Victim) -> None:
    """The server goes on giving what was true once: it is refused when the timestamp has expired, eight days later."""
    victim.pull()
    victim.refuses("expired", now=NOW + 9 * DAY)
    victim.publisher.publish(NOW + 9 * DAY)
    assert victim.pull(NOW + 9 * DAY).number == 3


@pytest.mark.parametrize(("years", "answer"), [(-400, True), (400, False)])
def test_the_clock_that_python_tuf_goes_by_is_the_one_it_is_given(victim: Victim, years: int, *, answer: bool) -> None:
    """It has no argument for the time: should a release keep the time elsewhere, this fails, whatever the machine's clock is."""
    victim.publisher.forge("timestamp", lambda signed: setattr(signed, "expires", NOW + 9 * DAY))
    when = NOW + years * 365 * DAY
    if answer:
        assert victim.pull(when).number == 2
    else:
        victim.refuses("expired", now=when)


def test_freeze_of_the_root(victim: Victim) -> None:
    """A root that has expired vouches for nothing, whatever is signed anew."""
    victim.publisher.forge("timestamp", lambda signed: setattr(signed, "expires", NOW + 900 * DAY))
    victim.refuses("root.json is expired", now=NOW + 366 * DAY)


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_mix_and_match(victim: Victim, role: str) -> None:
    """One file of the second publication is answered with that of the first, which is as well signed."""
    victim.site.faults[f"2.{role}.json"] = says((victim.first / f"metadata/1.{role}.json").read_bytes())
    victim.refuses("does not verify")
    victim.recovers()


def test_mixed_catalogue(victim: Victim) -> None:
    """A signed targets file that names the catalogue of another publication is noticed."""
    (old,) = (victim.first / "targets").rglob("*.catalogue.json.zst")
    victim.publisher.replace("catalogue", old.read_bytes())
    victim.refuses("another publication")


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ("timestamp.json", truncated),
        ("2.targets.json", truncated),
        ("catalogue", truncated),
        ("catalogue", says(b"")),
        ("timestamp.json", says(b"")),
        ("timestamp.json", says(b"[" * 16_000)),
        ("timestamp.json", says(b'{"signed": {}, "signatures": []}')),
        ("timestamp.json", says(b"\xff\xfe" * 100)),
    ],
)
def test_truncated_or_senseless(victim: Victim, part: str, fault: Fault) -> None:
    """Half a file that claims to be whole, nothing, or nonsense."""
    victim.site.faults[part] = fault
    victim.refuses("does not verify")
    victim.recovers()


@pytest.mark.parametrize("part", ["timestamp.json", "2.root.json", "2.snapshot.json", "2.targets.json", "catalogue", "changes/"])
def test_endless_data(victim: Victim, part: str) -> None:
    """What has no end is left after as many bytes as it may have."""
    victim.site.faults[part] = endless
    victim.refuses("does not verify")
    victim.recovers()


def test_huge_metadata(victim: Victim) -> None:
    """A timestamp of a megabyte is not read to its end, even where it is signed."""
    victim.publisher.forge("timestamp", lambda signed: signed.unrecognized_fields.update({"x": "y" * 1_000_000}))
    victim.refuses("does not verify")


@pytest.mark.parametrize("part", ["timestamp.json", "changes/"])
def test_slow_data(victim: Victim, part: str) -> None:
    """A server that sends a byte now and then does not hold anybody for long: that is no forgery, but no answer either."""
    victim.site.faults[part] = slow
    if part == "changes/":
        victim.site.faults["feeds/"] = slow
    victim.refuses("slower", FeedError, metadata_seconds=0.2 if part != "changes/" else 60, grace_seconds=0.2, slowest=1e12)
    victim.recovers()


def test_a_broken_connection_goes_on(victim: Victim) -> None:
    """A download that breaks again and again is finished where the server takes ranges."""
    victim.site.faults["targets/"] = breaks
    assert victim.pull().number == 2
    assert fixed_in(victim.cache) == "3.0"


@pytest.mark.parametrize("fault", [breaks_at_once, status(500), status(404), status(204)])
@pytest.mark.parametrize("part", ["timestamp.json", "catalogue"])
def test_no_answer_is_no_forgery(victim: Victim, part: str, fault: Fault) -> None:
    """What could not be had is told apart from what does not verify."""
    victim.site.faults[part] = fault
    victim.refuses(kind=FeedError)
    victim.recovers()


def test_withheld_changes_do_not_matter(victim: Victim) -> None:
    """Who withholds the changes costs the bytes of a whole file, no more."""
    victim.site.faults["changes/"] = status(404)
    done = victim.pull()
    assert (done.whole, done.changed) == (("osv/PyPI",), ())
    assert fixed_in(victim.cache) == "3.0"


def test_unknown_root(victim: Victim, tmp_path: Path) -> None:
    """A repository of other keys is refused, its root too where it is offered as the next one."""
    other = Publisher(tmp_path / "other")
    other.publish()
    other.publish(rotate=("root",))
    victim.site.folder = other.dest
    victim.refuses("does not verify")


def test_a_root_that_is_none(victim: Victim) -> None:
    """A trusted root must verify by itself."""
    document = json.loads(victim.root)
    document["signatures"] = []
    victim.root = json.dumps(document).encode()
    victim.refuses("trusted root does not verify")
    victim.root = b"{}"
    victim.refuses("trusted root does not verify")


def test_threshold(publisher: Publisher, site: Site, tmp_path: Path) -> None:
    """Where two keys must sign the root, one does not rotate anything; two do."""
    publisher.publish(threshold=2)
    publisher.learn("3.0")
    publisher.publish(rotate=("timestamp",))
    path = publisher.dest / "metadata/2.root.json"
    whole = path.read_bytes()
    root: Metadata[Any] = Metadata.from_bytes(whole)
    assert len(root.signatures) == 3
    for keyid in list(root.signatures)[:2]:
        del root.signatures[keyid]
    path.write_bytes(root.to_bytes())
    library = Web(site.url)
    with pytest.raises(VerificationError, match="signed by 1/2"):
        pull(tmp_path / "cache", library, publisher.root, How(now=NOW))
    path.write_bytes(whole)
    assert pull(tmp_path / "cache", library, publisher.root, How(now=NOW)).root == 2
    library.close()


def test_unsigned_metadata(victim: Victim) -> None:
    """Signatures that are missing, and signatures by the key of another role."""
    path, timestamp = victim.publisher.role("timestamp")
    timestamp.signatures.clear()
    victim.site.faults[path.name] = says(timestamp.to_bytes())
    victim.refuses("signed by 0/1")
    _, targets = victim.publisher.role("targets")
    timestamp.sign(Ring.load(victim.publisher.keys).signers[next(iter(targets.signatures))])
    victim.site.faults[path.name] = says(timestamp.to_bytes())
    victim.refuses("signed by 0/1")


def test_key_rotation_across_versions(victim: Victim) -> None:
    """A client that trusts the first root follows every rotation since, and stays where it is meanwhile."""
    publisher = victim.publisher
    for day, role in enumerate(("timestamp", "targets", "root", "snapshot", "root"), 2):
        publisher.learn(f"{day}.5")
        publisher.publish(NOW + DAY, rotate=(role,))
        if role == "root":
            assert victim.pull().root == day
    assert victim.pull().root == 6
    assert fixed_in(victim.cache) == "6.5"
    assert sorted(path.name.partition("-")[0] for path in (publisher.keys / "retired").iterdir()) == sorted(
        ["timestamp", "targets", "root", "snapshot", "root"]
    )


def test_revoked_key(victim: Victim) -> None:
    """What is signed by a key that was rotated out is refused, even by a client that has not seen the rotation yet."""
    publisher = victim.publisher
    stolen = Ring.load(publisher.keys)
    path, timestamp = publisher.role("timestamp")
    publisher.publish(NOW + DAY, rotate=("timestamp",))
    timestamp.signed.version = 99
    (keyid,) = timestamp.signatures
    timestamp.sign(stolen.signers[keyid])
    path.write_bytes(timestamp.to_bytes())
    victim.refuses("signed by 0/1")


def test_fast_forward_is_undone_by_rotation(victim: Victim) -> None:
    """A thief of the timestamp's key who counts far ahead has no power left once the key is rotated."""
    victim.publisher.forge("timestamp", lambda signed: setattr(signed, "version", 10**9))
    victim.pull()
    (victim.publisher.keys / "published.json").write_text('{"number": 2}')
    victim.site.folder = victim.publisher.dest
    shutil.copy(victim.first / "metadata/timestamp.json", victim.publisher.dest / "metadata/timestamp.json")
    victim.publisher.learn("4.0")
    victim.publisher.publish(NOW + DAY)
    victim.refuses("version")
    victim.publisher.learn("5.0")
    victim.publisher.publish(NOW + DAY, rotate=("timestamp", "snapshot"))
    victim.pull()
    assert fixed_in(victim.cache) == "5.0"


# -- a publisher who is mistaken, or whose keys were all stolen -----------------------------------------------------------------


def _catalogue(victim: Victim, change: Callable[[Catalogue], Catalogue]) -> None:
    _, _, path = victim.publisher.target("catalogue")
    victim.publisher.replace("catalogue", names.encode(change(names.decode(path.read_bytes()))))


@pytest.mark.parametrize("name", ["../../evil", "osv/../../evil", "/etc/evil", "a\0b", ".hidden", "x" * 300, ""])
def test_arbitrary_names(victim: Victim, name: str) -> None:
    """A signed catalogue cannot name a file outside of the database's folder."""

    def change(catalogue: Catalogue) -> Catalogue:
        entry = msgspec.structs.replace(catalogue.feeds["osv/PyPI"], name=name, state="0" * 64)
        return msgspec.structs.replace(catalogue, feeds={name: entry})

    _catalogue(victim, change)
    victim.refuses("no name")
    assert not list(victim.cache.parent.rglob("*evil*"))


def test_a_target_outside_of_the_repository(victim: Victim) -> None:
    """Targets with odd names are not asked for, whoever signed them."""
    evil = TargetFile.from_data("../../../etc/passwd", b"x", ["sha256"])
    victim.publisher.forge("targets", lambda signed: signed.targets.update({evil.path: evil}))
    victim.pull()
    assert not any("passwd" in path for path in victim.site.asked)


def test_changes_that_do_not_lead_there(victim: Victim) -> None:
    """Signed changes that end in another state are dropped for the whole file."""
    publisher = victim.publisher
    _, _, path = publisher.target("changes/2")
    real = steps.decode(path.read_bytes())
    change = real["osv/PyPI"]
    for wrong in (
        msgspec.structs.replace(change, data=b"nonsense"),
        msgspec.structs.replace(change, data=change.data[:-20]),
        msgspec.structs.replace(change, before="0" * 64),
        msgspec.structs.replace(change, after="0" * 64, data=_empty(change)),
    ):
        cache = victim.cache.parent / f"copy-{wrong.before[:4]}-{wrong.after[:4]}-{len(wrong.data)}"
        shutil.copytree(victim.cache, cache)
        publisher.replace("changes/2", steps.encode({"osv/PyPI": wrong}))
        library = Web(victim.site.url)
        done = pull(cache, library, victim.root, How(now=NOW + DAY))
        library.close()
        assert done.whole == ("osv/PyPI",)
        assert fixed_in(cache) == "3.0"
        assert not list((cache / "db/incoming").glob("*.target*"))


def _empty(change: steps.Change) -> bytes:
    return change.data[:19]


def test_a_file_that_inflates_without_end(victim: Victim) -> None:
    """A signed file unpacks to the size that is signed, and not a byte more."""
    publisher = victim.publisher
    bomb = names.squeeze(b"\0" * 50_000_000)
    victim.site.faults["changes/"] = status(404)
    publisher.replace("osv-PyPI", bomb)
    victim.refuses("more than")


def test_another_format(victim: Victim) -> None:
    """A repository without a database of this program's format says so; what is there stays."""
    name, target, _ = victim.publisher.target("catalogue")

    def change(signed: Any) -> None:
        del signed.targets[name]
        signed.targets["999/catalogue.json.zst"] = target

    victim.publisher.forge("targets", change)
    victim.refuses("no database of format", PratiqueError)


def test_state_is_of_the_root_not_of_the_address(victim: Victim) -> None:
    """Two addresses of one repository share what was seen; another root has its own."""
    assert trust_folder(victim.cache, victim.root) != trust_folder(victim.cache, victim.root + b" ")
    victim.pull()
    with web(victim.first) as mirror:
        library = Web(mirror.url)
        with pytest.raises(VerificationError):
            pull(victim.cache, library, victim.root, How(now=NOW + DAY))
        library.close()
