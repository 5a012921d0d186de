"""Reading code: Python files in any encoding, notebooks cell by cell, Markdown block by block.

Whatever is read becomes one text of Python with a map back to where each line came from. Nothing is ever run.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lossary.errors import MissingExtraError

SUFFIXES = (".py", ".pyi", ".ipynb", ".md")
LARGEST = 20_000_000  # bytes; beyond this a file is data

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_NOQA = re.compile(r"#\s*noqa(?![A-Za-z])(?P<codes>\s*:\s*[A-Za-z]+[0-9]+(?:[,\s]+[A-Za-z]+[0-9]+)*)?", re.IGNORECASE)
_FILE_NOQA = re.compile(r"^\s*#\s*lossary:\s*noqa\s*$", re.IGNORECASE | re.MULTILINE)
_PROMPT = re.compile(r"^(>>>|\.\.\.)( |$)")
_PYTHON_FENCES = frozenset({"python", "py", "python3", "pycon", "py3"})

# Without a framework's name and a word that has to do with losses there is nothing to find: most files end here,
# before they are parsed.
FRAMEWORK = re.compile(rb"torch|keras|tensorflow|optax|jax|lossary|numpy|scipy|math|transformers|flax|cupy")
TOPIC = re.compile(
    rb"(?i)loss|entropy|kl_?div|softmax|sigmoid|expit|criterion|\.backward\(|exp\(|sqrt\(|uint8|\.compile\(|nn\.Sequential"
)

# What another file must speak of for a value of its to be worth knowing: layers or losses of a framework.
MODULES = re.compile(rb"torch|keras|optax|tensorflow|flax|lossary")


def lines_of(text: str) -> list[str]:
    """Return the lines with their ends; only what ends a line for Python ends one here (not a form feed)."""
    return _LINES.findall(text)


@dataclass
class Fault:
    """Why a part of a file could not be read: a code of the family LOS9, a place and a sentence."""

    code: str
    line: int
    column: int
    message: str


@dataclass
class Segment:
    """Some lines of the code that was read, and where they stand in the file."""

    first: int  # line of the code, from 1
    count: int
    cell: int  # of a notebook, from 1; 0 elsewhere
    line: int  # line in the file or cell that the first one is, from 1
    indents: tuple[int, ...] = ()  # characters before each line in the file, where there are any


@dataclass
class Unit:
    """The code of one file."""

    path: Path
    text: str
    segments: list[Segment] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    tree: ast.Module | None = None
    encoding: str = "utf-8"
    raw: str = ""  # what the file holds, where that is not the code itself

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the code, with their ends."""
        return lines_of(self.text)

    def segment(self, line: int) -> Segment:
        """Return the segment that holds a line of the code."""
        for segment in self.segments:
            if segment.first <= line < segment.first + segment.count:
                return segment
        return Segment(1, max(1, len(self.lines)), 0, 1)

    def place(self, line: int, column: int) -> tuple[int, int, int]:
        """Return cell, line (from 1) and column (from 1) in the file for a position in the code."""
        segment = self.segment(line)
        at = line - segment.first
        indent = segment.indents[at] if at < len(segment.indents) else 0
        return segment.cell, segment.line + at, column + indent + 1

    def column(self, line: int, offset: int) -> int:
        """Return characters for `ast`'s offset, which counts bytes of UTF-8."""
        if not 0 < line <= len(self.lines):
            return offset
        text = self.lines[line - 1]
        return (
            offset if text.isascii() else len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))
        )

    def start(self, node: Any) -> tuple[int, int]:
        """Return where a node begins: line, character."""
        return node.lineno, self.column(node.lineno, node.col_offset)

    def end(self, node: Any) -> tuple[int, int]:
        """Return where a node ends: line, character."""
        return node.end_lineno, self.column(node.end_lineno, node.end_col_offset)

    def source(self, node: Any) -> str:
        """Return the text of a node."""
        (top, left), (bottom, right) = self.start(node), self.end(node)
        chosen = self.lines[top - 1 : bottom]
        if not chosen:
            return ""
        if len(chosen) == 1:
            return chosen[0][left:right]
        return "".join([chosen[0][left:], *chosen[1:-1], chosen[-1][:right]])

    @cached_property
    def silenced(self) -> dict[int, frozenset[str] | None]:
        """The codes that ``# noqa`` silences, by line; None stands for all of them."""
        found: dict[int, frozenset[str] | None] = {}
        if "noqa" not in self.text.lower():
            return found
        if _FILE_NOQA.search(self.text):
            return dict.fromkeys(range(1, len(self.lines) + 1))
        for number, text in enumerate(self.lines, 1):
            if match := _NOQA.search(text):
                codes = match["codes"]
                found[number] = None if codes is None else frozenset(re.findall(r"[A-Z]+[0-9]+", codes.upper()))
        return found

    def is_silenced(self, code: str, first: int, last: int) -> bool:
        """Whether ``# noqa`` on one of the lines silences a code (or its family: ``# noqa: LOS1``)."""
        for line in range(first, last + 1) if self.silenced else ():
            if line in self.silenced:
                codes = self.silenced[line]
                if codes is None or any(code.startswith(silent) for silent in codes):
                    return True
        return False


