"""The chart in, plain manifests out: `python tools/render_chart.py [KEY=VALUE...] > manifests.yaml`.

The chart uses few things of its language, `{{ .Values.KEY }}`, `{{- if .Values.KEY }}`, `{{- range .Values.KEY }}` with `{{ . }}`
on one line, and `{{- end }}`, so that what Helm makes of it and what stands in `manifests.yaml` can be held to be the same
without Helm.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[1] / "integrations" / "kubernetes" / "chart" / "pratique-gate"
# As they have to be applied: what others need comes first, and the webhooks after what answers them.
ORDER = ("namespace", "orders", "access", "network", "workloads", "guards", "webhooks")
_VALUE = re.compile(r"\{\{ \.Values\.([a-zA-Z]+) \}\}")
_EACH = re.compile(r"\s*\{\{- range \.Values\.([a-zA-Z]+) \}\}")
_IF = re.compile(r"\s*\{\{- if \.Values\.([a-zA-Z]+) \}\}")
_END = re.compile(r"\s*\{\{- end \}\}")


def values(changes: Iterable[str] = ()) -> dict[str, Any]:
    """Return the chart's values with changes, each `KEY=VALUE`."""
    import yaml

    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    for change in changes:
        key, _, value = change.partition("=")
        if key not in found:
            raise SystemExit(f"render: the chart has no value {key!r}; it has {', '.join(found)}")
        found[key] = yaml.safe_load(value) if value else ""
    return found


def render(template: str, given: Mapping[str, Any]) -> str:
    """Return a template with its values. Raises KeyError for a value that the chart does not have."""
    lines: list[str] = []
    shown: list[Sequence[Any]] = [("",)]  # what each block that is open is written once for
    for line in template.splitlines():
        condition, each = _IF.fullmatch(line), _EACH.fullmatch(line)
        if condition:
            shown.append(("",) if given[condition.group(1)] else ())
        elif each:
            shown.append(tuple(given[each.group(1)]))
        elif _END.fullmatch(line):
            shown.pop()
        elif all(shown):
            made = _VALUE.sub(lambda match: str(given[match.group(1)]), line)
            lines += [made.replace("{{ . }}", str(one)) for one in shown[-1]]
    return "\n".join(lines) + "\n"


def manifests(given: Mapping[str, Any]) -> str:
    """Return all objects of the chart, in order, and the namespace, which Helm makes itself."""
    given = {**given, "createNamespace": True}
    parts = [render((CHART / "templates" / f"{name}.yaml").read_text(), given) for name in ORDER]
    return "# Rendered from chart/pratique-gate by tools/render_chart.py: change it there.\n---\n" + "---\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(manifests(values(sys.argv[1:])))
