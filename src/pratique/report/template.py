"""Report and a person's own Jinja2 template in, whatever it makes of them out. Sandboxed; the document is `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from pratique.model.errors import UsageError
from pratique.model.report import Report
from pratique.report.markdown import literal
from pratique.report.text import safe

MAX_TEMPLATE = 1 << 20  # bytes; a template is a page of text
MAX_OUTPUT = 256 << 20  # characters; many times the largest report in JSON, so that a loop in a loop ends


class Template:
    """The `template` format, with the template that `--template` names."""

    name = "template"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, path: Path | None = None) -> None:
        self._template = _compiled(path) if path is not None else None

    def of(self, path: Path) -> Template:
        """Return the writer of one template. Raises UsageError where it cannot be read or is none."""
        return Template(path)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Render. Raises UsageError, with the line, for what the template asks for and the document does not have."""
        if self._template is None:
            raise UsageError("the format template needs --template FILE")
        from jinja2 import TemplateError

        written, shown = 0, out.isatty()
        try:
            for part in self._template.generate(report=msgspec.to_builtins(report)):
                written += len(part)
                if written > MAX_OUTPUT:
                    raise UsageError(f"the template writes more than {MAX_OUTPUT} characters")
                if shown:  # a file gets what the template says, a terminal never what an image says
                    part = "\n".join(map(safe, part.expandtabs().split("\n")))  # noqa: PLW2901
                out.write(part.encode("utf-8", "backslashreplace"))
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise UsageError(f"the template failed: {error}") from None


def _compiled(path: Path) -> Any:
    try:
        from jinja2 import StrictUndefined, TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise UsageError("the format template needs Jinja2", hint="pip install jinja2") from None
    try:
        if path.stat().st_size > MAX_TEMPLATE:
            raise UsageError(f"{path}: larger than {MAX_TEMPLATE} bytes")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=path.suffix in (".html", ".htm", ".xml"), keep_trailing_newline=True
    )
    environment.filters.update(safe_text=safe, markdown=literal)
    try:
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        raise UsageError(f"{path}:{error.lineno}: {error.message}") from None


REPORTER = Template()
