"""Generate the pages of the losses, and their index by family, from the records of the catalogue.

`docs/make_site.py` puts them into the site, once in English and once in Chinese. Nothing is written by hand on them: a
page shows the record, the definition, what `lossary.plots` draws, and what the calls on it return. The same catalogue
gives the same pages to the byte. The Markdown is MyST: directives in fences.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import lossary
from lossary.catalogue import Loss
from lossary.catalogue.domains import Domain, domain_in_words
from lossary.catalogue.signatures import shape_in_words
from lossary.cli.catalogue import related
from lossary.inspect.derivation import derivable, derive
from lossary.nn.naming import base_name, class_aliases, constants, module_name
from lossary.testing import random_arrays
from lossary.text import fact, likelihood, phrase, quantity, summary
from lossary.text.phrases import Lang, chinese

SITE = Path(__file__).resolve().parent / "site"
sys.path.insert(0, str(SITE))

import ten_losses  # noqa: E402
from advice import AVOID, USE, advice  # noqa: E402

ORDER = ("the value", "the gradient", "the diagonal of the Hessian")
LIBRARIES = {
    "torch.nn": "PyTorch",
    "keras": "Keras",
    "optax": "Optax",
    "sklearn": "scikit-learn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "scipy": "SciPy",
    "pytorch_metric_learning": "PyTorch Metric Learning",
    "trl": "TRL",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "kornia": "Kornia",
    "monai": "MONAI",
}


@cache
def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SITE / name).read_text("utf-8"))
    return found


def words(text: str, lang: Lang, **values: str) -> str:
    """Return a sentence or a heading of the pages in a language; in English where there is no Chinese."""
    known = _read("words.zh.json").get(text) or phrase(text, lang) if lang == "zh" else text
    return known.format(**values) if values else known


def pages(lang: Lang = "en", figures: str = "") -> dict[str, str]:
    """Return the text of every page by its file name; `figures` is the folder of the drawings, if there are any."""
    losses = [lossary.get(name) for name in lossary.names()]
    return {f"{loss.name}.md": page(loss, lang, figures) for loss in losses} | {"index.md": index(losses, lang)}


def title_of(loss: Loss | str, lang: Lang) -> str:
    """Return the title of a page: the name, and in Chinese the usual Chinese name."""
    name = lossary.get(loss).name
    spoken = chinese("names").get(name, "").split()
    return f"{name} {spoken[0]}" if lang == "zh" and spoken else name


def common_losses(lang: Lang) -> str:
    """Return the page of ten common losses."""
    return ten_losses.page(lang, session, lambda name: title_of(name, lang))


def page(loss: Loss, lang: Lang = "en", figures: str = "") -> str:
    """Return the page of one loss."""
    spoken = chinese("names").get(loss.name, "").split()
    notes, examples = notes_and_examples(loss)
    parts = [f"# {title_of(loss, lang)}", markdown(summary(loss, lang))]
    known = [(words("Also known as", lang), ", ".join(f"`{alias}`" for alias in loss.aliases))]
    known.append((words("Chinese", lang), ", ".join(spoken)))
    parts.append("\n".join(f"- {heading}: {text}" for heading, text in known if text))
    parts.append(f"```{{math}}\n{loss.formula}\n```")
    if figures:
        caption = words("value, gradient and curvature along the axis that is natural to the loss", lang)
        parts.append(f"```{{raw}} html\n:file: {figures}/{loss.name}.svg\n```\n\n{{.caption}}\n{caption}")
    parts += heading("Call", lang, call(loss, lang))
    for title, pieces in (("When to use it", USE), ("When not to use it", AVOID)):
        parts += heading(title, lang, "\n".join(f"- {text}" for text in advice(loss, pieces, lang)))
    parts += heading("Notes", lang, notes)
    parts += heading("Derivation" if derived(loss, lang) else "Likelihood", lang, derivation(loss, lang))
    parts += heading("Example", lang, examples)
    parts += heading("As a PyTorch module", lang, torch_section(loss, lang))
    parts += heading("Conventions", lang, conventions(loss, lang))
    parts += heading("In other libraries", lang, peers(loss, lang))
    parts += heading("The definition", lang, definition(loss, lang))
    parts += heading("See also", lang, see_also(loss, lang))
    parts += heading("References", lang, "\n".join(f"- {linked(text)}" for text in loss.references))
    return "\n\n".join(filter(None, parts)) + "\n"


def heading(title: str, lang: Lang, text: str) -> list[str]:
    """Return a section, nothing if it is empty."""
    return [f"## {words(title, lang)}", text] if text else []


def index(losses: Iterable[Loss], lang: Lang = "en") -> str:
    """Return the table of contents, by family and in the order of the catalogue."""
    families: dict[str, list[Loss]] = {}
    for loss in losses:
        families.setdefault(loss.family, []).append(loss)
    total = sum(map(len, families.values()))
    count = f"{total} 个损失函数，分为 {len(families)} 族。" if lang == "zh" else (
        f"{total} losses in {len(families)} families. "
    )  # fmt: skip
    parts = [f"# {words('All losses', lang)}"]
    parts.append(count + words("These pages are generated from the records of the catalogue.", lang))
    heads = [words(text, lang) for text in ("loss", "what it is")]
    for family, members in families.items():
        rows = []
        for m in members:
            other = [*(f"`{a}`" for a in m.aliases), *chinese("names").get(m.name, "").split()]
            known = f"<br>{words('Also known as', lang)}: {', '.join(other)}" if other else ""
            rows.append((f"[`{m.name}`]({m.name}.md)", markdown(summary(m, lang)) + known))
        parts += [f"## {fact(family, lang).capitalize()}", table(heads, rows)]
    for family, members in families.items():  # the captions of the side bar
        listed = "\n".join(m.name for m in members)
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {fact(family, lang).capitalize()}\n\n{listed}\n```")
    return "\n\n".join(parts) + "\n"


# --- the parts of a page --------------------------------------------------------------------------------------------


def notes_and_examples(loss: Loss) -> tuple[str, str]:
    """Return the prose of the docstring after its first sentence, and its examples."""
    rest = loss.doc.partition("\n")[2].strip("\n")
    blocks = [block for block in re.split(r"\n\s*\n", rest) if block.strip()]
    examples = [block for block in blocks if block.lstrip().startswith(">>>")]
    return prose("\n\n".join(b for b in blocks if b not in examples)), prose("\n\n".join(examples))


def prose(text: str) -> str:
    """Return a docstring as Markdown: examples become code blocks, underlined titles bold ones.

    The lines ``name: what it is`` below such a title become a list.
    """
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        title, _, rest = block.strip().partition("\n")
        if block.lstrip().startswith(">>>"):
            blocks.append(f"```pycon\n{block.rstrip()}\n```")
        elif re.match(r"-{3,}\s*(\n|$)", rest):
            lines = rest.partition("\n")[2]
            entries = re.sub(r"^(\*{0,2}\w[\w, *]*?):\s", r"- `\1`: ", lines, flags=re.MULTILINE)
            blocks.append(f"**{title}**\n\n{markdown(entries)}".strip())
        else:
            blocks.append(markdown(block))
    return "\n\n".join(blocks).strip()


def markdown(text: str) -> str:
    """Return docstring text as Markdown: code is between single backticks there, and nothing else is marked up."""
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    return "".join(part if at % 2 else re.sub(r"([*_<\[\]$|])", r"\\\1", part) for at, part in enumerate(parts))


def call(loss: Loss, lang: Lang) -> str:
    """Return how the loss is called: signature, arrays, parameters, what it returns."""
    headings = ("array", "shape", "values", "differentiated")
    whole = "N stands for any number of leading dimensions, the same for all arrays; an array without them is one "
    whole += "example, repeated."
    if loss.coupling:
        whole = "The B examples of a batch are compared with each other."
    parts = [
        table([words(h, lang) for h in headings], arrays(loss, lang)),
        words(whole, lang),
    ]
    if loss.defaults:
        headings = ("parameter", "default", "range", "meaning")
        parts.append(table([words(h, lang) for h in headings], parameters(loss, lang)))
    returned = words("one value per example; `lossary.mean` reduces them", lang)
    parts.append(f"{words('Returns', lang)}: {returned}")
    signature = re.sub(r"\s*->.*", "", str(inspect.signature(loss)))
    return f"````{{py:function}} lossary.{loss.name}{signature}\n\n" + "\n\n".join(parts) + "\n````"


def arrays(loss: Loss, lang: Lang = "en") -> list[tuple[str, ...]]:
    """Return a row for each array the caller passes: its shape and its values in every alternative."""
    signatures = loss.coupling.signatures if loss.coupling else loss.signatures
    joint = f" {words('or', lang)} "
    rows = []
    for at, name in enumerate(loss.arguments):
        shapes, domains = [], []
        for alternative, signature in enumerate(signatures):
            shapes.append(f"`{shape_in_words(signature.inputs[at], not loss.coupling)}`")
            domains.append(domain_text(loss.argument_domains[alternative][at], lang))
        unique = (joint.join(dict.fromkeys(texts)) for texts in (shapes, domains))
        label = f"`{name}`" + (f"（{quantity(name, lang)}）" if lang == "zh" and quantity(name, lang) else "")
        rows.append((label, *unique, words("yes" if name in loss.wrt else "no", lang)))
    return rows


def domain_text(domain: Domain, lang: Lang) -> str:
    """Return what an array holds in a language."""
    text = domain_in_words(domain)
    if lang == "en":
        return markdown(text)
    known = _read("words.zh.json").get(text)
    if known:
        return str(known)
    return f"`{domain.text}` 中的数" if domain.kind in ("interval", "set") else markdown(text)


def parameters(loss: Loss, lang: Lang = "en") -> list[tuple[str, ...]]:
    """Return a row for each parameter: default, range, and the sentence of the docstring that explains it."""
    flat = " ".join(loss.doc.split(">>>")[0].split())
    sentences = re.split(r"(?<=[.:;])\s+(?=[A-Z`])", flat)
    rows = []
    for name, default in loss.defaults.items():
        mentions = [s for s in sentences if f"`{name}`" in s]
        meaning = next((s for s in mentions if s.startswith(f"`{name}`")), mentions[0] if mentions else "")
        label = f"`{name}`" + (f"（{quantity(name, lang)}）" if lang == "zh" and quantity(name, lang) else "")
        rows.append((label, f"`{default!r}`", f"`{loss.range_text(name)}`", markdown(meaning)))
    return rows


def conventions(loss: Loss, lang: Lang = "en") -> str:
    """Return the facts of the record that need no table of their own."""
    comma = phrase(", ", lang)
    derivatives = "value, gradient and diagonal of the Hessian" if loss.derivatives > 1 else "value and gradient"
    kernel = "none can be generated from the definition; every call runs the definition"
    coupling = words("every example is compared with the others of its batch", lang)
    known = {
        "Family": fact(loss.family, lang),
        "Input": fact(loss.input, lang) if lang == "zh" else f"`{loss.input}`",
        "Signature": f"`{loss.coupling.signature if loss.coupling else loss.signature}`",
        "Coupling": f"`{loss.coupling.name}`: {coupling}" if loss.coupling else "",
        "Properties": comma.join(fact(p, lang) for p in sorted(loss.properties)),
        **{title: phrase(text, lang) for title, text in loss.model_facts_in_words.items()},
        "Suits": comma.join(fact(task, lang) for task in loss.tasks),
        "Derivatives": words(f"{derivatives}, written by hand", lang),
        "Kernel": "" if loss.kernel else words(kernel, lang),
    }
    return "\n".join(f"- {words(title, lang)}: {text}" for title, text in known.items() if text)


def derived(loss: Loss, lang: Lang) -> str:
    """Return the derivation of the loss with its formulas, empty where there is none."""
    if not derivable(loss):
        return ""
    lines: list[str] = []
    for part in derive(loss, lang=lang).parts:
        lines += [f"### {part.title}", *([markdown(part.text)] if part.text else [])]
        for number, step in enumerate(part.steps, 1):
            # LaTeX with two subscripts at one symbol has no MathML: its plain form stands there.
            double = re.search(r"_(\{[^{}]*\}|\w)_", step.latex)
            block = f"```text\n   {step.plain}" if double else f"```{{math}}\n   {step.latex}"
            lines += [f"{number}. {markdown(step.sentence)}", f"   {block}\n   ```"]
    return "\n\n".join(lines)


def derivation(loss: Loss, lang: Lang) -> str:
    """Return the likelihood of a loss: the statement of the record, then its derivation if there is one."""
    return "\n\n".join(filter(None, [markdown(likelihood(loss, lang)), derived(loss, lang)]))


def peers(loss: Loss, lang: Lang) -> str:
    """Return a table of the names that other libraries have for the loss."""
    known = _read("peers.json").get(loss.name, {})
    rows = [(LIBRARIES[lib], ", ".join(f"`{name}`" for name in calls)) for lib, calls in known.items()]
    if not rows:
        return ""
    caution = "The same name does not promise the same number: reductions, factors of 1/2 and clipping differ."
    return table([words("library", lang), words("name there", lang)], rows) + f"\n\n{words(caution, lang)}"


def see_also(loss: Loss, lang: Lang) -> str:
    """Return links to related losses, each with its summary."""
    others = [lossary.get(name) for name in related(loss)]
    return "\n".join(f"- [`{o.name}`]({o.name}.md): {markdown(summary(o, lang))}" for o in others)


def definition(loss: Loss, lang: Lang = "en") -> str:
    """Return the source of the definition without decorator, annotations and docstring."""
    source = textwrap.dedent(inspect.getsource(loss.define))
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    body = textwrap.dedent("\n".join(source.splitlines()[(function.body[0].end_lineno or 0) :])).strip("\n")
    signature = inspect.signature(loss.define)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    head = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    line = f"def {loss.name}{head}:"
    if len(line) > 100:
        line = f"def {loss.name}(\n    {str(head)[1:-1]}\n):"
    yielded = [words(what, lang) for what in ORDER[: 1 + loss.derivatives]]
    text = words(
        "It yields, in this order, {yielded}, with respect to {wrt}.",
        lang,
        yielded=phrase(", ", lang).join(yielded),
        wrt=", ".join(f"`{w}`" for w in loss.wrt),
    )
    if loss.coupling:
        text += " " + words("It sees one row of the coupled batch at a time.", lang)
    return f"{text}\n\n```python\n{line}\n{textwrap.indent(body, '    ')}\n```"


def linked(reference: str) -> str:
    """Return a reference with its doi or arXiv number as a link."""
    text = re.sub(r"doi:(10\.\d{4,}/\S*[^\s.,;)])", r"[doi:\1](https://doi.org/\1)", reference)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    escaped = ([re.sub(r"(?<!\\)\|", r"\|", cell) for cell in row] for row in rows)
    lines = [titles, ["---"] * len(titles), *escaped]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- PyTorch --------------------------------------------------------------------------------------------------------


def torch_section(loss: Loss, lang: Lang) -> str:
    """Return the names of the module and a session that uses it, run while the page is made; empty without torch."""
    try:
        from lossary import nn
    except ImportError:  # torch is not installed
        return ""
    taken = [name for name in _read("peers.json").get(loss.name, {}).get("torch.nn", ()) if hasattr(nn, name)]
    parts = []
    for name in taken[:1]:
        text = (
            "`nn.{module}` is the module of `torch.nn` with the same arguments, defaults and results, computed by this "
            "definition; its conventions are those of torch."
        )
        parts += [words(text, lang, module=name)]
    name = module_name(loss)
    own = hasattr(nn, name) and getattr(nn, name).__module__.startswith("lossary.nn.catalogue")
    if own:
        text = (
            "`nn.{module}` takes the parameters above and a `reduction`; weights and masks are arguments of the call."
        )
        others = [also for also, of in class_aliases().items() if of == name]
        known = f" {words('Also known as', lang)}: {', '.join(f'`nn.{also}`' for also in others)}." if others else ""
        parts.append(words(text, lang, module=name) + known)
    else:
        text = "`from_record` gives the loss of this page as a module: parameters as above, "
        text += "`weight` and `mask` in the call."
        parts.append(words(text, lang))
    made = name if own else ""
    shown = session(_statements(loss, made))
    if taken:  # the module of torch takes some arrays in another layout: then from_record is shown
        with contextlib.suppress(Exception):
            shown = session(_statements(loss, taken[0]))
    return "\n\n".join([*parts, f"```pycon\n{shown}\n```"])


@cache
def session(statements: str) -> str:
    """Return a session of the interpreter: statements, each followed by what it prints."""
    space: dict[str, Any] = {}
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a call that is warned of is no example
        for statement in statements.splitlines():
            lines.append(f">>> {statement}")
            try:
                shown = eval(statement, space)
            except SyntaxError:
                exec(statement, space)
                continue
            if shown is not None:
                lines.append(repr(shown))
    return "\n".join(lines)


def _statements(loss: Loss, module: str) -> str:
    """Return the statements of the session: make the module, make the arrays, compute, go backward."""
    lines = ["import torch", "from lossary import nn"]
    base = base_name(loss) if module else "RecordLoss"
    if base == "ParameterPenalty":
        lines += ["model = nn.Linear(3, 2)", "_ = nn.init.constant_(model.weight, 0.5)"]
        lines += [f"penalty = nn.{module}(0.01)", "penalty(model)"]
        return "\n".join(lines)
    if base == "ClassifierLoss":
        lines += ["_ = torch.manual_seed(0)", f"criterion = nn.{module}(embedding_size=4, classes=3)"]
        lines += [
            "embeddings = torch.randn(2, 4, requires_grad=True)",
            "loss = criterion(embeddings, torch.tensor([0, 2]))",
        ]
        return "\n".join([*lines, "loss.backward()", "round(loss.item(), 4), embeddings.grad.shape"])
    sizes = {"c": 3, "d": 2, "n": 3, "b": 4, "t": 4, "s": 2, "k": 2}
    drawn = random_arrays(loss, np.random.default_rng(1), 2, sizes)
    held = constants(loss)
    given = dict(zip(loss.arguments, drawn, strict=True))
    if held:  # one row of them for all examples
        given |= {name: given[name][0] if np.ndim(given[name]) > 1 else given[name] for name in held}
    fixed = ", ".join(f"{name}={np.round(given[name], 2).tolist()}" for name in held)
    if module:
        lines.append(f"criterion = nn.{module}({fixed})")
    else:
        lines.append(f'criterion = nn.from_record("{loss.name}"{", " + fixed if fixed else ""})')
    passed = []
    for name, domain in zip(loss.arguments, loss.argument_domains[0], strict=True):
        if name in held:
            continue
        ending = ".requires_grad_()" if name in loss.wrt else ""
        lines.append(f"{name} = {_literal(given[name], domain)}{ending}")
        passed.append(name)
    lines += [f"loss = criterion({', '.join(passed)})", "loss.backward()"]
    return "\n".join([*lines, "round(loss.item(), 4)", f"{loss.wrt[0]}.grad"])


def _literal(array: Any, domain: Domain) -> str:
    """Return an expression for a tensor of short numbers that are in a domain."""
    numbers = np.asarray(array)
    if domain.kind in ("simplex", "log-simplex"):
        shares = np.round(np.exp(numbers) if domain.kind == "log-simplex" else numbers, 2)
        shares[..., -1] = np.round(1 - shares[..., :-1].sum(-1), 2)
        text = f"torch.tensor({np.round(shares, 2).tolist()})"
        return f"{text}.log()" if domain.kind == "log-simplex" else text
    whole = domain.kind in ("index", "count", "integer", "length")
    return f"torch.tensor({(numbers.astype(int) if whole else np.round(numbers, 2)).tolist()})"


def executed_examples(names: Sequence[str]) -> list[str]:
    """Run the examples of the pages and return a sentence for each that prints something else than it shows."""
    import doctest

    wrong: list[str] = []
    for name in names:
        tests = doctest.DocTestParser().get_doctest(lossary.get(name).doc, {}, name, None, 0)
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        if runner.run(tests, out=lambda text: None).failed:
            wrong.append(f"{name}: an example of its docstring prints something else than it shows")
    return wrong
