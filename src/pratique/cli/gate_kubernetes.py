"""`pratique gate kubernetes`: serve the two webhooks of an API server, and make the certificates that they need."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.options import F, setting
from pratique.cli.store import DEBUG, FOLDER, FORMAT, place, print_json
from pratique.cli.target import HELP
from pratique.model.errors import UsageError
from pratique.report.text import pad, safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pratique.enforce.kubernetes.api import ApiClient
    from pratique.enforce.kubernetes.images import Judge
    from pratique.enforce.kubernetes.settings import Settings
    from pratique.store.place import Place

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
# Both services of the manifests: API servers ask the relays, and relays the store.
_SERVICES = ("pratique-gate.pratique-system.svc", "pratique-store.pratique-system.svc")


@click.group(short_help="A Kubernetes cluster's gate: serve, relay, certificates, check.", context_settings=HELP)
def command() -> None:
    """Decide what a cluster's API server asks: who may enter pods, and what may run in them."""


_LISTENING = (
    click.option("--listen", default="0.0.0.0:8443", show_default=True, metavar="HOST:PORT", help="Where to serve HTTPS."),
    click.option("--tls-cert", type=_FILE, required=True, metavar="FILE", help="The serving certificate; a new one is taken up."),
    click.option("--tls-key", type=_FILE, required=True, metavar="FILE", help="Its key."),
    click.option("--client-ca", type=_FILE, metavar="FILE", help="Answer only clients with a certificate of this authority."),
    click.option("--client-name", multiple=True, metavar="CN", help="... and with this common name; repeatable."),
    click.option("--client-token", type=_FILE, metavar="FILE", help="Answer only clients that send the token in FILE."),
    click.option("--cluster", default="", metavar="NAME", help="This cluster's name in policies, scopes and ledger."),
    click.option(
        "--pod-security",
        multiple=True,
        metavar="[NAMESPACES=]LEVEL[:VERSION]",
        help="Hold pods to this level of the Pod Security Standards; the first that matches holds. Repeatable.",
    ),
    click.option("--exempt", multiple=True, metavar="NAME|group:NAME", help="Ask no grant of them; record it. Repeatable."),
    click.option(
        "--exempt-namespace",
        multiple=True,
        default=("kube-system",),
        show_default=True,
        metavar="GLOB",
        help="Ask no grant for what runs in them; record it. Repeatable.",
    ),
)


def _listening(function: F) -> F:
    for add in reversed(_LISTENING):
        function = add(function)
    return function


@command.command(context_settings=HELP, short_help="Answer the webhooks, with the store.")
@_listening
@click.option("--any-client", is_flag=True, help="Answer whoever asks: only where nobody but the API server can reach it.")
@click.option("--api-server", default="", metavar="URL", help="Where pods are looked up (default: the cluster it runs in).")
@click.option("--api-token", type=_FILE, metavar="FILE", help="The token for it.")
@click.option("--api-ca", type=_FILE, metavar="FILE", help="The authority that signed its certificate.")
@click.option("--images", type=_FILE, metavar="FILE", help="The admission policy by which images are judged.")
@click.option("--evict", is_flag=True, help="Delete a pod that runs by a grant when the grant ends.")
@click.option("--observe", is_flag=True, help="Let everything through; record what would be denied.")
@FOLDER
@DEBUG
def serve(**given: Any) -> int:
    """Answer an API server's webhooks from this process, until it is told to stop.

    /admit answers AdmissionReviews, /authorize SubjectAccessReviews; /livez and /readyz are for probes. What cannot be decided
    within half a second is denied.

    Exit codes: 0 it was told to stop, 2 bad usage or configuration, 3 it could not serve.
    """
    import asyncio

    from pratique.enforce.kubernetes.gate import Gate, run  # noqa: PLC0415 - start-up stays lazy

    settings, api = _settings(given), _api(given)
    at = place(given, create=True)
    how = "observing only: nothing is denied" if settings.observe else "enforcing"

    async def main() -> None:
        await run(settings, Gate(at, settings, api, _judge(given, at)), _ready(settings, how))

    asyncio.run(main())
    return 0


