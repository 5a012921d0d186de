"""Write the explorer, one page that stands alone, into a folder.

python docs/make_explorer.py out/explorer
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossary.explorer import page


def build(folder: Path) -> None:
    """Write ``index.html`` into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(), "utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "out/explorer"))
