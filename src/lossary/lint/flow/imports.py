"""Imports: of a framework the names, of the project the things themselves."""

from __future__ import annotations

import ast
from pathlib import Path

from lossary.lint import vocabulary
from lossary.lint.flow.base import DEPTH, LOADS, Interpreter
from lossary.lint.flow.frames import FlowEvent, Frame
from lossary.lint.values import UNKNOWN, Value
from lossary.lint.vocabulary import ROOTS


class Imports(Interpreter):
    """Names that come from other files."""

    def import_names(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
        """Bind what an import brings."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    frame.names[alias.asname] = self._module_value(alias.name, node, frame)
                else:
                    root = alias.name.split(".")[0]
                    frame.names[root] = self._module_value(root, node, frame)
            return
        base = node.module or ""
        if node.level:
            parts = frame.module.dotted.split(".")
            if frame.module.unit.path.name != "__init__.py":
                parts = parts[:-1]
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, base] if base else parts)
        for alias in node.names:
            if alias.name == "*":
                self._star(base, node, frame)
            else:
                value = self._member(base, alias.name, node, frame)
                self.emit(FlowEvent("name", alias, frame, name=f"{base}.{alias.name}", value=value))
                frame.names[alias.asname or alias.name] = value

    def _star(self, base: str, node: ast.ImportFrom, frame: Frame) -> None:
        """Bind all that ``from base import *`` brings: of the project the names, of a framework whatever is asked for."""
        if base.split(".")[0] in ROOTS:
            frame.stars.append(base)
            return
        file = self._file_of(base, node, frame)
        loaded = self.load(file, frame) if file is not None and file.is_file() else None
        if loaded is None:
            return
        frame.stars += loaded.stars
        for name, value in loaded.names.items():
            if "." not in name and not name.startswith("_"):
                lasting = loaded.once is None or name in loaded.once
                frame.names[name] = value if lasting else UNKNOWN

    def _file_of(self, base: str, node: ast.AST, frame: Frame) -> Path | None:
        here = frame.module.unit.path.parent
        file = self.project.find(base, here) if base else None
        if file is None and isinstance(node, ast.ImportFrom) and node.level:
            folder = here
            for _ in range(node.level - 1):
                folder = folder.parent
            file = self.project.find(node.module, folder) if node.module else folder / "__init__.py"
        return file

    def _module_value(self, name: str, node: ast.AST, frame: Frame) -> Value:
        return Value("name", const=vocabulary.canonical(name), node=node, unit=frame.module.unit)

    def _member(self, base: str, name: str, node: ast.AST, frame: Frame) -> Value:
        """Return what ``from base import name`` gives: of a framework its name, of the project the thing itself."""
        outside = Value("name", const=vocabulary.canonical(f"{base}.{name}"), node=node, unit=frame.module.unit)
        if base.split(".")[0] in ROOTS or self.depth > DEPTH:
            return outside
        if not base:
            return outside
        file = self._file_of(base, node, frame)
        if file is None or not file.is_file():
            return outside
        loaded = self.load(file, frame)
        if loaded is not None and name in loaded.names:
            return loaded.names[name] if loaded.once is None or name in loaded.once else UNKNOWN
        inner = file.parent / f"{name}.py" if file.name == "__init__.py" else None
        return Value("name", const=f"{base}.{name}", node=node, unit=frame.module.unit) if inner is None else outside

    def load(self, file: Path, frame: Frame) -> Frame | None:
        """Follow the body of another file of the project for its names, without telling what is wrong there."""
        if self.fuel <= 0 or self.loading >= LOADS:
            return None
        module = self.project.module(file)
        if module is None or module.unit is frame.module.unit:
            return None
        if module.frame is None:
            self.silent += 1
            self.loading += 1
            try:
                return self.run_module(module)
            finally:
                self.silent -= 1
                self.loading -= 1
        return module.frame
