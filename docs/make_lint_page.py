"""Write docs/lint.md from the records of the linter's rules.

make docs
"""

from __future__ import annotations

from pathlib import Path

from lossary.lint import RULES
from lossary.lint.output import explained
from lossary.lint.records import FAMILIES

PAGE = Path(__file__).resolve().parent / "lint.md"

HEAD = """# A linter for losses

`lossary lint PATH...` reads Python files, Jupyter notebooks and the code in Markdown, and tells where a loss is used
wrongly. It knows the losses of PyTorch, Keras, Optax, TensorFlow and Lossary. It never runs what it reads.

```console
$ lossary lint src notebooks README.md
$ lossary lint --fix src                    # mend what changes no number
$ lossary lint --explain LOS101             # why, with numbers
$ lossary lint --format github src          # or json, sarif, concise
```

It leaves with 0 if nothing was found, 1 if something was, and 2 if the command or the configuration is wrong.

## What it sees

Values are followed through names, branches, attributes, calls and other files of the project: a module that ends in
softmax is known where it is trained, in whichever file that is. Where two branches disagree it forgets, for a false
alarm costs more than a miss.

## Configuration

```toml
[tool.lossary.lint]
select = ["ALL"]                     # codes, their beginnings (LOS1) or names
ignore = ["mean-of-batch-means"]
exclude = ["old/*"]
per-file-ignores = { "tests/*" = ["LOS1"] }
```

`# noqa` on a line silences it, `# noqa: LOS101` only one rule there; `# lossary: noqa` silences a file.

For pre-commit there is a hook called `lossary-lint`.
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    parts.append(f"## The rules\n\n{len(RULES)} rules. This part is made by `make docs`.\n")
    rows = ["| code | name | what |", "| --- | --- | --- |"]
    rows += [f"| [{r.code}](#{r.code.lower()}) | {r.name} | {r.summary} |" for r in RULES.values()]
    parts.append("\n".join(rows) + "\n")
    for family, title in FAMILIES.items():
        parts.append(f"## {family}: {title.lower()}\n")
        parts += [explained(rule, 3) for rule in RULES.values() if rule.code.startswith(family)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(RULES)} rules")
