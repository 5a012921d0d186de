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
$ lossary lint --fix --unsafe-fixes src     # mend also what changes numbers; look at the difference
$ lossary lint --explain LOS101             # why, with numbers
$ lossary lint --format github src          # or json, sarif, concise
$ cat net.py | lossary lint -               # standard input; --stdin-filename says what it is
```

It leaves with 0 if nothing was found, 1 if something was, and 2 if the command or the configuration is wrong.

## What it sees

Values are followed through names, branches, attributes, calls and other files of the project: a module that ends in
softmax is known where it is trained, in whichever file that is. Wrappers are looked through: DataParallel, compile,
accelerate, Fabric, DeepSpeed and gradient scalers. Where two branches disagree it forgets, for a false alarm costs more
than a miss; and where somebody has taken care of extreme numbers (a comparison, a selection, a clamp) it says nothing.

In notebooks, magics and shell commands are left out; findings name the cell, and in SARIF and workflow annotations the
line of the JSON. In Markdown the blocks of Python are read, those of MyST (`{code-cell}`, `{code-block}`) too, and in
docstrings the examples after `>>>`. A statement that is no Python is reported, and the rest of the file is checked.

## Configuration

```toml
[tool.lossary.lint]
select = ["ALL"]                     # codes, their beginnings (LOS1) or names
ignore = ["mean-of-batch-means"]
exclude = ["old/*"]
per-file-ignores = { "examples/*" = ["LOS1"] }
formulas-in-tests = false
```

| key | default | what |
| --- | --- | --- |
| `select` | the rules that are on by default | the only rules that are asked |
| `ignore` | none | rules that are not asked |
| `exclude` | none | patterns of files and folders, relative to the configuration (1) |
| `per-file-ignores` | none | rules that are not asked in some files |
| `formulas-in-tests` | `false` | whether the family LOS5 is asked in tests (2) |

(1) `.git`, `.venv`, `build`, `.ipynb_checkpoints` and their like are always left out. (2) Files called `test_*.py` or
`*_test.py` and those in `tests/`: formulas are written by hand there, to be compared with.

The nearest `pyproject.toml` above a path that has the table counts. A file that is named outright is checked even where
it is excluded; `--force-exclude` leaves it out.

A comment `# noqa` silences the statement it stands in, on whichever of its lines; `# noqa: LOS101`, `# noqa: LOS1` or
`# noqa: softmax-into-cross-entropy` silences a rule or a family there. `# lossary: noqa` silences a file.

## pre-commit, workflows and editors

```yaml
# .pre-commit-config.yaml
repos:
  - repo: THE ADDRESS OF THIS REPOSITORY
    rev: v0.1.0
    hooks:
      - id: lossary-lint
```

```yaml
# .github/workflows/lint.yml
on: [push, pull_request]
jobs:
  losses:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: { python-version: "3.12" }
      - run: pip install "lossary[app]"
      - run: lossary lint --format github src
```

For editors `lossary lint --lsp` is a language server on standard input and output: findings appear as one types, and
mends are offered as quick fixes. It needs the extra `lsp`: `pip install "lossary[app,lsp]"`.
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
