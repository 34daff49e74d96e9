"""`pratique policy list` and `show`: which rule sets come with the program, and what stands in one."""

from __future__ import annotations

import sys

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.target import HELP
from pratique.report.text import safe


@click.command("list", context_settings=HELP)
@setting("-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json.")
def list_(format: str) -> int:  # noqa: A002 - the option's name
    """List the rule sets that come with the program. Exit code: 0."""
    from pratique.policy.document import Policy, read  # noqa: PLC0415 - start-up stays lazy
    from pratique.policyfiles import load_policy, policy_content, shipped  # noqa: PLC0415

    rows = []
    for name in shipped():
        policy, (document, _) = load_policy(name), read(*policy_content(name), Policy)
        about = " ".join(document.metadata.description.split())
        row = {"name": name, "description": about, "rules": len(policy.rules), "digest": policy.digest}
        rows.append({**row, "examine": sorted(policy.examine)})
    if format.lower() == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
        return 0
    for row in rows:
        click.echo(safe(f"{row['name']:<16}{row['description']}"))
    click.echo("pratique policy show NAME prints one; what each sees of its benchmark is in the documentation, under Benchmarks")
    return 0


@click.command(context_settings=HELP)
@click.argument("policy")
def show(policy: str) -> int:
    """Print POLICY, a rule set or a file, as it is written: to read, or to begin one of your own with.

    Exit codes: 0 done, 2 there is no such policy.
    """
    from pratique._kit.text import decode  # noqa: PLC0415 - start-up stays lazy
    from pratique.policyfiles import policy_content  # noqa: PLC0415 - as above

    content = decode(*policy_content(policy)).content
    click.echo("\n".join(safe(line) for line in content.splitlines()))
    return 0
