"""Reading code: Python files in any encoding, notebooks cell by cell, Markdown block by block.

Whatever is read becomes one text of Python with a map back to where each line came from. Nothing is ever run.
"""

from __future__ import annotations

import ast
import io
import json
import re
import stat
import sys
import tokenize
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lossary.errors import MissingExtraError
from lossary.lint import notebooks

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"  # whose grammar is used
SUFFIXES = (".py", ".pyi", ".ipynb", ".md")
LARGEST = 20_000_000  # bytes; beyond this a file is data

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_NOQA = re.compile(
    r"#\s*noqa(?![A-Za-z])(?P<named>\s*:\s*(?P<codes>[A-Za-z0-9][\w\-]*(?:\s*[,\s]\s*[\w\-]+)*)?)?", re.IGNORECASE
)
_FILE_NOQA = re.compile(r"#\s*lossary:\s*noqa(?P<named>\s*:\s*(?P<codes>[\w\-, ]+))?\s*$", re.IGNORECASE)
_PROMPT = re.compile(r"^(>>>|\.\.\.)( |$)")
_PYTHON_FENCES = frozenset({"python", "py", "python3", "pycon", "py3", "ipython", "ipython3"})
_DIRECTIVE = re.compile(r"^\{(code-cell|code-block|code|ipython)\}\s*(\S*)")  # of MyST
_CELL_OPTION = re.compile(r"^\s*:[\w-]+:")

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
    file_lines: tuple[int, ...] = ()  # lines of the file itself, where a cell's lines are counted by themselves


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
    examples: list[Unit] = field(default_factory=list)  # the doctests of the docstrings, each as code of its own
    mendable: bool = True  # positions in the code are positions in the file

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

    def file_line(self, line: int) -> int:
        """Return the line of the file, for a notebook the line of its JSON, that holds a line of the code."""
        segment = self.segment(line)
        at = line - segment.first
        return segment.file_lines[at] if at < len(segment.file_lines) else segment.line + at

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
        """The codes and names of rules that ``# noqa`` silences, in lower case, by line; None stands for all of them.

        A comment counts for every line of its statement, wherever in the statement it stands.
        """
        found: dict[int, frozenset[str] | None] = {}
        if "noqa" not in self.text.lower():
            return found
        for first, last, comment in comments(self.text):
            for pattern, lines in ((_FILE_NOQA, (1, len(self.lines))), (_NOQA, (first, last))):
                if (match := pattern.search(comment)) is None:
                    continue
                codes = None
                if match["named"] is not None:
                    codes = frozenset(re.split(r"[,\s]+", (match["codes"] or "").lower().strip())) - {""}
                for line in range(lines[0], lines[1] + 1):
                    held = found.get(line, frozenset())
                    found[line] = None if held is None or codes is None else held | codes
                break
        return found

    def is_silenced(self, code: str, first: int, last: int, name: str = "") -> bool:
        """Whether ``# noqa`` silences a rule there, by its code, its family (``# noqa: LOS1``) or its name."""
        for line in range(first, last + 1) if self.silenced else ():
            if line in self.silenced:
                codes = self.silenced[line]
                if codes is None or name in codes:
                    return True
                if any(_CODE.fullmatch(silent) and code.lower().startswith(silent) for silent in codes):
                    return True
        return False


_CODE = re.compile(r"los[0-9]+")


def comments(text: str) -> list[tuple[int, int, str]]:
    """Return the comments of some code, each with the first and last line of the statement it stands in.

    >>> comments('f(1,  # here\\n  "# noqa")\\n')
    [(1, 2, '# here')]
    """
    found: list[tuple[int, int, str]] = []
    waiting: list[str] = []
    first = last = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                waiting.append(token.string)
                first, last = first or token.start[0], token.end[0]
            elif token.type in (tokenize.NEWLINE, tokenize.ENDMARKER) or (token.type == tokenize.NL and not first):
                found += [(first, max(last, token.start[0]), comment) for comment in waiting]
                waiting, first = [], 0
            elif token.type == tokenize.NL and waiting and text_of_line(text, first).lstrip().startswith("#"):
                found += [(first, last, comment) for comment in waiting]  # a comment on a line of its own
                waiting, first = [], 0
            elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                first, last = first or token.start[0], token.end[0]
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def text_of_line(text: str, number: int) -> str:
    """Return a line of a text, from 1."""
    lines = text.split("\n", number)
    return lines[number - 1] if 0 < number <= len(lines) else ""


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


