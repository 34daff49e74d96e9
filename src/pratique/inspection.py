"""An opened image in, its inventory out: what the cache knows, a confined examination of the rest, squashed and assembled."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pratique.examination import Advance, Channel, Job, Outcome, Setup, inspectors_for, serve, thread_count
from pratique.inventory.cache import LayerCache, stale_inspectors
from pratique.model.ecosystems import base
from pratique.model.errors import IntegrityError, TargetError
from pratique.model.image import Extent, Layer, OpenImage
from pratique.model.inventory import Distro, DistroEvidence, Gap, Inventory, PackageEvidence
from pratique.model.layer import Inspected, LayerRecord
from pratique.model.ports import Inspector

if TYPE_CHECKING:
    from pratique._kit.confined import Channel as ChildProcess

NOT_KEPT = frozenset(("image.layer-limit",))  # what a limit cut short is examined anew next time: the limit may be another then
LOCAL_ARCHIVES = frozenset(("docker-archive", "oci-archive"))  # a file that anybody may write again: judged by its stamp
MAX_SPOOLED = 2 << 30  # bytes written to an unnamed temporary file: more than any program that an inspector looks into

Progress = Callable[[str, int, int], None]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """How to examine: time limit in seconds (None: no limit), whether lock files count, and whom to tell of progress.

    `details` and `files` look for what only an SBOM tells: relations and hashes, every file.
    `say` is called with a line worth keeping, `disown` when a layer is not what it says, so that a download that was damaged
    on this disk is not used again.
    """

    seconds: float | None = None
    declared: bool = False
    details: bool = False
    files: bool = False
    progress: Progress | None = None
    disown: Callable[[], None] | None = None
    say: Callable[[str], None] | None = None


def take_inventory(image: OpenImage, cache: LayerCache, how: Inspection) -> Inventory:
    """Read what is in an image. Raises IntegrityError, TargetError, RegistryError."""
    inspectors = inspectors_for(declared=how.declared, details=how.details, files=how.files)
    if image.folder is not None:
        job = Job(0, str(image.folder), 0, -1, "", image.scheme, tuple(range(len(inspectors))))
        records = _examine([job], inspectors, how)
        return _settle([records[0]], [""], inspectors, how)
    return _settle(_layer_records(image, cache, inspectors, how), [layer.diff_id for layer in image.layers], inspectors, how)


def _layer_records(image: OpenImage, cache: LayerCache, inspectors: Sequence[Inspector], how: Inspection) -> list[LayerRecord]:
    versions = {inspector.name: inspector.version for inspector in inspectors}
    places = {inspector.name: place for place, inspector in enumerate(inspectors)}
    proven = _Proof(image, cache)
    records: dict[str, LayerRecord] = {}
    missing: dict[tuple[str, str], tuple[int, Layer, tuple[int, ...]]] = {}
    for index, layer in enumerate(image.layers):
        record = cache.get(layer.diff_id, details=how.details) if proven.of(layer) else None
        stale = set(versions) if record is None else stale_inspectors(record, versions)
        if record is not None:
            records[layer.diff_id] = record
        if stale:
            key = layer.digest, layer.diff_id  # two blobs under one diff_id: each must prove that it is that layer
            missing.setdefault(key, (index, layer, tuple(sorted(places[name] for name in stale))))
    if missing:
        doubtful: set[str] = set()
        fresh = _examine(_jobs(image, list(missing.values()), proven), inspectors, how)
        for index, record in sorted(fresh.items(), key=lambda pair: (_is_cut(pair[1]), pair[0])):  # a gap must not be lost
            diff_id = image.layers[index].diff_id
            if diff_id in records:
                record.inspected = {**records[diff_id].inspected, **record.inspected}
                record.tree.elsewhere = {**records[diff_id].tree.elsewhere, **record.tree.elsewhere}
            records[diff_id] = record
            if _is_cut(record):
                doubtful.add(diff_id)
        for diff_id in {image.layers[index].diff_id for index in fresh} - doubtful:
            cache.put(records[diff_id])
        proven.remember(doubtful)
    return [records[layer.diff_id] for layer in image.layers]


def _is_cut(record: LayerRecord) -> bool:
    return any(gap.code in NOT_KEPT for gap in record.gaps)


def _jobs(image: OpenImage, missing: Sequence[tuple[int, Layer, tuple[int, ...]]], proven: _Proof) -> list[Job]:
    """Bring the layers here, where they are not, and say what is to be done with each."""
    image.prefetch([layer for _, layer, _ in missing])
    jobs = []
    for index, layer, inspectors in missing:
        extent = proven.extent(layer)
        jobs.append(Job(index, extent.path, extent.offset, extent.size, layer.diff_id, layer.digest, inspectors))
    return jobs


class _Proof:
    """Whether a layer's cached record speaks of the bytes that the target has now."""

    def __init__(self, image: OpenImage, cache: LayerCache) -> None:
        self._image = image
        self._cache = cache
        self._extents: dict[str, Extent] = {}
        self._diff_ids = [layer.diff_id for layer in image.layers]
        self._archive: bool | None = None

    def extent(self, layer: Layer) -> Extent:
        """Return where a layer lies, fetched once."""
        key = layer.digest or layer.diff_id
        if key not in self._extents:
            self._extents[key] = self._image.fetch(layer)
        return self._extents[key]

    def of(self, layer: Layer) -> bool:
        """Say whether the layer was verified in an earlier scan."""
        if self._image.scheme in LOCAL_ARCHIVES:
            if self._archive is None:
                stamp = self.extent(layer).stamp
                self._archive = bool(stamp) and self._cache.archive_is(stamp, self._diff_ids)
            return self._archive
        return bool(layer.digest) and self._cache.blob_is(layer.digest, layer.diff_id)

    def remember(self, doubtful: Container[str]) -> None:
        """Note that every layer has been verified now, but for the doubtful: what a limit cut short did not show its digest."""
        if self._image.scheme in LOCAL_ARCHIVES:
            stamp = next((extent.stamp for extent in self._extents.values()), "")
            if stamp and not any(diff_id in doubtful for diff_id in self._diff_ids):
                self._cache.remember_archive(stamp, self._diff_ids)
            return
        for layer in self._image.layers:
            if layer.digest and layer.diff_id not in doubtful:
                self._cache.remember_blob(layer.digest, layer.diff_id)


