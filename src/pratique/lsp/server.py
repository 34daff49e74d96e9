"""The protocol in, the protocol out: which message asks for which answer.

https://microsoft.github.io/language-server-protocol/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pratique._version import __version__
from pratique.lint.checks.podsecurity import Version
from pratique.lint.fixes.edit import Edit
from pratique.lint.regions import Lines, Point, Region
from pratique.lsp.answers import Action, Note
from pratique.lsp.desk import Desk
from pratique.lsp.documents import Change
from pratique.model.finding import Severity

if TYPE_CHECKING:
    from lsprotocol import types as lsp
    from pygls.lsp.server import LanguageServer
    from pygls.protocol import LanguageServerProtocol

PAUSE = 0.2  # seconds without a change before a document is checked again: typing is not answered letter by letter
FIX_ALL = "source.fixAll.pratique"


def make_server(version: Version) -> LanguageServer:
    """Return the server, which serves on standard input and output once it is started."""
    from lsprotocol import types as lsp
    from pygls.lsp.server import LanguageServer

    kind = lsp.TextDocumentSyncKind.Incremental
    server = LanguageServer("pratique", __version__, text_document_sync_kind=kind, protocol_cls=_protocol())
    desk = Desk(version)

    _follow_documents(server, desk)
    _answer_questions(server, desk)
    return server


def _protocol() -> type[LanguageServerProtocol]:
    """Return the protocol without the library's own store of texts, which moves the positions of changes that it cannot place."""
    from lsprotocol import types as lsp
    from pygls.protocol import LanguageServerProtocol, lsp_method

    class Protocol(LanguageServerProtocol):
        @lsp_method(lsp.TEXT_DOCUMENT_DID_OPEN)
        def lsp_text_document__did_open(self, params: lsp.DidOpenTextDocumentParams) -> Iterator[Any]:
            yield self.fm.features[lsp.TEXT_DOCUMENT_DID_OPEN], (params,), None

        @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
        def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> Iterator[Any]:
            yield self.fm.features[lsp.TEXT_DOCUMENT_DID_CHANGE], (params,), None

        @lsp_method(lsp.TEXT_DOCUMENT_DID_CLOSE)
        def lsp_text_document__did_close(self, params: lsp.DidCloseTextDocumentParams) -> Iterator[Any]:
            yield self.fm.features[lsp.TEXT_DOCUMENT_DID_CLOSE], (params,), None

    return Protocol


def _follow_documents(server: LanguageServer, desk: Desk) -> None:
    """Keep the texts that the editor has, and tell what is found in them."""
    from lsprotocol import types as lsp

    def publish(uri: str, pause: float) -> None:
        async def work() -> None:
            answers = await desk.answers(uri)
            document = desk.documents.get(uri)
            if answers is None or document is None:
                return
            lines = Lines(answers.text, desk.documents.units)
            marks = [_diagnostic(note, lines) for note in answers.notes()]
            server.text_document_publish_diagnostics(
                lsp.PublishDiagnosticsParams(uri=uri, diagnostics=marks, version=document.version)
            )

        desk.later(uri, work, pause)

    @server.feature(lsp.INITIALIZED)
    def initialized(_: lsp.InitializedParams) -> None:
        desk.documents.units = str(getattr(server.workspace.position_encoding, "value", server.workspace.position_encoding))

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        item = params.text_document
        desk.documents.open(item.uri, item.version, item.text, str(item.language_id))
        publish(item.uri, 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        item = params.text_document
        desk.documents.change(item.uri, item.version, [_change(change) for change in params.content_changes])
        publish(item.uri, PAUSE)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        publish(params.text_document.uri, 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        desk.forget(params.text_document.uri)
        server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri=params.text_document.uri, diagnostics=[]))


def _answer_questions(server: LanguageServer, desk: Desk) -> None:
    """Explain what is marked, and say how to mend it."""
    from lsprotocol import types as lsp

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        answers = await desk.answers(params.text_document.uri)
        if answers is None:
            return None
        lines = Lines(answers.text, desk.documents.units)
        found = answers.hover(lines.offset(_point(params.position)))
        if found is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found[1]), _range(found[0], lines))

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix, FIX_ALL])
    )
    async def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        answers, document = await desk.answers(uri), desk.documents.get(uri)
        if answers is None or document is None:
            return []
        lines = Lines(answers.text, desk.documents.units)
        asked = Region(lines.offset(_point(params.range.start)), lines.offset(_point(params.range.end)))
        only = params.context.only
        found: list[lsp.CodeAction] = []
        if _wanted(lsp.CodeActionKind.QuickFix.value, only):
            found += [_action(action, uri, lines, params.context.diagnostics) for action in answers.actions(asked)]
        if only is not None and _wanted(FIX_ALL, only):  # worked out only for who asks for it by name
            edit = answers.fix_all()
            if edit is not None:
                found.append(lsp.CodeAction("Mend all that is safe", kind=FIX_ALL, edit=_workspace_edit(uri, (edit,), lines)))
        return found


def _wanted(kind: str, only: Sequence[Any] | None) -> bool:
    """Kinds are a tree: who asks for `source` is given `source.fixAll.pratique`, too."""
    asked = [str(getattr(item, "value", item)) for item in only] if only is not None else None
    return asked is None or any(kind == item or kind.startswith(item + ".") or item == "" for item in asked)


def _point(position: lsp.Position) -> Point:
    return Point(position.line + 1, position.character + 1)


def _change(change: Any) -> Change:
    area = getattr(change, "range", None)
    if area is None:
        return Change(None, None, change.text)
    return Change(_point(area.start), _point(area.end), change.text)


def _range(region: Region, lines: Lines) -> lsp.Range:
    from lsprotocol import types as lsp

    start, end = lines.point(region.start), lines.point(region.end)
    return lsp.Range(lsp.Position(start.line - 1, start.column - 1), lsp.Position(end.line - 1, end.column - 1))


def _diagnostic(note: Note, lines: Lines) -> lsp.Diagnostic:
    from lsprotocol import types as lsp

    levels = {
        Severity.CRITICAL: lsp.DiagnosticSeverity.Error,
        Severity.HIGH: lsp.DiagnosticSeverity.Error,
        Severity.MEDIUM: lsp.DiagnosticSeverity.Warning,
        Severity.LOW: lsp.DiagnosticSeverity.Information,
    }
    check = note.check
    level = levels.get(check.severity, lsp.DiagnosticSeverity.Hint) if check is not None else lsp.DiagnosticSeverity.Information
    about = lsp.CodeDescription(check.references[0]) if check is not None and check.references else None
    return lsp.Diagnostic(
        range=_range(note.region, lines),
        message=note.message,
        severity=level,
        code=note.code,
        code_description=about,
        source="pratique",
    )


def _action(action: Action, uri: str, lines: Lines, known: Sequence[lsp.Diagnostic]) -> lsp.CodeAction:
    from lsprotocol import types as lsp

    area = _range(action.region, lines)
    mended = [item for item in known if item.source == "pratique" and item.code == action.code and item.range == area]
    return lsp.CodeAction(
        title=action.title,
        kind=lsp.CodeActionKind.QuickFix,
        diagnostics=mended or None,
        is_preferred=True if action.preferred else None,
        edit=_workspace_edit(uri, action.edits, lines),
    )


def _workspace_edit(uri: str, edits: Sequence[Edit], lines: Lines) -> lsp.WorkspaceEdit:
    from lsprotocol import types as lsp

    return lsp.WorkspaceEdit(
        changes={uri: [lsp.TextEdit(_range(Region(edit.start, edit.end), lines), edit.text) for edit in edits]}
    )