def worth_reading(data: bytes) -> bool:
    """Whether a file's bytes can hold anything to find."""
    return bool(TOPIC.search(data) and FRAMEWORK.search(data))


def decode(data: bytes) -> tuple[str, str]:
    """Return the text of a Python file and its encoding, as Python itself would read it.

    Raises `SyntaxError` or `UnicodeDecodeError` where Python would.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding), encoding


def parse(text: str) -> ast.Module:
    """Parse without the warnings that Python has about the text; raises `SyntaxError` for whatever is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (ValueError, UnicodeError) as wrong:  # NUL bytes, lone surrogates
            raise SyntaxError(str(wrong)) from None
        except (RecursionError, MemoryError):
            raise TooDeepError("nested too deeply for Python's parser") from None


class TooDeepError(Exception):
    """Code that Python's own parser gives up on."""


def read(path: Path, data: bytes | None = None) -> Unit:
    """Read and parse one file. Whatever is wrong with it becomes a `Fault` of the unit, never an exception."""
    try:
        if data is None:
            data = path.read_bytes()
    except OSError as wrong:
        return Unit(path, "", faults=[Fault("LOS902", 1, 0, f"cannot be read: {wrong.strerror or wrong}")])
    if len(data) > LARGEST:
        said = f"{len(data):,} bytes are more than the {LARGEST:,} that are read: not checked"
        return Unit(path, "", faults=[Fault("LOS903", 1, 0, said)])
    suffix = path.suffix.lower()
    try:
        if suffix == ".ipynb":
            return _notebook(path, data)
        if suffix == ".md":
            return _markdown(path, data)
        text, encoding = decode(data)
    except (SyntaxError, UnicodeDecodeError, LookupError) as wrong:
        return Unit(path, "", faults=[Fault("LOS902", 1, 0, f"cannot be decoded: {_said(wrong)}")])
    unit = Unit(path, text, encoding=encoding)
    unit.tree = _parsed(unit, text, 0)
    return unit


def _said(wrong: Exception) -> str:
    return (getattr(wrong, "msg", None) or str(wrong)).split("\n")[0]


def _parsed(unit: Unit, text: str, lines_before: int) -> ast.Module | None:
    try:
        return parse(text)
    except SyntaxError as wrong:
        line = max(1, min(wrong.lineno or 1, len(lines_of(text)) or 1)) + lines_before
        unit.faults.append(Fault("LOS901", line, max(0, (wrong.offset or 1) - 1), f"is no Python: {_said(wrong)}"))
    except TooDeepError as wrong:
        unit.faults.append(Fault("LOS903", 1 + lines_before, 0, f"{wrong}: not checked"))
    return None