def _examine(jobs: Sequence[Job], inspectors: Sequence[Inspector], how: Inspection) -> dict[int, LayerRecord]:
    """Let a confined process examine layers; return the records by index."""
    from pratique._kit.confined import can_fork, confined  # noqa: PLC0415 - only where something is examined
    from pratique._kit.sandbox import Limits  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        spools = _spools(stack, thread_count(len(jobs)))

        def worker(channel: Channel) -> None:
            serve(channel, inspectors, how.seconds, spools)

        readable = sorted({job.path for job in jobs}.union(_own_code()))
        bounds = Limits(file_size=MAX_SPOOLED)
        keep = [spool for spool in spools if spool >= 0]
        if can_fork():
            child = stack.enter_context(confined(worker, read_paths=readable, limits=bounds, keep=keep))
        else:
            from pratique._kit.spawned import spawned  # noqa: PLC0415 - for programs with threads that use us as a library

            setup = msgspec.msgpack.encode(Setup(how.declared, how.seconds, len(spools), len(keep), how.details, how.files))
            child = stack.enter_context(spawned("pratique.examination", setup, read_paths=readable, limits=bounds, keep=keep))
        child.send(msgspec.msgpack.encode(jobs))
        child.finish()
        _import_the_rest()
        return _collect(child, jobs, how)


def _own_code() -> list[str]:
    """Return where this program and its libraries lie: the confined process may still import, and read data of ours."""
    places = [
        str(Path(__file__).parent),
        str(Path(os.__file__).parent),
        str(Path(msgspec.__file__).parents[1]),
        "/usr/lib",
        "/lib",
        "/lib64",
    ]
    return [place for place in places if Path(place).is_dir()]


def _collect(child: ChildProcess, jobs: Sequence[Job], how: Inspection) -> dict[int, LayerRecord]:
    decoder = msgspec.msgpack.Decoder(Outcome | Advance)
    records: dict[int, LayerRecord] = {}
    diff_ids = {job.index: job.diff_id for job in jobs}
    total = sum(max(job.size, 0) for job in jobs)
    missing = child.ready().missing
    if missing and how.say is not None:
        how.say(f"this machine cannot confine the examination fully: {'; '.join(missing)}")
    while (message := child.receive()) is not None:
        try:
            outcome = decoder.decode(message)
        except msgspec.MsgspecError as error:
            raise TargetError(f"the examination gave an answer that is none: {error}") from None
        if isinstance(outcome, Advance):
            if how.progress is not None:
                how.progress(f"examining {len(jobs)} layers, {len(records)} done:", min(outcome.done, total), total)
            continue
        if outcome.integrity:
            if how.disown is not None:
                how.disown()
            raise IntegrityError(outcome.integrity)
        if outcome.failure or outcome.record is None:
            raise TargetError(outcome.failure or "a layer could not be examined")
        if outcome.index not in diff_ids:
            raise TargetError("the examination gave an answer to what it was not asked")
        outcome.record.diff_id = diff_ids[outcome.index]  # not as it says: the cache keeps records under that name for all images
        records[outcome.index] = outcome.record
    if len(records) != len(jobs):
        raise TargetError("the examination ended before all layers were examined")
    return records


