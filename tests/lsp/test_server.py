"""The language server as an editor sees it: started as a program and spoken to by a client of the protocol."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcRequestCancelled
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

DOCKERFILE = "file:///work/Dockerfile"
COMPOSE = "file:///work/compose.yaml"
POD = "file:///work/deploy/pod.yaml"


COMMAND = [sys.executable, "-m", "pratique", "lsp"]


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND))  # type: ignore[untyped-decorator]
async def editor(lsp_client: LanguageClient) -> AsyncIterator[None]:
    """An editor with the abilities of Visual Studio Code."""
    await lsp_client.initialize_session(
        lsp.InitializeParams(capabilities=client_capabilities("visual-studio-code"), root_uri="file:///work")
    )
    yield
    await lsp_client.shutdown_session()


def show(client: LanguageClient, uri: str, text: str, language: str = "plaintext") -> None:
    """Open a document."""
    item = lsp.TextDocumentItem(uri=uri, language_id=language, version=1, text=text)
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))


def type_in(client: LanguageClient, uri: str, version: int, *changes: tuple[int, int, int, int, str] | str) -> None:
    """Change a document: all of it, or what stands between two positions."""
    made: list[Any] = []
    for change in changes:
        if isinstance(change, str):
            made.append(lsp.TextDocumentContentChangeWholeDocument(text=change))
        else:
            area = lsp.Range(lsp.Position(change[0], change[1]), lsp.Position(change[2], change[3]))
            made.append(lsp.TextDocumentContentChangePartial(range=area, text=change[4]))
    where = lsp.VersionedTextDocumentIdentifier(version=version, uri=uri)
    client.text_document_did_change(lsp.DidChangeTextDocumentParams(where, made))


async def marks(client: LanguageClient, uri: str, number: int = 1) -> dict[str, lsp.Diagnostic]:
    """Wait for marks `number` times; return the last, by their code."""
    for _ in range(number):
        await asyncio.wait_for(client.wait_for_notification(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS), 20)
    return {str(mark.code): mark for mark in client.diagnostics.get(uri, [])}


def span(mark: lsp.Diagnostic) -> tuple[int, int, int, int]:
    """Return where a mark is."""
    return mark.range.start.line, mark.range.start.character, mark.range.end.line, mark.range.end.character


async def offered(client: LanguageClient, uri: str, mark: lsp.Diagnostic, *only: str) -> list[lsp.CodeAction]:
    """Ask what can be done about a mark."""
    context = lsp.CodeActionContext(diagnostics=[mark], only=list(only) or None)
    params = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), mark.range, context)
    found = await client.text_document_code_action_async(params)
    return [item for item in found or [] if isinstance(item, lsp.CodeAction)]


def applied(text: str, action: lsp.CodeAction, uri: str) -> str:
    """Apply an action as an editor does."""
    assert action.edit is not None
    assert action.edit.changes is not None
    lines = text.split("\n")
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines) + 1)]
    for edit in sorted(action.edit.changes[uri], key=lambda edit: edit.range.start, reverse=True):
        start = starts[edit.range.start.line] + edit.range.start.character
        end = starts[edit.range.end.line] + edit.range.end.character
        text = text[:start] + edit.new_text + text[end:]
    return text


@pytest.mark.asyncio
async def test_marks(editor: LanguageClient) -> None:
    """A document is marked when it is opened: code, severity, exact place, where to read more."""
    show(editor, DOCKERFILE, "FROM debian:12\nRUN echo 🐳 && sudo x\nUSER root\n")
    found = await marks(editor, DOCKERFILE)
    assert span(found["df-sudo"]) == (1, 15, 1, 21)
    assert span(found["df-user-root"]) == (2, 0, 2, 9)
    mark = found["df-user-root"]
    assert (mark.severity, mark.source) == (lsp.DiagnosticSeverity.Error, "pratique")
    assert mark.code_description is not None
    assert mark.code_description.href.startswith("https://")
    assert found["df-base-digest"].severity == lsp.DiagnosticSeverity.Information
    assert found["df-healthcheck"].severity == lsp.DiagnosticSeverity.Hint


@pytest.mark.asyncio
async def test_changes(editor: LanguageClient) -> None:
    """Changes are applied in their order, counted in UTF-16; only the last of several versions is marked."""
    show(editor, DOCKERFILE, "FROM debian:12\nRUN echo 🐳 && x\r\nUSER 1\n")
    assert "df-sudo" not in await marks(editor, DOCKERFILE)
    type_in(editor, DOCKERFILE, 2, (1, 15, 1, 15, "sudo "), (2, 5, 2, 6, "roo"))
    type_in(editor, DOCKERFILE, 3, (2, 8, 2, 8, "t"))
    found = await marks(editor, DOCKERFILE)
    assert span(found["df-sudo"]) == (1, 15, 1, 21)
    assert span(found["df-user-root"]) == (2, 0, 2, 9)
    type_in(editor, DOCKERFILE, 4, "FROM debian:12\nUSER 1\n")
    assert "df-sudo" not in await marks(editor, DOCKERFILE)
    editor.text_document_did_save(lsp.DidSaveTextDocumentParams(lsp.TextDocumentIdentifier(DOCKERFILE)))
    assert "df-base-digest" in await marks(editor, DOCKERFILE)
    editor.text_document_did_close(lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(DOCKERFILE)))
    assert await marks(editor, DOCKERFILE) == {}


@pytest.mark.asyncio
async def test_kinds(editor: LanguageClient) -> None:
    """By name, by what is in it, or by what the editor says; other YAML has no marks, templates say what to do."""
    show(editor, COMPOSE, "services: {a: {image: 'b:1', privileged: true}}\n", "dockercompose")
    assert "ct-privileged" in await marks(editor, COMPOSE)
    show(editor, POD, "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostPID: true\n  containers: [{name: c}]\n")
    assert span((await marks(editor, POD))["pss-host-namespaces"]) == (4, 2, 4, 15)
    show(editor, "untitled:Untitled-1", "FROM a:1\nUSER root\n", "dockerfile")
    assert "df-user-root" in await marks(editor, "untitled:Untitled-1")
    show(editor, "file:///w/ci.yaml", "on: push\n")
    assert await marks(editor, "file:///w/ci.yaml") == {}
    show(editor, "file:///w/t.yaml", "apiVersion: v1\nkind: {{ .Values.kind }}\nx: [\n")
    assert (await marks(editor, "file:///w/t.yaml"))["lint.template"].severity == lsp.DiagnosticSeverity.Information
    show(editor, "file:///w/b.yaml", "a: b\nc: [\n")
    assert span((await marks(editor, "file:///w/b.yaml"))["lint.unreadable"])[0] == 2


@pytest.mark.asyncio
async def test_hover(editor: LanguageClient) -> None:
    """What is under the pointer is explained: why, what to do, where to read; elsewhere there is nothing."""
    show(editor, DOCKERFILE, "FROM debian:12\nUSER root\n")
    await marks(editor, DOCKERFILE)

    async def at(line: int, character: int) -> lsp.Hover | None:
        params = lsp.HoverParams(lsp.TextDocumentIdentifier(DOCKERFILE), lsp.Position(line, character))
        return await editor.text_document_hover_async(params)

    found = await at(1, 6)
    assert found is not None
    assert isinstance(found.contents, lsp.MarkupContent)
    for word in ("The image runs as root", "`df-user-root`", "broken into", "What to do", "CIS Docker 4.1", "<https://"):
        assert word in found.contents.value
    assert found.range == lsp.Range(lsp.Position(1, 0), lsp.Position(1, 9))
    assert await at(2, 0) is None
    assert await at(900, 900) is None


@pytest.mark.asyncio
async def test_fixes(editor: LanguageClient) -> None:
    """What is safe is preferred, what is not says so; a comment is offered that holds only once it is filled in."""
    text = "FROM debian:12\nADD a.py /x\nRUN echo 🐳 && \\\n    sudo x\nUSER 1\n"
    show(editor, DOCKERFILE, text)
    found = await marks(editor, DOCKERFILE)
    copy, comment = await offered(editor, DOCKERFILE, found["df-add-local"])
    assert (copy.title, copy.is_preferred, copy.kind) == ("Write COPY (df-add-local)", True, lsp.CodeActionKind.QuickFix)
    assert copy.diagnostics is not None
    assert list(copy.diagnostics) == [found["df-add-local"]]
    assert applied(text, copy, DOCKERFILE) == text.replace("ADD", "COPY")
    assert "\n# pratique: ignore=df-add-local REASON until=YYYY-MM-DD\nADD" in applied(text, comment, DOCKERFILE)
    bare, comment = await offered(editor, DOCKERFILE, found["df-sudo"])
    assert (bare.title, bare.is_preferred) == ("Run it without sudo (df-sudo; changes what is built or run)", None)
    assert applied(text, bare, DOCKERFILE) == text.replace("sudo ", "")
    commented = applied(text, comment, DOCKERFILE)
    assert "\n# pratique: ignore=df-sudo REASON until=YYYY-MM-DD\nRUN echo" in commented
    type_in(editor, DOCKERFILE, 2, commented)
    assert "ignore-invalid" in await marks(editor, DOCKERFILE)
    type_in(editor, DOCKERFILE, 3, commented.replace("REASON until=YYYY-MM-DD", "tests until=2999-01-01"))
    assert not {"df-sudo", "ignore-invalid"} & (await marks(editor, DOCKERFILE)).keys()


@pytest.mark.asyncio
async def test_fix_all(editor: LanguageClient) -> None:
    """All that is safe at once, for who asks for it by name."""
    text = "FROM debian:12\nADD a.py /x\nMAINTAINER me\nRUN sudo x\nUSER 1\n"
    show(editor, DOCKERFILE, text)
    mark = (await marks(editor, DOCKERFILE))["df-add-local"]
    (action,) = await offered(editor, DOCKERFILE, mark, "source.fixAll")
    expected = text.replace("ADD", "COPY").replace("MAINTAINER me", 'LABEL org.opencontainers.image.authors="me"')
    assert applied(text, action, DOCKERFILE) == expected
    assert await offered(editor, DOCKERFILE, mark, "refactor") == []


@pytest.mark.asyncio
async def test_yaml_fixes(editor: LanguageClient) -> None:
    """A rewrite and a comment in YAML stand at the indentation of what they are about."""
    text = "services:\n  a:\n    image: b:1\n    cap_drop: [ALL]\n    privileged: true\n"
    show(editor, COMPOSE, text)
    actions = await offered(editor, COMPOSE, (await marks(editor, COMPOSE))["ct-privileged"])
    texts = [applied(text, action, COMPOSE) for action in actions if "ct-privileged" in action.title]
    assert texts[0] == text.replace("privileged: true", "privileged: false")
    assert texts[1].endswith("    # pratique: ignore=ct-privileged REASON until=YYYY-MM-DD\n    privileged: true\n")


@pytest.mark.asyncio
async def test_hostile_documents(editor: LanguageClient) -> None:
    """Separators that are no line breaks, positions that are nowhere, and documents without end: the server goes on."""
    show(editor, DOCKERFILE, "FROM a:1\n# \u2028\x0c\x85\nUSER 1\n")
    await marks(editor, DOCKERFILE)
    type_in(editor, DOCKERFILE, 2, (2, 5, 2, 6, "root"), (900, 0, 901, 5, "# end"), (0, 99, 0, 1, ""))
    assert span((await marks(editor, DOCKERFILE))["df-user-root"]) == (2, 0, 2, 9)
    show(editor, POD, "[" * 20_000)
    assert "lint.too-large" in await marks(editor, POD)
    show(editor, COMPOSE, "# " + "x" * (5 << 20))
    assert "lint.too-large" in await marks(editor, COMPOSE)
    type_in(editor, COMPOSE, 2, (0, 0, 0, 1, ""))
    assert "lint.too-large" in await marks(editor, COMPOSE)
    many = "services:\n" + "".join(f"  s{number}: {{image: a, privileged: true}}\n" for number in range(900))
    type_in(editor, COMPOSE, 3, many)
    await marks(editor, COMPOSE)
    assert len(editor.diagnostics[COMPOSE]) == 500
    assert editor.messages == []


@pytest.mark.asyncio
async def test_cancelling(editor: LanguageClient) -> None:
    """A question that the editor takes back is answered as cancelled, and the next one as ever."""
    lines = "".join(f"RUN apt-get update && apt-get install -y x{number} && sudo y\n" for number in range(1500))
    show(editor, DOCKERFILE, "FROM a:1\n" + lines)
    params = lsp.HoverParams(lsp.TextDocumentIdentifier(DOCKERFILE), lsp.Position(1, 50))
    asked = editor.protocol.send_request(lsp.TEXT_DOCUMENT_HOVER, params, msg_id="first")
    editor.cancel_request(lsp.CancelParams("first"))
    with pytest.raises(JsonRpcRequestCancelled):
        await asyncio.wait_for(asyncio.wrap_future(asked), 20)
    assert await editor.text_document_hover_async(params) is not None


OTHER = ClientServerConfig(server_command=[*COMMAND, "--kubernetes-version", "1.25"])


@pytest_lsp.fixture(config=OTHER)  # type: ignore[untyped-decorator]
async def other_editor(lsp_client: LanguageClient) -> AsyncIterator[None]:
    """An editor that prefers to count in bytes, as Neovim and Helix do."""
    capabilities = client_capabilities("neovim")
    capabilities.general = lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf8])
    answer = await lsp_client.initialize_session(lsp.InitializeParams(capabilities=capabilities))
    assert answer.capabilities.position_encoding == lsp.PositionEncodingKind.Utf8
    yield
    await lsp_client.shutdown_session()


@pytest.mark.asyncio
async def test_other_units(other_editor: LanguageClient) -> None:
    """Columns are in the units that were agreed on."""
    show(other_editor, DOCKERFILE, "FROM debian:12\nRUN echo 🐳 && x\n")
    await marks(other_editor, DOCKERFILE)
    type_in(other_editor, DOCKERFILE, 2, (1, 17, 1, 17, "sudo "))
    assert span((await marks(other_editor, DOCKERFILE))["df-sudo"]) == (1, 17, 1, 23)


def test_without_the_library(tmp_path: Path) -> None:
    """Without the extra, one line says what to install."""
    import subprocess

    code = "import sys; sys.modules['pygls'] = None\nfrom pratique.cli.main import run\nsys.exit(run(['lsp']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (2, "pratique: the language server needs pygls (pip install 'pratique[lsp]')\n")
