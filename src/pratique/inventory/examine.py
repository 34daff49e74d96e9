"""Selected files of one layer in, what every inspector saw in them out. A file that an inspector cannot read becomes a Gap."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.finding import Finding
from pratique.model.inventory import Evidence, Gap
from pratique.model.layer import Inspected, Located, Selection, shown
from pratique.model.ports import File, Inspector

# What a parser may raise on bytes that are not what their name promises; anything else is a defect of ours, and is called one.
UNREADABLE = (
    ParseError,
    BudgetExceededError,
    ValueError,
    KeyError,
    IndexError,
    struct.error,
    RecursionError,
    EOFError,
    OverflowError,
)

MAX_GAPS = 1_000  # per layer and inspector: enough to act on, and no image can flood a report
MAX_EVIDENCE = 500_000  # per layer and inspector: ten times the packages of the largest images known


class Examiner:
    """Lets inspectors look at the files of one layer; `look` once a file, then `inspected`."""

    def __init__(self, inspectors: Sequence[Inspector]) -> None:
        self._inspectors = inspectors
        self._located: list[dict[bytes, Located]] = [{} for _ in inspectors]
        self._gaps: list[list[Gap]] = [[] for _ in inspectors]
        self._seen: set[bytes] = set()
        self._counts = [0] * len(inspectors)

    def look(self, raw: bytes, selection: Selection, file: File | None, size: int) -> None:
        """Show a file to those who selected it; `file` None means that it is larger than anybody reads.

        What was seen at the same path before is forgotten: a later entry of a layer replaces an earlier one.
        """
        path = shown(raw)
        if raw in self._seen:
            self._forget(raw, path)
        self._seen.add(raw)
        for index in selection.who:
            inspector = self._inspectors[index]
            if file is None or size > inspector.interest.max_bytes:
                message = f"{size} bytes; the {inspector.name} cataloger reads at most {inspector.interest.max_bytes}"
                self._gap(index, Gap(code="inventory.too-large", message=message, path=path))
                continue
            self._look(index, inspector, raw, file, content=selection.content)

    def _forget(self, raw: bytes, path: str) -> None:
        for index, located in enumerate(self._located):
            located.pop(raw, None)
            gaps = self._gaps[index]
            if any(gap.path == path for gap in gaps):
                gaps[:] = [gap for gap in gaps if gap.path != path]

    def inspected(self) -> dict[str, Inspected]:
        """Return what each inspector saw, by its name."""
        return {
            inspector.name: Inspected(inspector.version, tuple(self._located[index].values()), tuple(self._gaps[index]))
            for index, inspector in enumerate(self._inspectors)
        }

    def _look(self, index: int, inspector: Inspector, raw: bytes, file: File, *, content: bool) -> None:
        path = shown(raw)
        evidence: list[Any] = []
        findings: list[Finding] = []
        try:
            self._collect(index, inspector.inspect(file), path, evidence, findings)
        except MemoryError:
            self._gap(index, Gap(code="inventory.too-large", message=f"{inspector.name}: needs too much memory", path=path))
        except (*UNREADABLE, OSError) as error:
            reason = error.message if isinstance(error, ParseError) else f"{type(error).__name__}: {error}"[:200]
            self._gap(index, Gap(code="inventory.unreadable", message=f"{inspector.name}: {reason}", path=path))
        except Exception as error:  # noqa: BLE001 - a defect in one parser must neither hide what the others see nor be silent
            reason = f"{type(error).__name__}: {error}"[:200]
            message = f"the {inspector.name} cataloger failed, please report it: {reason}"
            self._gap(index, Gap(code="inventory.defect", message=message, path=path))
        if evidence or findings:
            self._located[index][raw] = Located(
                path, tuple(evidence), tuple(findings), content, b"" if path.encode() == raw else raw
            )

    def _collect(
        self, index: int, seen: Iterable[Evidence | Finding | Gap], path: str, evidence: list[Any], findings: list[Finding]
    ) -> None:
        for item in seen:
            if isinstance(item, Gap):
                self._gap(index, item)
            elif isinstance(item, Finding):
                findings.append(item)
            else:
                evidence.append(item)
            self._counts[index] += 1
            if self._counts[index] > MAX_EVIDENCE:
                raise BudgetExceededError(f"more than {MAX_EVIDENCE} packages in one layer, at {path}")

    def _gap(self, index: int, gap: Gap) -> None:
        gaps = self._gaps[index]
        if len(gaps) < MAX_GAPS:
            gaps.append(gap)
        elif len(gaps) == MAX_GAPS:
            gaps.append(
                Gap(code="inventory.too-many", message=f"more than {MAX_GAPS} problems of {self._inspectors[index].name}")
            )
