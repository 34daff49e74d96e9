"""A document in, what an editor shows of it out: notes, what stands behind them, and how to mend them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import NamedTuple

from pratique.lint.catalogue import Check, catalogue
from pratique.lint.check import Checked
from pratique.lint.checks.podsecurity import Version
from pratique.lint.fixes.edit import Edit
from pratique.lint.fixes.mend import fixes, mend
from pratique.lint.hit import Hit
from pratique.lint.regions import Lines, Point, Region
from pratique.lint.run import UnreadError, check
from pratique.lsp.documents import MAX_CHARACTERS, Document
from pratique.report.markdown import literal
from pratique.report.text import safe

MAX_NOTES = 500  # of one document; an editor with more marks than lines helps nobody
_WHERE = re.compile(r"line (\d{1,7})(?:, column (\d{1,7}))?: ")


class Note(NamedTuple):
    """One mark in a document. `check` is None for what could not be checked, `code` then that of the gap."""

    region: Region
    code: str
    message: str
    check: Check | None


class Action(NamedTuple):
    """One way to mend what is marked; `preferred` where it changes nothing else."""

    title: str
    code: str
    region: Region
    edits: tuple[Edit, ...]
    preferred: bool


class Answers:
    """All that can be said of one version of a document."""

    def __init__(self, document: Document, now: dt.datetime, version: Version) -> None:
        self.text = document.text or ""
        self._document = document
        self._now = now
        self._version = version
        self._checked: Checked | None = None
        self._fault = ""
        self._code = "lint.too-large"
        if document.text is None:
            self._fault = f"more than {MAX_CHARACTERS} characters"
            return
        try:
            self._checked = check(document.name, document.text, now, version)
        except UnreadError as error:
            self._fault, self._code = error.message, error.code

    def notes(self) -> list[Note]:
        """Return the marks, in the order of the text, those that a comment accepts left out."""
        if self._checked is None:
            return [self._gap(self._code, self._fault)]
        found = [self._gap(gap.code, gap.message) for gap in self._checked.gaps]
        for name, hit, region in self._open():
            found.append(Note(region, name, f"{safe(hit.message)}. {catalogue()[name].remedy}", catalogue()[name]))
        return sorted(found, key=lambda note: (note.region, note.code, note.message))[:MAX_NOTES]

    def _open(self) -> Iterator[tuple[str, Hit, Region]]:
        """Yield what was found and nobody accepted."""
        checked = self._checked
        if checked is not None:
            regions = checked.regions()
            for name, hit in checked.hits:
                ignore = checked.ignore(name, hit)
                if ignore is None or ignore.ended:
                    yield name, hit, regions[hit]

    def _gap(self, code: str, message: str) -> Note:
        found = _WHERE.match(message)
        lines = Lines(self.text)
        start = lines.offset(Point(int(found[1]), int(found[2] or 1))) if found else 0
        end = self.text.find("\n", start)
        return Note(Region(start, max(end if end >= 0 else len(self.text), start)), code, f"not checked: {safe(message)}", None)

    def hover(self, offset: int) -> tuple[Region, str] | None:
        """Return what stands behind the smallest marks at an offset, as Markdown."""
        here = [(region, name, hit) for name, hit, region in self._open() if region.start <= offset <= region.end]
        if not here:
            return None
        smallest = min(region.end - region.start for region, _, _ in here)
        close = [item for item in here if item[0].end - item[0].start == smallest]
        parts = dict.fromkeys(_explained(catalogue()[name], hit) for _, name, hit in close[:5])
        return close[0][0], "\n\n---\n\n".join(parts)

    def actions(self, asked: Region) -> list[Action]:
        """Return what can be done about the marks within or around a region: rewrites first, then accepting one for a while."""
        checked = self._checked
        if checked is None:
            return []
        here = {
            (name, hit): region for name, hit, region in self._open() if region.start <= asked.end and asked.start <= region.end
        }
        found: list[Action] = []
        for fix in fixes(checked):
            region = here.get((fix.id, fix.hit))
            if region is not None:
                note = "" if fix.safe else "; changes what is built or run"
                found.append(Action(f"{fix.title} ({fix.id}{note})", fix.id, region, fix.edits, fix.safe))
        for (name, hit), region in list(here.items())[:20]:
            edit = self._comment(checked, name, hit)
            found.append(Action(f"Accept {name} until a day, with a reason", name, region, (edit,), preferred=False))
        return found

    def _comment(self, checked: Checked, name: str, hit: Hit) -> Edit:
        """Return the edit that writes a comment; what a person must say is left open, so that it holds only once it is said."""
        line = hit.place.line
        if checked.build is not None:
            inside = (item for item in checked.build.dockerfile.instructions if item.place.line <= line <= item.end_line)
            line = next((item.place.line for item in inside), line)
        lines = Lines(self.text)
        start = self.text.rfind("\n", 0, lines.at(hit.place._replace(line=line, column=1))) + 1
        end = self.text.find("\n", start)
        written = self.text[start : end if end >= 0 else None]
        indent = written[: len(written) - len(written.lstrip(" \t"))]
        ending = "\r\n" if written.endswith("\r") else "\n"
        return Edit(start, start, f"{indent}# pratique: ignore={name} REASON until=YYYY-MM-DD{ending}")

    def fix_all(self) -> Edit | None:
        """Return the one edit that applies every fix which changes nothing else; None where there is none."""
        if self._checked is None:
            return None
        mended = mend(self._document.name, self.text, self._now, self._version)
        return _difference(self.text, mended.text) if mended.done else None


def _difference(before: str, after: str) -> Edit:
    """Return the edit of the part that differs."""
    start, most = 0, min(len(before), len(after))
    while start < most and before[start] == after[start]:
        start += 1
    tail = 0
    while tail < most - start and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return Edit(start, len(before) - tail, after[start : len(after) - tail])


def _explained(found: Check, hit: Hit) -> str:
    lines = [
        f"**{found.title}** ({found.severity.value}), `{found.id}`",
        literal(hit.message),
        found.rationale,
        f"*What to do:* {literal(found.remedy)}",
    ]
    if found.benchmarks:
        lines.append(f"*Covers:* {', '.join(found.benchmarks)}")
    lines += [f"<{address}>" for address in found.references]
    return "\n\n".join(lines)
