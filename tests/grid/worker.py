"""A process that runs cells, one after the other, and says of each what came of it.

It reads a cell a line and writes two lines for each: that it starts, and the outcome. A process that dies has said
which cell it was at.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import lossary

from . import drop_ins, losses, refusals
from .compare import WrongError
from .reference import Reference

# What torch says of its own affairs, and of what drop-ins are given on purpose.
TORCHS_OWN = (
    "attribute of a Tensor that is not a leaf",
    "target size",
    "both the batch size",
    "_neg_view",
    "nested tensors is in prototype",
    "non-writable",
    "Dynamo",
)
HERE = str(Path(__file__).parent)


def site(error: BaseException) -> str:
    """The last line of the library that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "lossary" in f.filename and HERE not in f.filename]
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}:{last.name}"


def outcome(cell: dict[str, Any], reference: Reference) -> dict[str, Any]:
    """Run one cell: passed, refused as a rule says it may be, or failed."""
    run = drop_ins.run if cell["subject"].startswith("F.") else losses.run
    try:
        with warnings.catch_warnings(), lossary.checks(cell["checks"]):
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", lossary.LossMisuseWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # torch's own, of its compiler
            for told in TORCHS_OWN:
                warnings.filterwarnings("ignore", message=f".*({told})")
            run(cell, reference)
    except WrongError as wrong:
        return {"state": "failed", "kind": wrong.kind, "text": str(wrong)}
    except Exception as error:
        rule = refusals.rule(cell, error)
        text = f"{type(error).__name__}: {str(error)[:600]}"
        if rule:
            return {"state": "refused", "kind": rule, "text": text}
        shown = (
            "".join(traceback.format_exception(error)[-3:])
            if not isinstance(error, lossary.errors.LossaryError)
            else ""
        )
        return {
            "state": "failed",
            "kind": f"raised {type(error).__name__} in {site(error)}",
            "text": text,
            "trace": shown,
        }
    return {"state": "passed", "kind": "", "text": ""}


def main() -> None:
    report = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        reference = Reference()
        for line in sys.stdin:
            cell = json.loads(line)
            print(json.dumps({"start": cell}), file=report, flush=True)
            if cell.pop("die", False):
                os.abort()
            started = time.process_time()
            found = outcome(cell, reference)
            found["seconds"] = time.process_time() - started
            print(json.dumps(found), file=report, flush=True)
        reference.close()


if __name__ == "__main__":
    main()
