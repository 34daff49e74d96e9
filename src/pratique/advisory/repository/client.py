"""A library and a trusted root in, files that verify out: python-tuf's client workflow over our own transport.

Rules that are python-tuf's own: https://theupdateframework.github.io/specification/latest/#detailed-client-workflow. Ours are the
bounds in bytes and time, and which error is which: what does not verify is a VerificationError, what cannot be had a FeedError.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from pratique._kit.http import BODY_SECONDS, GRACE_SECONDS, MAX_FRUITLESS, SLOWEST
from pratique.advisory.repository.shelf import Library
from pratique.model.errors import CouldNotError, FeedError, PratiqueError, UsageError, VerificationError

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile
    from tuf.ngclient import Updater

# python-tuf's own bound; a root of a dozen keys has 5 KB.
MAX_ROOT = 512_000
_METADATA, _TARGETS = "metadata/", "targets/"
PAUSE = 0.2  # before a broken download goes on; the HTTP layer has its own, longer, pauses for refusals


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long may be waited: seconds for a file of metadata; for a target `grace` and what the slowest rate (bytes/s) takes."""

    metadata_seconds: float = BODY_SECONDS
    grace_seconds: float = GRACE_SECONDS
    slowest: float = SLOWEST


class Client:
    """One refresh of a repository, and the targets that it then vouches for. `received` counts bytes."""

    def __init__(self, library: Library, root: bytes, state: Path, now: datetime, bounds: Bounds | None = None) -> None:
        """`state` is a folder of this trusted root's own. Raises VerificationError for a root that is none."""
        from tuf.api.exceptions import RepositoryError
        from tuf.ngclient import Updater

        self.library = library
        self._state = state
        self._transport = _transport(library, bounds or Bounds())
        _tidy(state)
        try:
            self._updater: Updater = Updater(
                metadata_dir=str(state),
                metadata_base_url=_METADATA,
                target_base_url=_TARGETS,
                fetcher=self._transport,
                bootstrap=root,
            )
        except (RepositoryError, ValueError, RecursionError) as error:
            raise VerificationError(f"the trusted root does not verify: {_line(error)}") from error
        # python-tuf takes the time when it is made and has no argument for it; the tests would notice if this stopped to work.
        self._updater._trusted_set.reference_time = now.astimezone(UTC)  # noqa: SLF001

    @property
    def received(self) -> int:
        received: int = self._transport.received
        return received

    def refresh(self) -> None:
        """Follow root, timestamp, snapshot and targets to the newest. Raises VerificationError, FeedError."""
        with self._explained():
            self._updater.refresh()

    @property
    def number(self) -> int:
        """The number of the publication that was found."""
        return int(self._trusted("targets").version)

    @property
    def root_version(self) -> int:
        """The version of the root that is trusted now."""
        return int(self._trusted("root").version)

    def targets(self) -> dict[str, TargetFile]:
        """Return every target that the publication names."""
        targets: dict[str, TargetFile] = self._trusted("targets").targets
        return targets

    def _trusted(self, role: str) -> Any:
        return self._updater._trusted_set[role]  # noqa: SLF001 - what was verified; python-tuf offers it one by one only

    def target(self, name: str) -> TargetFile | None:
        """Return what is signed about a target; None where there is none of that name."""
        with self._explained():
            return self._updater.get_targetinfo(name)

    def bring(self, target: TargetFile, folder: Path, limit: int) -> Path:
        """Return a target's file in `folder`, downloaded unless it is there from a try before; it is named by its digest.

        Raises VerificationError, FeedError, both also for more than `limit` bytes.
        """
        if target.length > limit:
            raise VerificationError(f"{self.library.name}: {target.path} is larger than {limit} bytes")
        path = folder / f"{hashlib.sha256(repr(sorted(target.hashes.items())).encode()).hexdigest()}.target"
        with self._explained():
            found = self._updater.find_cached_target(target, str(path))
            return Path(found or self._updater.download_target(target, str(path)))

    def metadata(self) -> dict[str, bytes]:
        """Return the files of metadata that lead from the trusted root to the publication, by path, as they were verified."""
        files = {f"metadata/{path.name}": path.read_bytes() for path in (self._state / "root_history").glob("*.root.json")}
        for role in ("snapshot", "targets"):
            files[f"metadata/{self._trusted(role).version}.{role}.json"] = (self._state / f"{role}.json").read_bytes()
        return {**files, "metadata/timestamp.json": (self._state / "timestamp.json").read_bytes()}

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from tuf.api import exceptions

        name = self.library.name
        try:
            yield
        except exceptions.ExpiredMetadataError as error:
            hint = "its publisher has stopped, or somebody holds back what is newer; the last good database is kept"
            raise VerificationError(f"{name} does not verify: {_line(error)}", hint=hint) from error
        except (exceptions.RepositoryError, exceptions.DownloadLengthMismatchError) as error:
            hint = "the last good database is kept"
            raise VerificationError(f"{name} does not verify: {_line(error)}", hint=hint) from error
        except exceptions.DownloadHTTPError as error:
            raise FeedError(f"{name}: {_line(error)}") from error
        except exceptions.DownloadError as error:
            cause = error.__cause__ if isinstance(error.__cause__, PratiqueError) else None
            raise FeedError(f"{name}: {cause.message if cause else _line(error)}", hint=cause.hint if cause else "") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:  # what metadata of an odd shape makes of python-tuf
            raise VerificationError(f"{name} does not verify: {type(error).__name__}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _tidy(state: Path) -> None:
    """Make the folder, and remove what a killed process left in it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        for path in state.glob("tmp*"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{state} cannot be written: {error.strerror or error}", hint="choose another --cache-dir") from error


def _transport(library: Library, bounds: Bounds) -> Any:
    """Return a fetcher for python-tuf. A class within, as its base is imported only when a repository is asked."""
    from tuf.api.exceptions import DownloadHTTPError, SlowRetrievalError
    from tuf.ngclient import FetcherInterface

    class Transport(FetcherInterface):
        received = 0
        end = 0.0

        @contextlib.contextmanager
        def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
            slow = bounds.metadata_seconds if url.startswith(_METADATA) else bounds.grace_seconds + max_length / bounds.slowest
            self.end = time.monotonic() + slow
            with super().download_file(url, max_length) as stream:
                yield stream

        def _fetch(self, url: str) -> Iterator[bytes]:
            for piece in _resumed(library, url, self.late):
                self.received += len(piece)
                yield piece

        def late(self) -> None:
            if time.monotonic() > self.end:
                raise SlowRetrievalError("slower than anybody waits for")

    def _resumed(library: Library, path: str, late: Callable[[], None]) -> Iterator[bytes]:
        """Yield a file's pieces; where the connection breaks, go on from there. Errors are python-tuf's, also while it yields."""
        have = fruitless = 0
        while True:
            before = have
            try:
                for piece in library.open(path, have):
                    late()
                    have += len(piece)
                    yield piece
            except FileNotFoundError:
                raise DownloadHTTPError(f"there is no {path}", 404) from None
            except CouldNotError as error:
                fruitless = 0 if have > before else fruitless + 1
                if not have or fruitless >= MAX_FRUITLESS:
                    raise _download_error(error) from error
                late()
                time.sleep(PAUSE)
            else:
                return

    return Transport()


def _download_error(error: CouldNotError) -> Exception:
    from tuf.api.exceptions import DownloadError

    return DownloadError(error.message)
