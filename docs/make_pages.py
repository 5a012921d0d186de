"""Write one page per loss into docs/losses, and an index by family, from the records of the catalogue.

    make docs

Nothing is written by hand there: a page shows the record and the definition. The pages are not committed; the same
catalogue gives the same pages to the byte.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import lossary
from lossary.catalogue import Loss

PAGES = Path(__file__).resolve().parent / "losses"

ORDER = ("value", "gradient", "diagonal of the Hessian")


def pages() -> dict[str, str]:
    """Return the text of every page by its file name."""
    losses = [lossary.get(name) for name in lossary.names()]
    return {f"{loss.name}.md": page(loss) for loss in losses} | {"README.md": index(losses)}


def page(loss: Loss) -> str:
    """Return the page of one loss."""
    summary, _, rest = loss.doc.partition("\n")
    parts = [
        f"# {loss.name}",
        markdown(summary),
        f"```math\n{loss.formula}\n```",
        prose(rest.strip("\n")),
        "## Arrays",
        table(("array", "one example", "values", "differentiated"), arrays(loss)),
    ]
    if loss.defaults:
        parts += ["## Parameters", table(("parameter", "default", "range"), parameters(loss))]
    parts += ["## Facts", facts(loss), "## Definition", definition(loss)]
    if loss.references:
        parts += ["## References", "\n".join(f"- {linked(text)}" for text in loss.references)]
    parts.append(f"[All losses](README.md) · family: {loss.family}")
    return "\n\n".join(parts) + "\n"


def index(losses: Iterable[Loss]) -> str:
    """Return the table of contents, by family and in the order of the catalogue."""
    families: dict[str, list[Loss]] = {}
    for loss in losses:
        families.setdefault(loss.family, []).append(loss)
    total = sum(map(len, families.values()))
    parts = ["# The catalogue", f"{total} losses in {len(families)} families. These pages are made by `make docs`."]
    for family, members in families.items():
        rows = [
            (f"[`{m.name}`]({m.name}.md)", markdown(m.summary), ", ".join(f"`{a}`" for a in m.aliases)) for m in members
        ]
        parts += [f"## {family.capitalize()}", table(("loss", "what it is", "also known as"), rows)]
    return "\n\n".join(parts) + "\n"


# --- the parts of a page --------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """Return a docstring as Markdown: examples become code blocks, the rest is nearly Markdown already."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        is_example = block.lstrip().startswith(">>>")
        blocks.append(f"```pycon\n{block}\n```" if is_example else markdown(block))
    return "\n\n".join(blocks)


def markdown(text: str) -> str:
    """Return docstring text as Markdown: code is between single backticks there."""
    return text.replace("``", "`")


def arrays(loss: Loss) -> list[tuple[str, ...]]:
    """Return a row for each array the caller passes, with its core dimensions and values in every alternative."""
    signatures = loss.coupling.signatures if loss.coupling else loss.signatures
    rows = []
    for at, name in enumerate(loss.arguments):
        shapes, domains = [], []
        for alternative, signature in enumerate(signatures):
            shapes.append(f"`({', '.join(signature.inputs[at])})`")
            domains.append(f"`{loss.domain(name, alternative)}`")
        unique = (" or ".join(dict.fromkeys(texts)) for texts in (shapes, domains))
        rows.append((f"`{name}`", *unique, "yes" if name in loss.wrt else "no"))
    return rows


def parameters(loss: Loss) -> list[tuple[str, ...]]:
    """Return a row for each parameter; what it means stands in the text."""
    return [(f"`{n}`", f"`{default!r}`", f"`{loss.range_text(n)}`") for n, default in loss.defaults.items()]


def facts(loss: Loss) -> str:
    """Return the facts of the record that need no table of their own."""
    derivatives = "value, gradient and Hessian" if loss.derivatives > 1 else "value and gradient"
    known = {
        "Also known as": ", ".join(f"`{alias}`" for alias in loss.aliases),
        "Input": f"`{loss.input}`",
        "Signature": f"`{loss.coupling.signature if loss.coupling else loss.signature}`",
        "Coupling": f"`{loss.coupling.name}`: every example is compared with the others" if loss.coupling else "",
        "Likelihood": loss.likelihood,
        "Properties": ", ".join(sorted(loss.properties)),
        **loss.model_facts_in_words,
        "Suits": ", ".join(loss.tasks),
        "Derivatives": f"{derivatives}, written by hand",
        "Kernel": "" if loss.kernel else "none can be generated from the definition; every call runs it as it stands",
    }
    return "\n".join(f"- {title}: {text}" for title, text in known.items() if text)


def definition(loss: Loss) -> str:
    """Return the source of the definition without decorator, annotations and docstring, its results numbered."""
    source = textwrap.dedent(inspect.getsource(loss.define))
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    body = textwrap.dedent("\n".join(source.splitlines()[(function.body[0].end_lineno or 0) :])).strip("\n")
    signature = inspect.signature(loss.define)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    head = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    line = f"def {loss.name}{head}:"
    if len(line) > 100:
        line = f"def {loss.name}(\n    {str(head)[1:-1]}\n):"
    yielded = [f"{i}. {what}" for i, what in enumerate(ORDER[: 1 + loss.derivatives], 1)]
    text = "What it yields: " + ", ".join(yielded) + f", with respect to {', '.join(f'`{w}`' for w in loss.wrt)}."
    if loss.coupling:
        text += " It sees one row of the coupled batch at a time."
    return f"{text}\n\n```python\n{line}\n{textwrap.indent(body, '    ')}\n```"


def linked(reference: str) -> str:
    """Return a reference with its doi or arXiv number as a link."""
    text = re.sub(r"doi:(10\.\d{4,}/\S*[^\s.,;)])", r"[doi:\1](https://doi.org/\1)", reference)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(folder: Path = PAGES) -> int:
    """Write every page, remove those of losses that no longer exist, and return how many files changed."""
    folder.mkdir(parents=True, exist_ok=True)
    current = pages()
    changed = 0
    for name, text in current.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed += 1
    for file in folder.glob("*.md"):
        if file.name not in current:
            file.unlink()
            changed += 1
    return changed


if __name__ == "__main__":
    changed = write()
    print(f"docs/losses: {len(lossary.names())} losses, {changed} pages changed")
