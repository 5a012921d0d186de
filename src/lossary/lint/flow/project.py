"""The files of a project: which file an import means, and what its name is as a module."""

from __future__ import annotations

import sys
from pathlib import Path

from lossary.lint.flow.frames import Module
from lossary.lint.sources import MODULES, TOPIC, Unit, read


class Project:
    """The files around those that are checked, loaded when an import asks for them."""

    def __init__(self) -> None:
        self.modules: dict[Path, Module | None] = {}
        self.places: dict[tuple[Path, str], Path | None] = {}

    def module(self, path: Path, unit: Unit | None = None) -> Module | None:
        """Return a file as a module of the project, read but not yet followed."""
        if path not in self.modules:
            if unit is None:
                unit = _of_interest(path)
            if unit is None or unit.tree is None:
                self.modules[path] = None
            else:
                self.modules[path] = Module(unit, dotted_name(path))
        return self.modules[path]

    def find(self, dotted: str, near: Path) -> Path | None:
        """Return the file of a module as an import in the folder `near` would find it."""
        key = (near, dotted)
        if key not in self.places:
            self.places[key] = self._find(dotted, near)
        return self.places[key]

    def _find(self, dotted: str, near: Path) -> Path | None:
        parts = dotted.split(".")
        if parts[0] in sys.stdlib_module_names or not dotted:
            return None
        folder = near
        for _ in range(8):
            # The folder of a script is searched, and the folders that hold packages; not those inside of packages.
            if folder != near and (folder / "__init__.py").is_file():
                folder = folder.parent
                continue
            for base in (folder, folder / "src"):
                stem = base.joinpath(*parts)
                for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
                    try:
                        if file.is_file():
                            return file.resolve()
                    except (OSError, ValueError):
                        return None
            if (
                any((folder / mark).exists() for mark in (".git", "pyproject.toml", "setup.py"))
                or folder == folder.parent
            ):
                return None
            folder = folder.parent
        return None


def _of_interest(path: Path) -> Unit | None:
    """Read a file that an import leads to, unless there can be nothing about losses in it."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    # A loop that is given model and loss need not name a framework; an installed package's helpers had better do.
    of_interest = TOPIC.search(data) and (MODULES.search(data) or "site-packages" not in path.parts)
    return read(path, data) if of_interest else None


def dotted_name(path: Path) -> str:
    """Return the name a file has as a module: its package is told by the ``__init__.py`` files."""
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    for _ in range(12):
        if not (folder / "__init__.py").is_file():
            break
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) or path.stem
