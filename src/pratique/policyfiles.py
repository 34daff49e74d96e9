"""Names and paths in, checked policies and waivers out: it reads the files for the policy room, which reads none itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pratique.model.errors import PolicyError

if TYPE_CHECKING:
    from pratique.policy.compose import PolicySet
    from pratique.policy.document import Waiver
    from pratique.policy.facts import Context

STANDARD_INPUT = "-"
SUFFIXES = (".yaml", ".yml", ".json")  # JSON is YAML


class Rules(NamedTuple):
    """What is decided by, beside --fail-on: policies, waivers, and where the decision is made."""

    policies: tuple[PolicySet, ...]
    waivers: tuple[Waiver, ...]
    context: Context

    def examine(self, what: str) -> bool:
        """Say whether a policy needs something looked at beside packages: configuration, attestations."""
        return any(what in policy.examine for policy in self.policies)


def shipped() -> list[str]:
    """Return the names of the rule sets that come with the program."""
    folder = resources.files("pratique.policy") / "sets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def is_file_name(name: str) -> bool:
    """Say whether a policy is meant as a file: it has a / or the suffix of one."""
    return "/" in name or name.endswith(SUFFIXES)


def policy_content(name: str) -> tuple[str, bytes]:
    """Return a policy's name and content: a file, or a rule set that is shipped. Raises PolicyError."""
    if is_file_name(name):
        return name, read_bounded(Path(name))
    if name == STANDARD_INPUT:
        raise _refused()
    known = shipped()
    if name not in known:
        raise PolicyError(f"policy {name!r}: there is no such rule set", hint=_nearest(name, known))
    return name, (resources.files("pratique.policy") / "sets" / f"{name}.yaml").read_bytes()


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib  # noqa: PLC0415 - only for the hint

    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}, or a file: ./{name}.yaml"


def load_policy(name: str) -> PolicySet:
    """Load a policy, by the name of a rule set or by path, with all it imports. Raises PolicyError."""
    return compose(*policy_content(name))


def check_context(policies: Sequence[PolicySet], context: Context) -> None:
    """Raise PolicyError where a rule is bound to this environment, namespace or team but for capital letters."""
    from pratique.policy.compose import check_context as check  # noqa: PLC0415 - only where a policy is given

    check(policies, context)


def compose(name: str, content: bytes) -> PolicySet:
    """Make a policy of its content, with all it imports. Raises PolicyError."""
    from pratique.policy.compose import load  # noqa: PLC0415 - only where a policy is given

    return load(name, content, _resolve)


def load_policies(names: Sequence[str]) -> tuple[PolicySet, ...]:
    """Load each policy once, in the order given. Raises PolicyError."""
    return tuple(load_policy(name) for name in dict.fromkeys(names))


def _resolve(importer: str, wanted: str) -> tuple[str, bytes]:
    """Find what a policy imports: a path is relative to the file that names it; rule sets that are shipped import no files."""
    if not is_file_name(wanted):
        known = shipped()
        if wanted not in known:
            raise LookupError(_nearest(wanted, known))
        return policy_content(wanted)
    base = Path(importer).parent if is_file_name(importer) else Path()
    path = Path(wanted) if Path(wanted).is_absolute() else base / wanted
    return str(path), _read(path)


def load_waivers(paths: Sequence[Path], policies: Sequence[PolicySet] = (), signers: Path | None = None) -> tuple[Waiver, ...]:
    """Read files of waivers. Where a policy asks, git is asked who signed the last change of each. Raises PolicyError.

    `signers` is a file of SSH keys that are believed, as ssh-keygen(1) describes it.
    """
    from pratique.policy.document import Waivers, read  # noqa: PLC0415 - only where waivers are given
    from pratique.policy.waiver import check_waivers  # noqa: PLC0415 - as above

    found: list[Waiver] = []
    asked = any(term.signed for policy in policies for term in policy.terms)
    for path in paths:
        document, text = read(str(path), read_bounded(path), Waivers)
        waivers = check_waivers(text, document)
        found += _signed(waivers, path, signers) if asked else waivers
    return tuple(found)


def _signed(waivers: Sequence[Waiver], path: Path, signers: Path | None) -> list[Waiver]:
    import msgspec  # noqa: PLC0415 - only where it is asked for

    from pratique._kit.gitsigned import signer_of  # noqa: PLC0415 - as above

    signed = signer_of(path, signers)
    return [msgspec.structs.replace(waiver, signed_by=signed.signer, unsigned=signed.why_not) for waiver in waivers]


def read_bounded(path: Path) -> bytes:
    """Read a file that a person wrote. Raises PolicyError."""
    if str(path) == STANDARD_INPUT:
        raise _refused()
    try:
        return _read(path)
    except OSError as error:
        raise PolicyError(f"{path}:1:1: cannot be read: {error.strerror or error}") from None


def read_given(name: str | Path) -> bytes:
    """Read a file as `read_bounded` does, or standard input, once, where it is "-". Raises PolicyError."""
    if str(name) != STANDARD_INPUT:
        return read_bounded(Path(name))
    from pratique._kit.text import MAX_BYTES  # noqa: PLC0415 - beside its one use

    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _refused() -> PolicyError:
    """Say no where a file is read again later, or written back."""
    return PolicyError("-: standard input is not read here", hint="name a file")


def _read(path: Path) -> bytes:
    from pratique._kit.text import MAX_BYTES  # noqa: PLC0415 - beside its one use

    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
