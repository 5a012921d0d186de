"""Reading tables from files: CSV in any encoding, compressed or not, Parquet, Feather, JSON lines and Excel."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lossary.compare.language import note
from lossary.errors import DataError, require

NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?"]
_COMPRESSED = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_BINARY = {
    "Parquet": (".parquet", ".pq"),
    "Feather": (".feather", ".arrow", ".ipc"),
    "Excel": (".xlsx", ".xls", ".xlsb", ".ods"),
}
_LINES = (".jsonl", ".ndjson")
# What tables are written in; a detector that may choose among all encodings often takes a rare one for a short table.
_ENCODINGS = ["utf_8", "utf_16", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1251", "cp1250", "cp1253"]


def read(path: Path, encoding: str | None, check_header: Callable[[Sequence[str]], None]) -> tuple[Any, str, list[str]]:
    """Return the table of a file, the separator of a CSV file ("" for others), and notes on how it was read.

    `check_header` is called with the names of a CSV file's columns and may refuse them. Raises `DataError` with the
    reason if the file cannot be read.
    """
    pl = require("polars")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty")
    kind = _kind(path)
    notes: list[str] = []
    try:
        if kind in _BINARY:
            return _read_binary(path, kind), "", notes
        content = _decompressed(path, encoding)
        text, used = _decoded(path, content, encoding)
        if used:
            notes.append(used)
        if kind == "JSON lines":
            return pl.read_ndjson(io.BytesIO(text)), "", notes
        separator = max(",;\t|", key=_header(text).count)
        frame = pl.read_csv(
            text, separator=separator, null_values=NULLS, try_parse_dates=True, infer_schema_length=None
        )
        check_header(frame.columns)
    except (pl.exceptions.PolarsError, OSError, EOFError, lzma.LZMAError, UnicodeError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        if "found more fields" in reason:
            reason = "a row has more fields than the first line has names"
        raise DataError(f"{path.name} cannot be read as {kind}: {reason}") from error
    return frame, separator, notes


def _kind(path: Path) -> str:
    """Return the format of a file, by its ending and by how it begins."""
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    ending = endings[0] if len(endings) == 2 and endings[1].lstrip(".") in _COMPRESSED else "".join(endings[-1:])
    for kind, known in _BINARY.items():
        if ending in known:
            return kind
    if ending in _LINES:
        return "JSON lines"
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning.startswith(b"PAR1"):
        return "Parquet"
    if beginning.startswith(b"ARROW1"):
        return "Feather"
    if beginning.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        return "Excel"
    return "CSV"


def _read_binary(path: Path, kind: str) -> Any:
    pl = require("polars")
    if kind == "Parquet":
        return pl.read_parquet(path)
    if kind == "Feather":
        return pl.read_ipc(path)
    require("fastexcel")
    try:
        return pl.read_excel(path, engine="calamine", drop_empty_rows=True)
    except Exception as error:  # the reader's own exceptions have no common class
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        raise DataError(f"{path.name} cannot be read as Excel: {reason}") from error


def _decompressed(path: Path, encoding: str | None) -> bytes:
    content = path.read_bytes()
    kind = next((name for name, magic in _COMPRESSED.items() if content.startswith(magic)), "")
    if kind == "gz":
        return gzip.decompress(content)
    if kind == "bz2":
        return bz2.decompress(content)
    if kind == "xz":
        return lzma.decompress(content)
    if kind == "zst":  # polars has the decompressor: a separator that no text holds gives the lines as they are
        lines = require("polars").read_csv(
            content,
            has_header=False,
            separator="\x01",
            quote_char=None,
            infer_schema=False,
            encoding="utf8" if encoding is None else encoding,
        )
        return "\n".join(line or "" for line in lines.to_series()).encode()
    return content


def _decoded(path: Path, content: bytes, encoding: str | None) -> tuple[bytes, str]:
    """Return a text in UTF-8, and a note if it was in another encoding."""
    if encoding is not None:
        try:
            return content.decode(encoding).encode(), ""
        except LookupError:
            raise DataError(
                f'encoding: got "{encoding}", expected the name of one, such as utf-8, gbk or cp1252'
            ) from None
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path.name} is not in {encoding}: byte {error.object[error.start]:#04x} at {error.start} has no "
                "meaning there; leave --encoding out to have the encoding detected"
            ) from error
    try:
        return content.decode("utf-8-sig").encode(), ""
    except UnicodeDecodeError:
        pass
    found = require("charset_normalizer").from_bytes(content[: 1 << 20], cp_isolation=_ENCODINGS).best()
    if found is None:
        raise DataError(f"{path.name} is not a text in an encoding that can be detected; name it with --encoding")
    name = str(found.encoding)
    try:  # the encodings of the Latin alphabet often agree: the usual one is named
        if content.decode("cp1252") == content.decode(name):
            name = "cp1252"
    except UnicodeDecodeError:
        pass
    text = content.decode(name, errors="strict")
    return text.encode(), note(
        "read in the encoding {encoding}, which was detected; --encoding names another", encoding=name.replace("_", "-")
    )


def _header(text: bytes) -> str:
    """Return the line of names without quoted parts, which may hold separators and line ends."""
    beginning = text[: 1 << 16].decode(errors="ignore")
    return (re.sub(r'"[^"]*"', "", beginning).splitlines() or [""])[0]
