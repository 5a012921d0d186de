"""The language server of the linter: findings published while typing, and mends offered."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("pygls")

TEXT = "from torch import nn\nx = '数😀'; c = nn.MSELoss(size_average=False)\n"


class Client:
    """Speaks the protocol to a server in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "lossary", "lint", "--lsp"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def receive(self, wanted: str | int) -> Any:
        """Return the next message of a method, or the answer to a request."""
        assert self.process.stdout is not None
        while True:
            length = 0
            while (line := self.process.stdout.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert length, "the server has ended"
            message = json.loads(self.process.stdout.read(length))
            if wanted in (message.get("method"), message.get("id")) and "error" not in message:
                return message.get("params", message.get("result"))


def test_findings_are_published_and_mends_offered() -> None:
    client = Client()
    try:
        client.send(id=1, method="initialize", params={"processId": None, "rootUri": None, "capabilities": {}})
        assert client.receive(1)["capabilities"]["codeActionProvider"]
        client.send(method="initialized", params={})
        document = {"uri": "file:///nowhere/code.py", "languageId": "python", "version": 1, "text": TEXT}
        client.send(method="textDocument/didOpen", params={"textDocument": document})
        (diagnostic,) = client.receive("textDocument/publishDiagnostics")["diagnostics"]
        assert diagnostic["code"] == "LOS303" and diagnostic["source"] == "lossary"
        line = TEXT.splitlines()[1]
        units = len(line[: line.index("False")].encode("utf-16-le")) // 2
        assert diagnostic["range"]["start"] == {"line": 1, "character": units}
        where = {"textDocument": {"uri": document["uri"]}, "range": diagnostic["range"]}
        client.send(id=2, method="textDocument/codeAction", params={**where, "context": {"diagnostics": [diagnostic]}})
        (action,) = client.receive(2)
        (edit,) = action["edit"]["changes"][document["uri"]]
        assert edit["newText"] == 'reduction="sum"'
        change = {"textDocument": {"uri": document["uri"], "version": 2}, "contentChanges": [{"text": "x = 1\n"}]}
        client.send(method="textDocument/didChange", params=change)
        assert client.receive("textDocument/publishDiagnostics")["diagnostics"] == []
        client.send(id=3, method="shutdown", params=None)
        client.receive(3)
        client.send(method="exit", params=None)
        assert client.process.wait(20) == 0
    finally:
        client.process.kill()
        client.process.communicate()
