"""Options about policies, waivers and the context in, rules to decide by out. Shared by the commands that decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
import msgspec

from pratique.cli.options import FILE_NAME, F, nearest, setting
from pratique.cli.target import TargetOptions
from pratique.model.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from pratique.policy.document import Waiver
    from pratique.policyfiles import Rules

WAIVERS = "waivers.yaml"
STAGES = ("dev", "ci", "registry", "deploy", "runtime")
IGNORES = (".trivyignore", ".trivyignore.yaml", ".grype.yaml")

policies = setting("--policy", multiple=True, metavar="NAME|FILE", help="Decide by this rule set or policy file; repeatable.")
_waivers = setting(
    "--waivers",
    multiple=True,
    commas=False,
    metavar="FILE",
    help=f"Accepted risks; repeatable (default: {WAIVERS} beside {FILE_NAME}, or here).",
)
_signers = click.option(  # not in a configuration: it stands beside the waivers, and could name whom one likes
    "--waiver-signers",
    envvar="PRATIQUE_WAIVER_SIGNERS",
    metavar="FILE",
    help="SSH keys that may sign changes of waivers, for policies that ask for it (as ssh-keygen's ALLOWED SIGNERS).",
)


def waiver_files(function: F) -> F:
    """Give a command the options about waivers."""
    return _waivers(_signers(function))


_CONTEXT = (
    setting("--stage", type=click.Choice(STAGES), help="Where the decision is made, for rules that are bound to a stage."),
    setting("--team", default="", metavar="NAME", help="Whose image it is, for rules that are bound to a team."),
    setting("--namespace", default="", metavar="NAME", help="Which namespace it is for, for rules that are bound to one."),
    setting("--environment", default="", metavar="NAME", help="Where it is to run, for rules and waivers bound to that."),
)


def context_settings(function: F) -> F:
    """Give a command the options about the context."""
    for add in reversed(_CONTEXT):
        function = add(function)
    return function


def rule_settings(function: F) -> F:
    """Give a command all options about policies, waivers and the context."""
    return policies(waiver_files(context_settings(function)))


class RuleOptions(TargetOptions, kw_only=True):
    """What `target_settings` and `rule_settings` give, as given."""

    policy: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()
    stage: str | None = None
    team: str = ""
    environment: str = ""
    namespace: str = ""
    waiver_signers: str | None = None


class _Chosen(Protocol):
    policy: tuple[str, ...]
    waivers: tuple[str, ...]
    stage: str | None
    team: str
    environment: str
    namespace: str
    waiver_signers: str | None


def read_rules(options: _Chosen, say: Callable[[str], None] | None) -> Rules | None:
    """Read policies and waivers; None where there are neither. `say` is told of ignore files. Raises PolicyError."""
    files = waiver_paths(options.waivers)
    ignores = [Path(name) for name in IGNORES if Path(name).is_file()]
    if not (options.policy or files or ignores):
        return None
    from pratique.policyfiles import Rules, check_context, load_policies, load_waivers  # noqa: PLC0415 - only where there are rules

    loaded, context = load_policies(options.policy), context_of(options)
    check_context(loaded, context)
    signers = Path(options.waiver_signers) if options.waiver_signers else None
    if signers is not None and not signers.is_file():
        raise UsageError(f"--waiver-signers {signers}: there is no such file", hint="lines NAME KEY, see ssh-keygen(1)")
    waivers = [*load_waivers(files, loaded, signers), *_ignored(ignores, say)]
    return Rules(loaded, tuple(waivers), context)


def context_of(options: _Chosen) -> Any:
    """Return where the decision is made."""
    from pratique.policy.facts import Context  # noqa: PLC0415 - only where there are rules

    said = {"team": options.team, "environment": options.environment, "namespace": options.namespace}
    return msgspec.convert({"stage": options.stage or "", **said}, Context)


def waiver_paths(given: tuple[str, ...]) -> list[Path]:
    """Return the files of waivers: those given, else the one that stands beside the configuration, or here."""
    if given:
        return [Path(path) for path in given]
    found = default_waivers()
    return [found] if found.is_file() else []


def default_waivers() -> Path:
    """Return where waivers are kept when nobody says: beside the nearest pratique.toml, else in the working directory."""
    configuration = nearest()
    path = (configuration.parent if configuration is not None else Path()) / WAIVERS
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, FileNotFoundError):
        return path


def _ignored(paths: list[Path], say: Callable[[str], None] | None) -> list[Waiver]:
    from pratique.policy.ignores import read_ignores  # noqa: PLC0415 - only where there is such a file
    from pratique.policyfiles import read_bounded  # noqa: PLC0415 - as above

    found: list[Waiver] = []
    for path in paths:
        try:
            ignored = read_ignores(str(path), read_bounded(path))
        except PolicyError as error:
            _warn(say, f"{error}; nothing of this file is used")
            continue
        found += ignored.waivers
        endless = sum(not waiver.expires for waiver in ignored.waivers)
        count = f"{len(ignored.waivers)} entr{'y' if len(ignored.waivers) == 1 else 'ies'}"
        _warn(say, f"{path}: {count} read as waivers without an owner, {endless} of them without an expiry")
        for sentence in ignored.left_out:
            _warn(say, f"{path}: {sentence}; not used")
    return found


def _warn(say: Callable[[str], None] | None, sentence: str) -> None:
    if say is not None:
        say(f"warning: {sentence}")
