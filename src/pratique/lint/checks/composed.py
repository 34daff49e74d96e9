"""Checks of Compose files that ask for what a Spec does not hold: how services are started again, watched and joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pratique._kit.yamltree import Node
from pratique.lint.hit import Hit
from pratique.lint.secrets import holds_secret
from pratique.workload.compose import text_of


def _services(document: Node) -> Iterator[tuple[str, Node]]:
    for name, node in document.get("services").members():
        if node.kind == "map":
            yield f"service {name}", node


def restart(document: Node) -> Iterator[Hit]:
    """A service is started again without end."""
    for subject, node in _services(document):
        policy = text_of(node.get("restart"))
        if policy in ("always", "unless-stopped"):
            message = f"{subject}: it is started again for ever (restart: {policy})"
            yield Hit(node.at("restart"), message, f"{subject}\0restart", subject)


def default_bridge(document: Node) -> Iterator[Hit]:
    """On the engine's default network, every container reaches every other."""
    for subject, node in _services(document):
        if text_of(node.get("network_mode")) in ("bridge", "default"):
            message = f"{subject}: it is on the engine's default network, with every container that names no other"
            yield Hit(node.at("network_mode"), message, f"{subject}\0bridge", subject)


def no_healthcheck(document: Node) -> Iterator[Hit]:
    """The image's own health check is switched off."""
    for subject, node in _services(document):
        check = node.get("healthcheck")
        test = [text_of(item) for item in check.get("test")] or [text_of(check.get("test"))]
        if check.get("disable").truth is True or test[0] == "NONE":
            yield Hit(node.at("healthcheck"), f"{subject}: its health check is off", f"{subject}\0health", subject)


def build_arguments(document: Node) -> Iterator[Hit]:
    """A secret is handed to a build, whose history keeps it."""
    for subject, node in _services(document):
        arguments = node.get("build", "args")
        pairs = [(name, text_of(value), value) for name, value in arguments.members()]
        pairs += [(*text_of(item).partition("=")[::2], item) for item in arguments]
        for name, value, item in pairs:
            if holds_secret(name, value):
                message = f"{subject}: the build argument {name} holds a secret in the clear, and the image's history keeps it"
                yield Hit(item.place, message, f"{subject}\0argument {name}", subject)


FILES: dict[str, Callable[[Node], Iterator[Hit]]] = {
    "ct-restart": restart,
    "ct-default-bridge": default_bridge,
    "ct-healthcheck": no_healthcheck,
    "ct-secret-variable": build_arguments,
}