def contents(path: Path) -> bytes | Unit:
    """Return the bytes of a regular file, or a unit that tells why there are none.

    Nothing else is opened: a FIFO would wait for ever, and a device may have no end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Unit(path, "", faults=[Fault("LOS902", 1, 0, "is no regular file: skipped")])
        return path.read_bytes()
    except OSError as wrong:
        return Unit(path, "", faults=[Fault("LOS902", 1, 0, f"cannot be read: {wrong.strerror or wrong}")])


def read(path: Path, data: bytes | None = None) -> Unit:
    """Read and parse one file. Whatever is wrong with it becomes a `Fault` of the unit, never an exception."""
    if data is None:
        held = contents(path)
        if isinstance(held, Unit):
            return held
        data = held
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
    if unit.tree is None and unit.faults[0].code == "LOS901":
        unit.tree = recovered(text)
    if unit.tree is not None and ">>>" in text:
        unit.examples = _doctests(unit)
    return unit


def _said(wrong: Exception) -> str:
    return (getattr(wrong, "msg", None) or str(wrong)).split("\n")[0]


def _parsed(unit: Unit, text: str, lines_before: int) -> ast.Module | None:
    try:
        return parse(text)
    except SyntaxError as wrong:
        line = max(1, min(wrong.lineno or 1, len(lines_of(text)) or 1)) + lines_before
        unit.faults.append(
            Fault("LOS901", line, max(0, (wrong.offset or 1) - 1), f"is no Python {PYTHON}: {_said(wrong)}")
        )
    except TooDeepError as wrong:
        unit.faults.append(Fault("LOS903", 1 + lines_before, 0, f"{wrong}: not checked"))
    return None


_RECOVERIES = 40  # statements that are left out of a file before it is given up


def recovered(text: str) -> ast.Module | None:
    """Parse a text without the statements that are no Python, every other line where it was; None if that is hopeless."""
    lines = text.splitlines()
    blanked: set[int] = set()
    for _ in range(_RECOVERIES):
        try:
            return parse("\n".join(lines) + "\n")
        except SyntaxError as wrong:
            at = min(max((wrong.lineno or 1) - 1, 0), len(lines) - 1) if lines else 0
            if not lines:
                return None
        except TooDeepError:
            return None
        while at > 0 and not lines[at].strip():
            at -= 1
        line = lines[at]
        indent = line[: len(line) - len(line.lstrip())]
        below = next((other for other in lines[at + 1 :] if other.strip()), "")
        deeper = len(below) - len(below.lstrip()) > len(indent)
        if at in blanked or line.strip() in ("pass", ""):
            lines[at] = ""
        else:
            # What stands below a broken header stays below one: a function's body may return.
            function = line.lstrip().startswith(("def ", "async def "))
            header = "def _():" if function else "if True:"
            lines[at] = indent + (header if deeper and line.rstrip().endswith(":") else "pass")
        if at in blanked and not line.strip():
            return None
        blanked.add(at)
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
            if tell and TOPIC.search(text.encode("utf-8", "replace")):
                unit.faults += attempt.faults
            text = "\n" * segment.count
        kept.append(text)
        at += segment.count
    unit.text = "".join(kept)
    unit.tree = _parsed(unit, unit.text, 0)
    return unit


# --- notebooks ------------------------------------------------------------------------------------------------------


def _notebook(path: Path, data: bytes) -> Unit:
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    raw = data.decode("utf-8-sig")
    try:
        book = json.loads(raw)
        cells = notebooks.cells_of(book)
        language = book.get("metadata", {}).get("kernelspec", {}).get("language", "python")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Unit(path, "", faults=[Fault("LOS902", 1, 0, "is no notebook: the JSON of a .ipynb file was expected")])
    if str(language).lower() not in ("python", "python3", "ipython"):
        return Unit(path, "")
    numbers = notebooks.line_numbers(raw)
    parts = []
    for at, cell in enumerate(cells):
        if cell.get("cell_type") != "code":
            continue
        text, indents = notebooks.dedented(notebooks.without_magics(notebooks.cell_source(cell)))
        if not _is_python(text):
            text = notebooks.without_automagics(text)
        lines = tuple(numbers[at]) if at < len(numbers) else ()
        parts.append((text, Segment(0, 0, at + 1, 1, indents, lines)))
    return _joined(path, parts, raw, tell=True, encoding=encoding)


def _is_python(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, TooDeepError):
        return False
    return True


# --- examples in docstrings -------------------------------------------------------------------------------------------


def _doctests(unit: Unit) -> list[Unit]:
    """Return the examples of each docstring as code of its own, with its lines where they stand in the file."""
    found = []
    for node in ast.walk(unit.tree) if unit.tree is not None else ():
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
            continue
        held = node.body[0]
        if not (isinstance(held, ast.Expr) and isinstance(held.value, ast.Constant)):
            continue
        if not isinstance(held.value.value, str) or ">>>" not in held.value.value:
            continue
        segment_lines: list[tuple[int, int, str]] = []
        for number in range(held.lineno, (held.end_lineno or held.lineno) + 1):
            line = unit.lines[number - 1].rstrip("\r\n")
            left = line.lstrip(" \t\"'rRuU")
            if match := _PROMPT.match(left):
                cut = len(line) - len(left) + match.end()
                segment_lines.append((number, cut, line[cut:]))
        if not worth_reading("\n".join(code for _, _, code in segment_lines).encode("utf-8", "replace")):
            continue
        parts = [(code, Segment(0, 0, 0, number, (cut,))) for number, cut, code in segment_lines]
        example = Unit(unit.path, "", mendable=False)
        for at, (code, segment) in enumerate(parts, 1):
            segment.first, segment.count = at, 1
            example.segments.append(segment)
            example.text += code + "\n"
        try:
            example.tree = parse(example.text)
        except (SyntaxError, TooDeepError):
            continue
        found.append(example)
    return found


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
        info = token.info.strip().lower()
        directive = _DIRECTIVE.match(info)
        said = (
            directive[2] or "python" if directive else re.split(r"[\s{,:]", info.lstrip("{"), maxsplit=1)[0].strip("}.")
        )
        if token.type != "fence" or token.map is None or said not in _PYTHON_FENCES:
            continue
        code, indents = [], []
        content = token.content.split("\n")[:-1]
        if directive:
            content = notebooks.without_magics("\n".join(_without_options(content))).split("\n")
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


def _without_options(lines: list[str]) -> list[str]:
    """Blank the options of a MyST directive: lines of ``:name: value``, or YAML between two lines of ``---``."""
    result = list(lines)
    if lines and lines[0].strip() == "---":
        end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() == "---"), 0)
        return [""] * (end + 1) + lines[end + 1 :]
    for at, line in enumerate(lines):
        if not _CELL_OPTION.match(line):
            break
        result[at] = ""
    return result