@command.command(context_settings=HELP, short_help="Answer the webhooks, without a store.")
@_listening
@click.option("--upstream", required=True, metavar="URL", help="The gate with the store.")
@click.option("--upstream-ca", type=_FILE, required=True, metavar="FILE", help="The authority that signed its certificate.")
@click.option("--upstream-cert", type=_FILE, required=True, metavar="FILE", help="The certificate to show to it.")
@click.option("--upstream-key", type=_FILE, required=True, metavar="FILE", help="Its key.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="Where to keep the policy."
)
@click.option(
    "--any-client",
    is_flag=True,
    help="Answer whoever asks about admission, but for orders: only where nobody but the API server can.",
)
@click.option("--pass-all", is_flag=True, help="Pass on whatever is admitted: where the gate with the store judges images.")
@DEBUG
def relay(**given: Any) -> int:
    """Answer an API server's webhooks without a store: what needs no grant here, all else by the gate that has one.

    Any number of relays may run. They go on letting through what is within the baseline while the store is away, by its last
    policy for a day; what needs a grant is denied then.

    Exit codes: 0 it was told to stop, 2 bad usage or configuration, 3 it could not serve.
    """
    import asyncio

    from pratique.enforce.kubernetes.gate import run  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.kubernetes.relay import Relay, Upstream  # noqa: PLC0415

    settings = _settings(given)
    upstream = Upstream(
        address=given["upstream"],
        authority=given["upstream_ca"],
        certificate=given["upstream_cert"],
        key=given["upstream_key"],
    )

    async def main() -> None:
        service = Relay(settings, upstream, given["keep"], images=given["pass_all"])
        await run(settings, service, _ready(settings, f"relaying to {upstream.address}"))

    asyncio.run(main())
    return 0


def _ready(settings: Settings, how: str) -> Callable[[int], None]:
    """Return what says that it serves: to people, and to systemd, which waits for it."""

    def say(port: int) -> None:
        from pratique.enforce.notify import ready  # noqa: PLC0415 - start-up stays lazy

        sys.stderr.write(safe(f"pratique: the gate stands ({how}) at https://{settings.host}:{port}") + "\n")
        sys.stderr.flush()
        ready()

    return say


def _settings(given: dict[str, Any]) -> Settings:
    from pratique.enforce.kubernetes.podsecurity import parse_standard  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.kubernetes.settings import Settings  # noqa: PLC0415

    host, colon, port = given["listen"].rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"--listen {given['listen']!r}", hint="HOST:PORT, such as 0.0.0.0:8443")
    if given["client_name"] and given["client_ca"] is None:
        raise UsageError("--client-name needs --client-ca: a name counts only when somebody vouches for it")
    return Settings(
        host=host.strip("[]"),
        port=int(port),
        certificate=given["tls_cert"],
        key=given["tls_key"],
        client_authority=given["client_ca"],
        clients=given["client_name"],
        token=given["client_token"],
        anybody=given.get("any_client", False),
        cluster=given["cluster"],
        standards=tuple(map(parse_standard, given["pod_security"])),
        exempt=given["exempt"],
        exempt_namespaces=tuple(name for name in given["exempt_namespace"] if name),
        evict=given.get("evict", False),
        observe=given.get("observe", False),
    )


def _api(given: dict[str, Any]) -> ApiClient | None:
    from pratique.enforce.kubernetes.api import ApiClient, in_cluster  # noqa: PLC0415 - start-up stays lazy

    client = ApiClient(given["api_server"], given["api_token"], given["api_ca"]) if given["api_server"] else in_cluster()
    if client is None:
        if given["evict"]:
            raise UsageError("--evict needs --api-server")
        sys.stderr.write("pratique: no API server to look pods up: every exec is taken for one into a privileged container\n")
    return client


def _judge(given: dict[str, Any], at: Place) -> Judge | None:
    if given["images"] is None:
        return None
    from pratique.enforce.admission import Admission, load_admission  # noqa: PLC0415 - start-up stays lazy

    return Admission(at, load_admission(given["images"]))