def _joined(path: Path, parts: list[tuple[str, Segment]], raw: str, *, tell: bool, encoding: str = "utf-8") -> Unit:
    """Return the unit of several pieces of code that share their names; a piece that is no Python is left out."""
    unit = Unit(path, "", encoding=encoding, raw=raw)
    kept: list[str] = []
    at = 1
    for text, segment in parts:
        if text and not text.endswith("\n"):
            text += "\n"
        segment.first, segment.count = at, text.count("\n")
        if segment.count == 0:
            continue
        unit.segments.append(segment)
        attempt = Unit(path, text)
        if _parsed(attempt, text, at - 1) is None:
            if tell:
                unit.faults += attempt.faults
            text = "\n" * segment.count
        kept.append(text)
        at += segment.count
    unit.text = "".join(kept)
    unit.tree = _parsed(unit, unit.text, 0)
    return unit


# --- notebooks ------------------------------------------------------------------------------------------------------

_MAGIC = re.compile(r"^(\s*)(%|!|\?)|\?\s*$")
_ASSIGNED_MAGIC = re.compile(r"^\s*[\w., ]+=\s*(%|!)")


def cell_source(cell: Any) -> str:
    """Return the text of a cell, which nbformat keeps as one string or as a list of lines."""
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def without_magics(text: str) -> str:
    """Replace what IPython understands and Python does not; lines and columns stay where they are."""
    if text.lstrip().startswith("%%") and not re.match(r"\s*%%(time|timeit|capture)\b", text):
        return "\n" * text.count("\n")
    lines = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if _MAGIC.search(line) or _ASSIGNED_MAGIC.match(line):
            indent = line[: len(line) - len(line.lstrip())]
            line = f"{indent}pass" if indent else ""
        lines.append(line)
    return "\n".join(lines)


def _notebook(path: Path, data: bytes) -> Unit:
    raw = data.decode("utf-8-sig")
    try:
        book = json.loads(raw)
        cells = [cell for cell in book["cells"] if isinstance(cell, dict)]
        language = book.get("metadata", {}).get("kernelspec", {}).get("language", "python")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Unit(path, "", faults=[Fault("LOS902", 1, 0, "is no notebook: the JSON of a .ipynb file was expected")])
    if str(language).lower() not in ("python", "python3", "ipython"):
        return Unit(path, "")
    parts = []
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") == "code":
            parts.append((without_magics(cell_source(cell)), Segment(0, 0, number, 1)))
    return _joined(path, parts, raw, tell=True)


# --- Markdown -------------------------------------------------------------------------------------------------------


def _markdown(path: Path, data: bytes) -> Unit:
    try:
        from markdown_it import MarkdownIt
    except ModuleNotFoundError as missing:
        raise MissingExtraError(
            f"reading {path.name} needs markdown-it-py, which comes with the app extra: pip install 'lossary[app]'"
        ) from missing
    raw = data.decode("utf-8-sig")
    bom = data.startswith(b"\xef\xbb\xbf")
    lines = [line.rstrip("\r\n") for line in lines_of(raw)]
    parts = []
    for token in MarkdownIt("commonmark").parse(raw.replace("\r\n", "\n").replace("\r", "\n")):
        said = re.split(r"[\s{,:]", token.info.strip().lower().lstrip("{"), maxsplit=1)[0].strip("}.")
        if token.type != "fence" or token.map is None or said not in _PYTHON_FENCES:
            continue
        code, indents = [], []
        content = token.content.split("\n")[:-1]
        console = any(line.startswith(">>>") for line in content)
        for number, line in enumerate(content, token.map[0] + 1):
            outer = max(0, len(lines[number]) - len(line)) if number < len(lines) else 0
            if console:
                prompt = _PROMPT.match(line)
                outer += prompt.end() if prompt else 0
                line = line[prompt.end() :] if prompt else ""
            code.append(line)
            indents.append(outer)
        parts.append(("\n".join(code), Segment(0, 0, 0, token.map[0] + 2, tuple(indents))))
    return _joined(path, parts, raw, tell=False, encoding="utf-8-sig" if bom else "utf-8")
