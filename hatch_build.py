"""The build hook of the package: it writes the stubs before a wheel, a source archive or an editable installation."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubHook(BuildHookInterface):  # type: ignore[type-arg]
    """Run the stub maker, in a process of its own: the package it imports is not the one that is installed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the stubs into the source tree, where `artifacts` of pyproject.toml includes them in the build."""
        subprocess.run([sys.executable, "-B", str(Path(self.root) / "docs" / "make_stubs.py")], check=True)
