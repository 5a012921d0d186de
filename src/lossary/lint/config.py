"""What is asked for: rules selected and ignored, files excluded, from ``[tool.lossary.lint]`` of pyproject.toml."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossary.errors import ParameterError, nearest
from lossary.lint import rules as _rules  # noqa: F401
from lossary.lint.records import RULES

EXCLUDED = (
    ".git",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".ruff_cache",
    "__pycache__",
    "node_modules",
    "build",
    "dist",
    ".ipynb_checkpoints",
    ".eggs",
    ".pytest_cache",
    "site-packages",
)
_KEYS = ("select", "ignore", "exclude", "per-file-ignores", "formulas-in-tests")
# Where formulas are written by hand on purpose, to be compared with.
_FORMULAS = "LOS5"


def codes(prefixes: Iterable[str], said: str) -> frozenset[str]:
    """Return the codes of the rules that prefixes (``LOS1``), codes, names or ``ALL`` stand for.

    Raises `ParameterError` for one that stands for nothing.

    >>> sorted(codes(["LOS60", "log-of-softmax"], "select"))[:2]
    ['LOS501', 'LOS601']
    """
    found: set[str] = set()
    for prefix in prefixes:
        wanted = prefix.strip()
        chosen = {
            c for c, r in RULES.items() if wanted.upper() == "ALL" or c.startswith(wanted.upper()) or r.name == wanted
        }
        if not chosen or not wanted:
            alike = nearest(wanted, [*RULES, *(r.name for r in RULES.values())])[:1]
            hint = f"; did you mean {alike[0]}?" if alike else "; `lossary lint --list` shows the rules"
            raise ParameterError(
                f"{said}: got {prefix!r}, expected a rule's code, its beginning, or a rule's name{hint}"
            )
        found |= chosen
    return frozenset(found)


@dataclass(frozen=True)
class Config:
    """Which rules apply where. `root` is the folder that patterns of files are relative to."""

    root: Path = Path()
    select: frozenset[str] = field(default_factory=lambda: frozenset(c for c, r in RULES.items() if r.default))
    exclude: tuple[str, ...] = ()
    per_file: tuple[tuple[str, frozenset[str]], ...] = ()
    formulas_in_tests: bool = False

    def excludes(self, path: Path) -> bool:
        """Whether a file or folder is left out, when a folder above is looked through."""
        if path.name in EXCLUDED:
            return True
        return any(_matches(path, pattern, self.root) for pattern in self.exclude)

    def excludes_outright(self, path: Path) -> bool:
        """Whether a file that was named outright would be left out: by itself, or by a folder it is in."""
        root, whole = self.root.resolve(), path.resolve()
        inside = [whole, *(parent for parent in whole.parents if root in parent.parents)]
        return any(self.excludes(part) for part in inside if part != root)

    def rules_for(self, path: Path) -> frozenset[str]:
        """Return the codes of the rules that apply to a file."""
        left = self.select
        if not self.formulas_in_tests and is_test(_relative(path, self.root)):
            left = frozenset(code for code in left if not code.startswith(_FORMULAS))
        for pattern, silent in self.per_file:
            if _matches(path, pattern, self.root):
                left = left - silent
        return left


def is_test(path: Path) -> bool:
    """Whether a file holds tests, by its name or the name of a folder it is in.

    >>> is_test(Path("tests/helpers.py")), is_test(Path("src/latest.py"))
    (True, False)
    """
    name = path.name
    if name.startswith("test_") or name == "conftest.py" or path.stem.endswith("_test"):
        return True
    return any(part in ("tests", "test") for part in path.parts[:-1])


def _relative(path: Path, root: Path) -> Path:
    try:
        return path.resolve().relative_to(root.resolve())
    except ValueError:
        return path if not path.is_absolute() else Path(path.name)


def _matches(path: Path, pattern: str, root: Path) -> bool:
    try:
        relative = path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        relative = path.as_posix()
    bare = pattern.rstrip("/")
    return (
        fnmatch.fnmatch(relative, bare)
        or fnmatch.fnmatch(path.name, bare)
        or relative == bare
        or relative.startswith(bare + "/")
        or ("**/" in bare and fnmatch.fnmatch(relative, bare.replace("**/", "")))
    )


def _strings(value: Any, said: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ParameterError(f"{said}: got {value!r}, expected a list of strings")
    return value


def from_table(table: Mapping[str, Any], root: Path, said: str = "[tool.lossary.lint]") -> Config:
    """Return the configuration that a table of TOML stands for. Raises `ParameterError` for what it does not know."""
    for key in table:
        if key not in _KEYS:
            raise ParameterError(f"{said}: got the key {key!r}, expected one of {', '.join(_KEYS)}")
    base = Config()
    select = codes(_strings(table["select"], f"{said} select"), f"{said} select") if "select" in table else base.select
    ignore = codes(_strings(table.get("ignore", []), f"{said} ignore"), f"{said} ignore")
    per_file = table.get("per-file-ignores", {})
    if not isinstance(per_file, dict):
        raise ParameterError(f"{said} per-file-ignores: got {per_file!r}, expected a table of patterns")
    tests = table.get("formulas-in-tests", False)
    if not isinstance(tests, bool):
        raise ParameterError(f"{said} formulas-in-tests: got {tests!r}, expected true or false")
    return Config(
        root,
        select - ignore,
        tuple(_strings(table.get("exclude", []), f"{said} exclude")),
        tuple((pattern, codes(_strings(v, pattern), f"{said} {pattern}")) for pattern, v in per_file.items()),
        tests,
    )


def read_config(file: Path) -> Config | None:
    """Return the configuration in a pyproject.toml, or None if it has none. Raises `ParameterError` if it is broken."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ParameterError(f"{file}: is no TOML: {wrong}") from None
    except OSError as wrong:
        raise ParameterError(f"{file}: cannot be read: {wrong.strerror}") from None
    found = table.get("tool", {}).get("lossary", {}).get("lint")
    if found is None:
        return None
    return from_table(found, file.parent, f"{file.name} [tool.lossary.lint]")


def find_config(path: Path) -> Config:
    """Return the configuration nearest above a path, or the default one."""
    start = path.resolve()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and (config := read_config(file)) is not None:
            return config
    return Config(root=start if start.is_dir() else start.parent)
