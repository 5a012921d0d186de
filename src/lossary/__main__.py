"""Entry point of ``python -m lossary`` and of the ``lossary`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from lossary.cli.app import run
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("lossary"):
            raise
        sys.stderr.write(
            f"error: the command line needs {missing.name}, which is not installed: pip install 'lossary[app]'\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
