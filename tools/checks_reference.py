"""Write docs/reference/checks.md from the catalogue of checks, so that no check stays undocumented.

usage: python tools/checks_reference.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pratique.lint.catalogue import Check, catalogue

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "checks.md"
HEAD = """# Checks of `pratique lint`

Each check has an id, which is the `id` of its findings, and which comments name:

```dockerfile
# pratique: ignore=df-sudo the tests of this base need it until=2027-01-31
RUN sudo make check
```

A comment covers what comes next; in YAML one behind a value covers its line. It needs a reason and a date, after which the
finding counts again and `ignore-expired` says so. Accepted findings stay in the report.

*This page is written by `tools/checks_reference.py`.*
"""
PARTS = {
    "df": "Dockerfiles",
    "ct": "Containers: Compose files, and what pods have in common with them",
    "k8s": "Kubernetes objects",
    "pss": "Pod Security Standards",
    "im": "Built images",
    "ignore": "Comments",
}


def section(check: Check) -> Iterator[str]:
    """Yield the lines about one check."""
    yield f"### `{check.id}`"
    yield ""
    yield f"**{check.title}** ({check.severity.value})"
    yield ""
    yield check.rationale
    yield ""
    yield f"*What to do:* {check.remedy}"
    yield ""
    if check.benchmarks:
        yield f"*Covers:* {', '.join(check.benchmarks)}"
        yield ""
    if check.references:
        yield "*Read:* " + ", ".join(f"<{address}>" for address in check.references)
        yield ""


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for prefix, title in PARTS.items():
        lines += [f"## {title}", ""]
        for check in catalogue().values():
            if check.id.partition("-")[0] == prefix:
                lines += section(check)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or say whether it is up to date."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text("utf-8") == page() else 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
