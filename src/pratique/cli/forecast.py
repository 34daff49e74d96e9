"""The option --privileges in, who would be asked by which policy out: for lint and scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pratique.cli.options import F, setting

if TYPE_CHECKING:
    from pratique.grant.forecast import Forecast


def privileges_setting(function: F) -> F:
    """Give a command --privileges."""
    return setting(
        "--privileges",
        multiple=True,
        metavar="POLICY",
        help="Refuse what a gate with this privilege policy would deny you, and say how to ask for it; repeatable.",
    )(function)


def forecast(files: tuple[str, ...]) -> Forecast | None:
    """Return what decides as the gates will, None where no policy is named. The grants of the store count, where there is one.

    Raises UsageError, PolicyError.
    """
    if not files:
        return None
    from pratique.cli.store import desk, subject_of  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.forecast import Forecast  # noqa: PLC0415
    from pratique.grant.index import GrantIndex  # noqa: PLC0415
    from pratique.grant.policy import combine, load  # noqa: PLC0415
    from pratique.grant.prompt import Asker, Book  # noqa: PLC0415
    from pratique.granting.clock import present  # noqa: PLC0415
    from pratique.model.errors import StoreError  # noqa: PLC0415
    from pratique.policyfiles import read_given  # noqa: PLC0415
    from pratique.store.interface import Wanted  # noqa: PLC0415

    policy = combine([load(file, read_given(file)) for file in files])
    me = subject_of(None)
    try:
        with desk({"store": None}) as at:
            grants = [kept.grant for kept in at.store.find(Wanted(subject=me.id))]
    except StoreError:
        grants = []  # a build server has no store, and no grants
    return Forecast(Asker(me), Book(policy, GrantIndex(grants), present()))
