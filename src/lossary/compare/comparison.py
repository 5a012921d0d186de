"""The comparison a user gets: its results as text, JSON and an HTML report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary._files import save_text
from lossary.compare.outputs import check_ending
from lossary.compare.results import Results, Row, Settings, Table
from lossary.compare.verdict import footnotes, sentences, table_cells
from lossary.errors import DataError
from lossary.text.layout import aligned
from lossary.text.phrases import Lang

Array = NDArray[Any]


@dataclass(frozen=True, repr=False)
class Comparison(Results):
    """The outcome of `lossary.compare.compare`: printing it shows the table and the verdict."""

    @property
    def verdict(self) -> str:
        """Say in a few sentences what the numbers say and how sure they are."""
        return " ".join(self.sentences)

    @property
    def sentences(self) -> list[str]:
        """The verdict, one sentence at a time."""
        return self.say()

    def say(self, lang: Lang = "en") -> list[str]:
        """Return the verdict in a language, one sentence at a time: the answer, how sure it is, what else matters."""
        return list(sentences(self, lang))

    def __repr__(self) -> str:
        return f"<comparison of {len(self.rows)} losses on {self.data.name}; print it for the table>"

    def __str__(self) -> str:
        titles, lines = table_cells(self)
        return "\n".join([*aligned([titles, *lines]), *footnotes(self), "", self.verdict])

    # -- as a file -----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return everything as JSON; `Comparison.from_json` reads it back."""
        derived = {"verdict": self.verdict, "differences_to_best": [_finite(asdict(d)) for d in self.differences()]}
        return json.dumps({"format": "lossary comparison 1", **asdict(self), **derived}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Read what `to_json` wrote. Raises `DataError` for anything else."""
        try:
            held = json.loads(text)
            if held.pop("format") != "lossary comparison 1":
                raise KeyError("format")
            for derived in ("verdict", "differences_to_best"):
                held.pop(derived, None)
            held["data"] = Table(**held["data"])
            held["settings"] = Settings(**held["settings"])
            for rows in ("rows", "references"):
                held[rows] = [Row(**row) for row in held.get(rows, ())]
            return cls(**held)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"this is not a comparison written by lossary: {error}") from error

    def to_html(self, lang: Lang = "en") -> str:
        """Return the report: one page that needs nothing else."""
        # Here: the page needs results and verdicts, modules beside this one, whose package imports this one first.
        from lossary.report.page import render

        return render(self, lang)

    def save(self, path: str | Path, lang: Lang = "en") -> None:
        """Write the report (``.html``) or the numbers (``.json``), whole or not at all."""
        kind = "json" if Path(path).suffix.lower() == ".json" else "report"
        check_ending(kind, path)
        save_text(path, self.to_json() if kind == "json" else self.to_html(lang))


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}