@command.command(context_settings=HELP, short_help="Whether the gate stands in a cluster.")
@click.option("--api-server", default="", metavar="URL", help="The cluster (default: the one it runs in).")
@click.option("--api-token", type=_FILE, metavar="FILE", help="A token that may list webhooks, policies and roles.")
@click.option("--api-ca", type=_FILE, metavar="FILE", help="The authority that signed its certificate.")
@FORMAT
@DEBUG
def check(**given: Any) -> int:
    """Look at a cluster's own configuration: what the API server asks the gate, who guards that, what RBAC gives anyway.

    Red is what lets somebody round the gate; amber is to be seen to.

    Exit codes: 0 nothing is red, 1 something is, 2 bad usage, 3 the cluster could not be looked at.
    """
    import asyncio

    from pratique.enforce.doctor.finding import WORST  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.kubernetes import standing  # noqa: PLC0415
    from pratique.enforce.kubernetes.api import ApiClient, in_cluster  # noqa: PLC0415

    async def read() -> standing.Cluster:
        client = ApiClient(given["api_server"], given["api_token"], given["api_ca"]) if given["api_server"] else in_cluster()
        if client is None:
            raise UsageError("which cluster?", hint="--api-server URL --api-token FILE --api-ca FILE")
        try:
            return await standing.read(client)
        finally:
            await client.close()

    found = list(standing.look(asyncio.run(read())))
    worst = max((one.colour for one in found), key=WORST.__getitem__, default="green")
    if given["format"].lower() == "json":
        import msgspec  # noqa: PLC0415 - start-up stays lazy

        print_json({"enforced": worst != "red", "colour": worst, "checks": msgspec.to_builtins(found)})
        return 1 if worst == "red" else 0
    for one in found:
        click.echo(f"{pad(one.colour, 5)}  {pad(one.check, 16)}  {safe(one.found)}")
        if one.mend:
            click.echo(f"{' ' * 25}{safe('mend: ' + one.mend)}")
    click.echo("\nThe gate does not stand." if worst == "red" else "\nThe gate stands.")
    return 1 if worst == "red" else 0


@command.command(context_settings=HELP, short_help="Make or renew the certificates of both sides.")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.option(
    "--name",
    multiple=True,
    default=_SERVICES,
    show_default=True,
    metavar="HOST",
    help="A name or address of the gate; repeatable.",
)
@click.option("--manifest", multiple=True, type=_FILE, metavar="FILE", help="Put the authority into its caBundle; repeatable.")
@click.option("--kubeconfig", type=_FILE, metavar="FILE", help="Write how the API server reaches the authoriser.")
@click.option(
    "--address", default="", metavar="HOST[:PORT]", help="... where it does not know the first name: the service's cluster IP."
)
@setting("--quiet", is_flag=True, help="Say nothing.")
@DEBUG
def certificates(
    folder: Path, *, name: tuple[str, ...], manifest: tuple[Path, ...], kubeconfig: Path | None, address: str, **given: Any
) -> int:
    """Make the gate's authority and certificates in DIR, or renew what has less than a third of its time left.

    To be called daily: a gate that serves takes up a new certificate within a second, without a pause.

    Exit codes: 0 they are there, 2 DIR holds half an authority, or a manifest has no caBundle, 3 could not write.
    """
    from pratique.enforce.kubernetes import certificates as kept  # noqa: PLC0415 - start-up stays lazy

    made = kept.make(folder, name, dt.datetime.now(dt.UTC))
    lines = [f"{folder / file}: made" for file in made.files] or [f"{folder}: nothing is due"]
    lines += [f"{path}: caBundle written {kept.patch(path, made.authority)} times" for path in manifest]
    if kubeconfig is not None:
        kept.write_private(kubeconfig, kept.kubeconfig(folder, f"https://{address or name[0]}/authorize", name[0]))
        lines.append(f"{kubeconfig}: made; it holds a key")
    if not given["quiet"]:
        for line in lines:
            click.echo(safe(line))
    return 0
