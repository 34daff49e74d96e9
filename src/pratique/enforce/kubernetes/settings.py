"""How a gate is set up: what it is for, whom it knows, and what it lets be."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pratique.enforce.kubernetes.podsecurity import Standard

# An API server waits for its webhooks, and its user for the API server.
DEADLINE = 0.5
GROUP = "grants.pratique"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`exempt` are users (`NAME`) and groups (`group:NAME`), `exempt_namespaces` namespaces by glob, that no grant is asked of;
    what they do beyond the baseline is recorded. `clients` are names in certificates of API servers; empty is any that the
    authority signed.
    """

    host: str = "0.0.0.0"  # noqa: S104 - a pod's own address is not known before it runs
    port: int = 8443
    certificate: Path = Path("tls.crt")
    key: Path = Path("tls.key")
    client_authority: Path | None = None
    clients: tuple[str, ...] = ()
    token: Path | None = None
    anybody: bool = False
    cluster: str = ""
    standards: tuple[Standard, ...] = ()
    exempt: tuple[str, ...] = ()
    exempt_namespaces: tuple[str, ...] = ("kube-system",)
    evict: bool = False
    observe: bool = False
