"""A language server: editors are told of findings as one types, and offered the mends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from lossary.errors import MissingExtraError
from lossary.lint.config import find_config
from lossary.lint.engine import check_bytes
from lossary.lint.records import Finding
from lossary.lint.sources import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def findings_of(uri: str, text: str) -> list[Finding]:
    """Return the findings of a document, under the configuration of the file that it is."""
    parsed = urlparse(uri)
    path = Path(unquote(parsed.path)) if parsed.scheme in ("file", "") else Path("untitled.py")
    return check_bytes(text.encode("utf-8", "surrogatepass"), path, find_config(path.parent))


def _utf16(text: str, characters: int) -> int:
    """Return how many units of UTF-16, by which editors count columns, some characters take."""
    return len(text[:characters].encode("utf-16-le", "surrogatepass")) // 2


def build() -> Any:
    """Return the server, not yet started. Raises `MissingExtraError` without pygls."""
    try:
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer
    except ModuleNotFoundError as missing:
        raise MissingExtraError(
            f"the language server needs {missing.name}, which comes with the lsp extra: pip install 'lossary[lsp]'"
        ) from missing
    from lossary._version import __version__

    server = LanguageServer("lossary", __version__)

    def place(lines: list[str], line: int, column: int) -> Any:
        text = lines[line - 1] if 0 < line <= len(lines) else ""
        return types.Position(line - 1, _utf16(text, column))

    def told(uri: str) -> Iterable[tuple[Finding, Any]]:
        document = server.workspace.get_text_document(uri)
        lines = lines_of(document.source)
        for finding in findings_of(uri, document.source):
            start = place(lines, finding.line, finding.column - 1)
            end = place(lines, finding.end_line or finding.line, max(finding.end_column - 1, finding.column))
            yield (
                finding,
                types.Diagnostic(
                    range=types.Range(start, end),
                    message=f"{finding.message}. {finding.help}".strip(),
                    code=finding.code,
                    source="lossary",
                    severity=types.DiagnosticSeverity.Warning,
                ),
            )

    def publish(uri: str) -> None:
        diagnostics = [diagnostic for _, diagnostic in told(uri)]
        server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri=uri, diagnostics=diagnostics))

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: Any) -> None:
        publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: Any) -> None:
        publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: Any) -> None:
        publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: Any) -> None:
        server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri=params.text_document.uri, diagnostics=[])
        )

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
    )
    def mends(params: Any) -> list[Any]:
        uri = params.text_document.uri
        if not uri.endswith((".py", ".pyi")):
            return []  # of notebooks and Markdown, edits count lines of the code inside
        lines = lines_of(server.workspace.get_text_document(uri).source)
        actions = []
        for finding, diagnostic in told(uri):
            inside = diagnostic.range.start.line <= params.range.end.line
            if finding.fix is None or not inside or diagnostic.range.end.line < params.range.start.line:
                continue
            edits = [
                types.TextEdit(types.Range(place(lines, *edit.start), place(lines, *edit.end)), edit.text)
                for edit in finding.fix.edits
            ]
            numbers = "" if finding.fix.safe else " (changes numbers)"
            actions.append(
                types.CodeAction(
                    title=f"{finding.code}: {finding.fix.message}{numbers}",
                    kind=types.CodeActionKind.QuickFix,
                    diagnostics=[diagnostic],
                    edit=types.WorkspaceEdit(changes={uri: edits}),
                    is_preferred=finding.fix.safe,
                )
            )
        return actions

    return server
