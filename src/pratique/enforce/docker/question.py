"""What a request of the engine's API amounts to, and a container as the gate knows it."""

from __future__ import annotations

from typing import Any, NamedTuple

from pratique.enforce.admission import Image
from pratique.enforce.docker.accounts import Accounts
from pratique.enforce.docker.records import Approved
from pratique.enforce.docker.routes import Route
from pratique.grant.request import Request, Target


class Question(NamedTuple):
    """A request as one question, and what to remember when it has been served."""

    route: Route
    request: Request
    session: str
    container: str = ""
    held: tuple[str, ...] = ()
    image: Image | None = None
    """What is about to run, to be judged by its verdict."""
    at: float = 0.0
    """When it began, on the monotonic clock."""
    note: str = ""
    """What is to be said beside the reasons of a denial."""
    base: tuple[str, ...] | None = None
    """The layers under an image that is made of a container that ran beyond the baseline; None for any other request."""


class Known(NamedTuple):
    """A container as the engine and the gate's records know it."""

    id: str
    inspect: dict[str, Any]
    record: Approved | None
    target: Target
    accounts: Accounts
