"""`pratique gate registry`: run the gate of a registry; make accounts; print what the registry is to be told."""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.store import DEBUG, FOLDER, place
from pratique.cli.target import HELP
from pratique.model.errors import UsageError

if TYPE_CHECKING:
    from pratique.enforce.registry.gate import RegistryGate, Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,253}(?::[0-9]{1,5})?")
_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--listen", default="127.0.0.1:5001", show_default=True, metavar="HOST:PORT", help="Where clients come."),
    click.option(
        "--upstream",
        default="127.0.0.1:5000",
        show_default=True,
        metavar="HOST:PORT",
        help="The registry itself, on loopback.",
    ),
    click.option("--name", default="", metavar="NAME", help="Its name in registry.push:NAME/REPOSITORY."),
    click.option("--public", default="", metavar="URL", help="Its address, if something stands before the gate."),
    click.option("--users", type=_FILE, metavar="FILE", help="Accounts: NAME:HASH a line, see gate registry user."),
    click.option("--access", type=_FILE, metavar="FILE", help="Who may read what (default: every account everything)."),
    click.option("--admission", type=_FILE, metavar="FILE", help="Judge what is pulled by this admission policy."),
    click.option("--tls-certificate", type=_FILE, metavar="FILE", help="Speak TLS, with this chain (PEM)."),
    click.option("--tls-key", type=_FILE, metavar="FILE", help="The private key of --tls-certificate (PEM)."),
    click.option("--insecure-listen", is_flag=True, help="Speak plain HTTP beyond this machine."),
    click.option("--rsa", is_flag=True, help="Sign tokens by RS256 (default: ES256); counts when the key is made."),
    click.option("--desk", type=_FILE, metavar="SOCKET", help="Let users of this machine ask for grants here."),
    click.option("--observe", is_flag=True, help="Let every push and delete through; record what would be denied."),
    FOLDER,
    DEBUG,
)


@click.group(invoke_without_command=True, short_help="A registry's gate.", context_settings=HELP)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Stand before a registry until told to stop: push and delete while a grant lives, pull unless the image's verdict is deny.

    The registry behind it takes tokens of this gate alone: `pratique gate registry config` prints what to tell it.

    Exit codes: 0 told to stop, 2 bad usage or configuration, 3 the store or the address cannot be used.
    """
    if context.invoked_subcommand is not None:
        return 0
    import asyncio

    from pratique.enforce.registry.gate import serve  # noqa: PLC0415 - start-up stays lazy

    asyncio.run(serve(place(given, create=True), _settings(given), lambda gate: _ready(gate, given)))
    return 0


for _add in _OPTIONS:
    command = _add(command)


def _settings(given: dict[str, Any]) -> Settings:
    """Read the options. Raises UsageError, PolicyError."""
    from pratique.enforce.admission import load_admission  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.registry.gate import Settings  # noqa: PLC0415

    if given["users"] is None:
        raise UsageError("--users names the file of accounts", hint="pratique gate registry user NAME >> FILE")
    listen = _address("--listen", given["listen"])
    if given["name"] and not _NAME.fullmatch(given["name"]):
        raise UsageError(f"--name {given['name']!r} is no name of a registry", hint="HOST, or HOST:PORT, as in image names")
    certificate, key = given["tls_certificate"], given["tls_key"]
    if (certificate is None) != (key is None):
        raise UsageError("--tls-certificate and --tls-key go together")
    if certificate is None and not given["insecure_listen"] and not _is_loopback(listen[0]):
        raise UsageError(
            f"--listen {given['listen']}: passwords would go over the network in the clear",
            hint="--tls-certificate and --tls-key, or --insecure-listen behind something that speaks TLS",
        )
    return Settings(
        listen=listen,
        upstream=_address("--upstream", given["upstream"]),
        users=given["users"],
        name=given["name"],
        public=given["public"].rstrip("/"),
        certificate=certificate,
        key=key,
        access=given["access"],
        admission=load_admission(given["admission"]) if given["admission"] is not None else None,
        rsa=given["rsa"],
        observe=given["observe"],
        desk=given["desk"],
    )


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"{option} {text!r} is no HOST:PORT")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ready(gate: RegistryGate, given: dict[str, Any]) -> None:
    """Say that it serves: to people, and to systemd, which waits for it."""
    from pratique.enforce.notify import ready  # noqa: PLC0415 - start-up stays lazy

    how = "observing only: nothing is denied" if given["observe"] else "enforcing"
    judged = "" if given["admission"] is not None else "; what is pulled is not judged (--admission)"
    sys.stderr.write(f"pratique: the gate stands ({how}) on port {gate.port}{judged}\n")
    ready()


@command.command(short_help="Print a line for the file of accounts.", context_settings=HELP)
@click.argument("name")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group that it is in; repeatable.")
@click.option("--owner", default="", metavar="NAME", help="It is a robot, and this person answers for it.")
@click.option("--subject", default="", metavar="PROVIDER:ID", help="Who it is to grants (default: unix:NAME).")
@DEBUG
def user(name: str, groups: tuple[str, ...], owner: str, subject: str, **_: Any) -> int:
    """Print the line of an account. A person's password is asked for, or read from standard input; a robot is given a secret.

    Exit codes: 0 printed, 2 it is no line that the gate would read.
    """
    from pratique.enforce.registry.accounts import new_secret, read_accounts, scrypt_hash, secret_hash  # noqa: PLC0415 - lazy

    terms = [f"groups={','.join(groups)}" if groups else "", f"owner={owner}" if owner else ""]
    terms.append(f"subject={subject}" if subject else "")
    more = ";".join(filter(None, terms))
    secret = new_secret() if owner else ""
    hashed = secret_hash(secret) if owner else scrypt_hash(_password())
    line = f"{name}:{hashed}" + (f":{more}" if more else "")
    read_accounts("this account", line.encode())
    if secret:
        click.echo(f"the secret of {name}, shown now and never again: {secret}", err=True)
    click.echo(line)
    return 0


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    text = sys.stdin.readline(4096).rstrip("\n")
    if not text:
        raise UsageError("no password on standard input")
    return text


@command.command(short_help="Print what the registry is to be told.", context_settings=HELP)
@click.option("--upstream", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Where the registry listens.")
@click.option("--name", default="", metavar="NAME", help="The registry as people name it.")
@click.option("--rsa", is_flag=True, help="Sign tokens by RS256 (default: ES256); counts when the key is made.")
@FOLDER
@DEBUG
def config(**given: Any) -> int:
    """Print the part of the registry's configuration by which it takes tokens of this gate alone. Exit codes: 0 printed."""
    from pratique.enforce.registry.gate import Settings, configuration  # noqa: PLC0415 - start-up stays lazy

    settings = Settings(
        listen=("127.0.0.1", 0),
        upstream=_address("--upstream", given["upstream"]),
        users=Path(),
        name=given["name"],
        rsa=given["rsa"],
    )
    click.echo(configuration(place(given, create=True), settings), nl=False)
    return 0