def _spools(stack: ExitStack, count: int) -> list[int]:
    """Open unnamed temporary files for large files of compressed layers, one a thread; -1 where there is no room for any."""
    spools = []
    for _ in range(count):
        try:
            spools.append(os.open(os.environ.get("TMPDIR") or "/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))  # noqa: S108
        except OSError:
            spools.append(-1)
            continue
        stack.callback(os.close, spools[-1])
    return spools


def _import_the_rest() -> None:
    """Import what comes after the examination while the other process is busy with it."""
    import pratique.advisory.lookup  # noqa: PLC0415 - the point of this function
    import pratique.inventory.assemble  # noqa: PLC0415
    import pratique.inventory.checked  # noqa: PLC0415
    import pratique.inventory.privileged  # noqa: PLC0415
    import pratique.inventory.squash  # noqa: PLC0415
    import pratique.match.find  # noqa: PLC0415
    import pratique.match.merge  # noqa: PLC0415
    import pratique.policy.judge  # noqa: F401, PLC0415
    from pratique.inventory.distro import advisory_ecosystem  # noqa: PLC0415

    advisory_ecosystem(Distro(id="debian"))  # reads the table of distributions


def _settle(
    records: Sequence[LayerRecord], diff_ids: Sequence[str], inspectors: Sequence[Inspector], how: Inspection
) -> Inventory:
    from pratique.inventory import checked  # noqa: PLC0415 - see _import_the_rest
    from pratique.inventory.assemble import assemble  # noqa: PLC0415
    from pratique.inventory.distro import advisory_ecosystem, settle_distro  # noqa: PLC0415
    from pratique.inventory.privileged import privileged_files  # noqa: PLC0415
    from pratique.inventory.squash import squash  # noqa: PLC0415

    for record in records:  # a cached record may have parts of inspectors that are not asked now, and in another order
        record.inspected = {one.name: _reported(one, record) for one in inspectors if one.name in record.inspected}
    unread = checked.unread(records)
    squashed = squash(records)
    evidence = [item for seen in squashed.alive for item in seen.located.evidence]
    distro = settle_distro([item for item in evidence if isinstance(item, DistroEvidence)])
    release = (advisory_ecosystem(distro) or "") if distro is not None else ""
    assembled = assemble(squashed.alive, diff_ids, distro, base(release) if release else "", _links(records))
    gaps = [gap for gap in squashed.gaps if not _answered(gap, assembled.owned)] + assembled.gaps
    gaps += _missing_database(evidence, distro.id if distro is not None else "")
    inventory = Inventory(
        distro=distro,
        release=release,
        packages=tuple(assembled.packages),
        gaps=tuple(gap for gap in gaps if gap.path not in checked.ACCOUNTS),
        privileged=privileged_files([record.tree for record in records], diff_ids),
        accounts=checked.accounts(squashed.alive, diff_ids),
        secrets=checked.secrets(records, squashed.alive, diff_ids, assembled.owned),
        check_gaps=(*unread, *(gap for gap in gaps if gap.path in checked.ACCOUNTS)),
    )
    if not how.details:
        return inventory
    from pratique.inventory.relate import image_files, present, relate  # noqa: PLC0415 - only for an SBOM

    packages = relate(assembled.packages, squashed.alive, assembled.purl_of)
    files = image_files(squashed.alive, diff_ids) if how.files else ()
    return msgspec.structs.replace(inventory, packages=tuple(present(packages, files) if how.files else packages), files=files)


def _links(records: Sequence[LayerRecord]) -> Callable[[str], str]:
    """Return what says where the uppermost symbolic link of a path leads."""

    def linked(path: str) -> str:
        raw = path.encode()
        found = (record.tree.symlinks.get(raw) for record in reversed(records))
        return next((target.decode("utf-8", "replace") for target in found if target is not None), "")

    return linked


def _reported(inspector: Inspector, record: LayerRecord) -> Inspected:
    """Leave out what inspectors of details could not read: those of packages have told it of the same files."""
    found = record.inspected[inspector.name]
    if inspector.interest.scope != "details" or not found.gaps:
        return found
    return msgspec.structs.replace(found, gaps=tuple(gap for gap in found.gaps if gap.code == "inventory.defect"))


# What a program or archive does not say about itself, its package does: the distributor's advisories cover it as a whole.
_OWNERS_KNOW = frozenset(("inventory.no-build-info", "inventory.unidentified", "inventory.packed-binary"))


def _answered(gap: Gap, owned: Container[str]) -> bool:
    return gap.code in _OWNERS_KNOW and gap.path in owned


_DATABASES = {"debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk", "chainguard": "apk"}
_RPM = frozenset(
    ("rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn", "sles", "opensuse-leap", "photon", "azurelinux")
)


def _missing_database(evidence: Sequence[object], distro: str) -> list[Gap]:
    """A distribution that says its name but has no package database was stripped of it: nobody can say what is installed."""
    kind = "rpm" if distro in _RPM else _DATABASES.get(distro, "")
    if not kind or any(isinstance(item, PackageEvidence) and item.type == kind for item in evidence):
        return []
    message = f"{distro} without a {kind} package database: what the distribution installed cannot be known"
    return [Gap(code="inventory.no-package-database", message=message, path="etc/os-release")]
