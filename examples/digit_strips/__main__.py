"""The command: train the readers, print a table, and write the numbers and a page.

Run it in the project's root:  python -m examples.digit_strips --report strips.html
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from examples.digit_strips.comparison import StripComparison, compare_strips
from examples.digit_strips.readers import READERS

from lossary.errors import LossaryError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with arguments, those of the command line if none are given."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.digit_strips", description="Train a network with each loss to read rows of digits."
    )
    parser.add_argument("--loss", action="append", default=[], metavar="NAME", help=f"{', '.join(READERS)}; repeat")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--train", type=int, default=1200, metavar="STRIPS", help="how many strips to train on")
    parser.add_argument("--test", type=int, default=300, metavar="STRIPS", help="how many held-out strips to read")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    options = parser.parse_args(arguments)
    try:
        result = compare_strips(
            options.loss,
            train=options.train,
            test=options.test,
            epochs=options.epochs,
            seeds=options.seeds,
            progress=_show_progress if sys.stderr.isatty() else None,
        )
    except LossaryError as error:
        parser.error(str(error))
    print(_table(result))
    print("\n".join(result.sentences()))
    if options.report is not None:
        from examples.digit_strips.page import render

        options.report.write_text(render(result), encoding="utf-8")
        print(f"report: {options.report}")
    if options.json is not None:
        options.json.write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
        print(f"numbers: {options.json}")


def _table(result: StripComparison) -> str:
    lines = [f"{'loss':<22} {'strips without a mistake':>24} {'digits wrong':>13} {'seconds':>8}"]
    for row in result.rows:
        accuracy, errors = f"{mean(row.sequence_accuracy):.1%}", f"{mean(row.digit_error_rate):.1%}"
        lines.append(f"{row.loss:<22} {accuracy:>24} {errors:>13} {mean(row.seconds):>8.1f}")
    return "\n".join(lines)


def _show_progress(done: int, total: int, text: str) -> None:
    end = "\r" if done < total else "\n"
    sys.stderr.write(f"{f'{done} of {total} epochs: {text}':<79}{end}")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
