"""Commands on the catalogue: ``list``, ``show``, ``explain`` and ``check``."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

import lossary
from lossary.catalogue import TASKS, Loss, get, names, ranked, search
from lossary.catalogue.branches import undeclared
from lossary.cli.arrays import assign, by_name, read_array, read_params
from lossary.cli.console import output
from lossary.errors import ArgumentError, LossaryError, ParameterError, UnknownLossError, suggest
from lossary.inspect.derivation import Derivation
from lossary.inspect.derivation import derive as derivation
from lossary.inspect.tracing import Step
from lossary.testing import exercised, never_run, random_arrays
from lossary.text.formula import readable
from lossary.text.layout import width
from lossary.text.phrases import (
    LANGS,
    Lang,
    called,
    fact,
    is_chinese,
    likelihood,
    phrase,
    quantity,
    summary,
    texts,
)

_NAME = typer.Argument(metavar="NAME", help="A loss, by its name or an alias.")
_PARAM = typer.Option("--param", "-p", metavar="NAME=VALUE", help="Fix a parameter; repeat for several.")
_LANG = typer.Option("--lang", metavar="en|zh", envvar="LOSSARY_LANG", help="Language of the words.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("list")(list_losses)
    app.command("show")(show)
    app.command("explain", cls=ArraysByName)(explain)
    app.command("check")(check)


def language(lang: str) -> Lang:
    """Return a language, or raise `ParameterError` with those that exist."""
    if lang not in LANGS:
        raise ParameterError(f"--lang: got {lang!r}, expected one of {', '.join(LANGS)}{suggest(lang, LANGS)}")
    return "zh" if lang == "zh" else "en"


# --- list -----------------------------------------------------------------------------------------------------------


def list_losses(
    family: Annotated[str | None, typer.Option(help="Only this family, such as regression or margin.")] = None,
    task: Annotated[str | None, typer.Option(help="Only losses that can be trained on this task.")] = None,
    search: Annotated[str | None, typer.Option(help="Losses that mention these words, best match first.")] = None,
    lang: Annotated[str, _LANG] = "en",
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """List the losses, best match first if searched.

    Aliases of a loss follow its summary. In a terminal each loss is one line, cut to fit; in a pipe lines are not cut.

    Examples:

        lossary list --family regression
        lossary list --task multiclass --search imbalance
        lossary list --json
    """
    tongue = language(lang)
    found = [get(name) for name in _selected(family, task, search)]
    if json:
        typer.echo(jsonlib.dumps([_facts(loss, tongue) for loss in found], indent=2, ensure_ascii=False))
        return
    console = output(pipe=400)
    facts = ("name", "family", "input", "target", "summary") if console.width >= 110 else ("name", "input", "summary")
    rows = [[phrase(heading, tongue) for heading in facts]]
    for loss in found:
        facts_of = _facts(loss, tongue)
        rows.append([_words(facts_of[f] or "-", tongue) if f in _WORDS else facts_of[f] for f in facts])
        if loss.aliases:
            rows[-1][-1] += f" ({', '.join(loss.aliases)})"
    widths = [max(width(row[i]) for row in rows) for i in range(len(facts) - 1)]
    for number, row in enumerate(rows):
        cells = [cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=False)]
        line = Text.assemble(
            (cells[0], "bold cyan"), "  ", "  ".join([*cells[1:], row[-1]]), style="" if number else "dim"
        )
        line.truncate(console.width, overflow="ellipsis")  # one line a loss, so that it can be searched and counted
        console.print(line)
    many = "{count} losses. A page for each: lossary show NAME"
    last = phrase(many if len(found) != 1 else "1 loss. Its page: lossary show NAME", tongue, count=len(found))
    console.print(Text(last, style="dim"))


_WORDS = ("family", "input", "target")  # facts that are words of a small vocabulary, which has a translation


def _words(text: str, lang: Lang) -> str:
    """Return the words for a fact, or for the alternatives of one."""
    return " | ".join(fact(each, lang) for each in text.split(" | "))


def _selected(family: str | None, task: str | None, words: str | None) -> list[str]:
    families = list(dict.fromkeys(get(name).family for name in names()))
    family, task = _parsed_word("family", family, families), _parsed_word("task", task, list(TASKS))
    found = names() if not words else ranked(words, texts) if is_chinese(words) else search(words)
    kept = [n for n in found if family in (None, get(n).family) and (task is None or task in get(n).tasks)]
    if not kept:
        vocabulary = {word for n in names() for word in (n, *get(n).aliases, *n.split("_"))}
        asked = {"family": family, "task": task, "search": words}
        criteria = ", ".join(f"{k} {v!r}" for k, v in asked.items() if v)
        raise UnknownLossError(
            f"no loss with {criteria}{suggest(words or '', vocabulary) or '; leave one of them out'}"
        )
    return kept


def _parsed_word(what: str, given: str | None, known: Sequence[str]) -> str | None:
    """Return a family or a task from its word in either language; None for none."""
    if given is None or given in known:
        return given
    printed = {fact(word, "zh"): word for word in known} | {word: word for word in known}
    if given in printed:
        return printed[given]
    hint = suggest(given, printed) or f"; there are {', '.join(known)}"
    raise UnknownLossError(f'unknown {what} "{given}"{hint}')


def loss_called(name: str) -> Loss:
    """Return the loss of a name, an alias or a Chinese name."""
    found = called(name) if is_chinese(name) else []
    return get(found[0] if found else name)


def _facts(loss: Loss, lang: Lang) -> dict[str, Any]:
    return {
        "name": loss.name,
        "family": loss.family,
        "input": loss.input,
        "target": loss.target,
        "summary": summary(loss, lang),
        "signature": (loss.coupling or loss).signature,
        "arrays": list(loss.arguments),
        "parameters": dict(loss.parameters),
        "special": {name: list(values) for name, values in loss.special.items()},
        "tasks": list(loss.tasks),
        "properties": sorted(loss.properties),
        "link": loss.link.name if loss.link else None,
        "elicits": loss.elicits or None,
        "constant_hessian": loss.constant_hessian,
        "degenerate_hessian": loss.degenerate_hessian,
        "unbounded_form": loss.unbounded_form or None,
        "formula": loss.formula,
        "aliases": list(loss.aliases),
        "references": list(loss.references),
    }


# --- show -----------------------------------------------------------------------------------------------------------


def show(
    name: Annotated[str, _NAME],
    param: Annotated[list[str] | None, _PARAM] = None,
    lang: Annotated[str, _LANG] = "en",
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="Draw into a .png, .svg or .html file.")] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Leave out the drawing.")] = False,
) -> None:
    """Show the page of a loss: formula, conventions, derivatives, parameters, sources, and its curve.

    The curve is drawn with characters, or into a file with --plot.

    Examples:

        lossary show huber --param delta=2
        lossary show softmax_cross_entropy --lang zh --no-plot
        lossary show pinball --plot pinball.svg
    """
    tongue = language(lang)
    loss = loss_called(name)
    params = read_params(param or ())
    for key, given in params.items():
        if np.ndim(given) and key in loss.parameter_domains and not loss.parameter_domains[key][1]:
            raise ParameterError(f"{loss.name}: {key}: got {given}; a page shows one number at a time")
    loss = loss.bind(**params) if params else loss
    console = output()
    drawing = _drawing(console, loss, plot, tongue) if plot is not None or not no_plot else ""
    _print(console, Text.assemble((loss.name, "bold cyan"), f"  {summary(loss, tongue)}"))
    for heading, lines in _page(loss, tongue):
        if lines:
            console.print(Text(f"\n{phrase(heading, tongue)}", style="bold"))
            for line in lines:
                text = line.lstrip()
                _print(console, Text(text), indent=2 + len(line) - len(text))
    if drawing:
        console.print(Text.from_ansi(f"\n{drawing}"), soft_wrap=True)


def _print(console: Console, text: Text, indent: int = 0) -> None:
    """Print a wrapped paragraph with every line indented."""
    for line in text.wrap(console, max(console.width - indent, 10)):
        line.rstrip()
        console.print(Text(" " * indent) + line, soft_wrap=True)


def _drawing(console: Console, loss: Loss, file: str | None, lang: Lang) -> str:
    """Return the curve as text, or the name of the file it was drawn into."""
    from lossary import plots

    if file is not None:
        try:
            return plots.plot(loss, file, lang=lang)
        except OSError as wrong:
            raise ArgumentError(f"--plot: cannot write {file!r}: {wrong.strerror}") from None
    try:
        return plots.plot(loss, width=min(console.width, 88), colour=console.color_system is not None, lang=lang)
    except LossaryError as refusal:  # the page is printed without its curve
        return str(refusal)


def _page(loss: Loss, lang: Lang) -> Iterable[tuple[str, list[str]]]:
    """Yield the headings of a page and their lines."""
    yield "Formula", [readable(loss.formula), f"LaTeX: {loss.formula}"]
    yield "Definition", _definition(loss)
    shape = f"{phrase('signature', lang)}: {(loss.coupling or loss).signature}"
    yield "Inputs", [*(_array(loss, a, lang) for a in loss.arguments), shape]
    yield "Parameters", [line for p in loss.defaults for line in _parameter(loss, p, lang)]
    yield "Likelihood", [likelihood(loss, lang)] if loss.likelihood else []
    kinds = [fact(loss.family, lang), *(fact(p, lang) for p in sorted(loss.properties))]
    yield "Properties", [phrase(", ", lang).join(kinds)]
    facts = loss.model_facts_in_words
    yield "Fitting", [f"{phrase(title, lang)}: {phrase(text, lang)}" for title, text in facts.items()]
    yield "Tasks", [phrase(", ", lang).join(fact(t, lang) for t in loss.tasks)] if loss.tasks else []
    yield "Notes", _notes(loss)
    yield "References", list(loss.references)
    yield "Aliases", [", ".join(loss.aliases)] if loss.aliases else []
    yield "Related", [", ".join(related(loss))] if related(loss) else []


def _definition(loss: Loss) -> list[str]:
    """Return the expressions of the definition, as it computes them on random arguments."""
    classes = next((len(v) for k, v in loss.bound.items() if np.ndim(v) and loss.parameter_domains[k][1]), 4)
    arrays = random_arrays(loss, np.random.default_rng(0), sizes={"c": classes})
    with lossary.checks("shapes"):  # random arrays are no misuse
        explanation = lossary.explain(loss, *arrays, reduction="none")
    lines: list[str] = []
    for section in explanation.sections:
        if section.key in ("coupling", "steps", "value", "gradient", "hessian"):
            lines += [line for step in section.steps for line in _expressions(step)]
    return lines


def _expressions(step: Step, indent: str = "") -> Iterable[str]:
    """Yield a step as one line, or as the heading of its sub-steps."""
    if step.value is None:
        yield f"{indent}{step.name}:"
        for inner in step.steps:
            yield from _expressions(inner, indent + "  ")
    elif step.expression:
        yield f"{indent}{step.name} = {step.expression}"


def _array(loss: Loss, name: str, lang: Lang) -> str:
    convention = loss.input if name in loss.wrt and name not in loss.domains else loss.domains.get(name, "")
    domain = loss.domain(name).text
    if name == loss.arguments[-1] and loss.target and not loss.coupling and name not in loss.domains:
        convention, domain = "", loss.target
    words = [fact(convention, lang)] if convention and convention != domain else []
    words += [_words(domain, lang), *([phrase("differentiated", lang)] if name in loss.wrt else [])]
    return f"{_label(name, lang)}: {phrase(', ', lang).join(words)}"


def _label(name: str, lang: Lang) -> str:
    words = quantity(name, lang) if lang != "en" else None
    return f"{name}（{words}）" if words else name


def _parameter(loss: Loss, name: str, lang: Lang) -> Iterable[str]:
    value = loss.bound.get(name, loss.defaults[name])
    fixed = f"; {phrase('default', lang)} {loss.defaults[name]}" if name in loss.bound else ""
    yield f"{_label(name, lang)} = {value}  ({loss.range_text(name)}{fixed})"
    mentions = [s for s in _sentences(loss.doc) if f"`{name}`" in s]
    if mentions:
        yield "    " + next((s for s in mentions if s.startswith(f"`{name}`")), mentions[0])


def _sentences(doc: str) -> list[str]:
    """Return the sentences of a docstring's prose."""
    prose = " ".join(doc.split(">>>")[0].split())
    return re.split(r"(?<=[.:;])\s+(?=[A-Z`])", prose)


def _notes(loss: Loss) -> list[str]:
    """Return the prose of the docstring after its first sentence, a paragraph a line."""
    paragraphs = loss.doc.split(">>>")[0].split("\n\n")[1:]
    return [" ".join(p.split()) for p in paragraphs if p.strip()]


def related(loss: Loss, most: int = 6) -> list[str]:
    """Return related losses: those that the docstring names, then those of the same family and signature."""
    everything = [n for n in names() if n != loss.name]
    named = [n for n in everything if re.search(rf"`{n}\b", loss.doc)]
    alike = [n for n in everything if (get(n).family, get(n).signature) == (loss.family, loss.signature)]
    return list(dict.fromkeys([*named, *alike]))[:most]


# --- explain --------------------------------------------------------------------------------------------------------


class ArraysByName(TyperCommand):
    """A command with an option ``--name`` for every array, whose numbers need no quotes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``--pred 1 2 3`` as ``--array "pred=1 2 3"``."""
        declared = {option for param in self.params for option in param.opts} | set(ctx.help_option_names)
        return super().parse_args(ctx, by_name(args, declared))


def explain(
    name: Annotated[str, _NAME],
    array: Annotated[
        list[str] | None, typer.Option("--array", metavar="NAME=VALUE", help="An array by its name; repeat.")
    ] = None,
    param: Annotated[list[str] | None, _PARAM] = None,
    weight: Annotated[str | None, typer.Option(metavar="ARRAY", help="Numbers >= 0, one per example.")] = None,
    mask: Annotated[str | None, typer.Option(metavar="ARRAY", help="True (or 1) for examples that are kept.")] = None,
    reduction: Annotated[str, typer.Option(metavar="mean|sum|none", help="How examples become one number.")] = "mean",
    denominator: Annotated[float | None, typer.Option(help="What a mean divides by, if not the weights.")] = None,
    derive: Annotated[
        bool, typer.Option("--derive", help="Derive the loss from its likelihood; takes no arrays.")
    ] = False,
    lang: Annotated[str, _LANG] = "en",
) -> None:
    """Work out a loss step by step: every quantity with its name, its expression and its numbers.

    With --derive: how the loss follows from the likelihood of the data (the product over samples, its logarithm, the
    sum), and for the two cross-entropies on logits their gradient and the form that does not overflow.

    Arrays are named options: --pred, --logits, --target, --labels ... as JSON, as numbers, or as @file.npy or
    @file.csv. `lossary show NAME` lists the arguments of a loss.

    Examples:

        lossary explain squared_error --pred 1 2 3 --target 2 2.5 3.5
        lossary explain softmax_cross_entropy --logits "[[2, 1, 0]]" --labels "[0]"
        lossary explain huber --pred 1 5 --target 2 2 --delta 3 --weight 1 0.5
        lossary explain huber --pred @pred.npy --target @target.csv --lang zh
        lossary explain softmax_cross_entropy --derive
    """
    tongue = language(lang)
    loss = loss_called(name)
    if derive:
        if array or param or weight is not None or mask is not None:
            raise ArgumentError("--derive: a derivation is for all numbers; leave out arrays, weights and parameters")
        _print_derivation(derivation(loss, tongue))
        return
    arrays, params = assign(loss, array or ())
    fixed = read_params(param or ())
    for key in fixed:
        if key in params:
            raise ArgumentError(f"{loss.name}: {key} is given twice, by --{key.replace('_', '-')} and by --param")
        if key not in loss.defaults and (key in _OPTIONS or key in loss.arguments):
            raise ArgumentError(f"--param: {key} is no parameter of {loss.name}; write --{key} instead")
    loss = loss.bind(**params, **fixed) if params or fixed else loss
    with np.errstate(all="ignore"):  # infinities are shown
        explanation = lossary.explain(
            loss,
            **arrays,
            weight=None if weight is None else read_array(weight, "weight"),
            mask=None if mask is None else read_array(mask, "mask"),
            reduction=reduction,  # type: ignore[arg-type]  # checked where it is used
            denominator=denominator,
            lang=tongue,
        )
    console = output()
    headings = {section.title for section in explanation.sections}
    for line in str(explanation).splitlines():
        console.print(Text(line, style="bold" if line in headings else ""), soft_wrap=True)


def _print_derivation(route: Derivation) -> None:
    console = output()
    headings = {part.title for part in route.parts}
    for line in str(route).splitlines():
        console.print(Text(line, style="bold" if line in headings else ""), soft_wrap=True)


_OPTIONS = ("weight", "mask", "reduction", "denominator", "lang")


# --- check ----------------------------------------------------------------------------------------------------------


def check(
    name: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Losses; all if none is given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON.")] = False,
) -> None:
    """Check gradients and Hessians against finite differences, on random inputs from each loss's domains.

    Parameters are at their defaults, at the ends of their ranges, at their special values, and random. Lines of a
    definition that none of this executes are listed. The exit code is 1 if any derivative is wrong.

    Examples:

        lossary check huber softmax_cross_entropy
        lossary check --seed 7 --json
    """
    losses = [loss_called(n) for n in name or names()]
    outcomes = []
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task("checking", total=len(losses))
        for loss in losses:
            bar.update(line, description=loss.name)
            outcomes.append(_outcome(loss, seed))
            bar.advance(line)
    if json:
        typer.echo(jsonlib.dumps(outcomes, indent=2))
    else:
        _print_outcomes(outcomes)
    if not all(outcome["ok"] for outcome in outcomes):
        raise typer.Exit(1)


def _outcome(loss: Loss, seed: int) -> dict[str, Any]:
    """Check one loss on every alternative of its signature, at default, random and special parameters."""
    worst: dict[str, float] = {}
    kinks = 0
    wrong = [*undeclared(loss), *(f"never runs: {line}" for line in never_run(loss))]
    for arrays, params in exercised(loss, seed):
        found = lossary.check_grad(loss, *arrays, **params)
        fixed = ", ".join(f"{name}={value}" for name, value in params.items())
        for each in found.checks:
            worst[each.what] = max(worst.get(each.what, 0.0), each.error)
            kinks += each.kinks
            wrong += [] if each.ok else [f"{each}{f' with {fixed}' if fixed else ''}"]
    return {
        "name": loss.name,
        "ok": not wrong,
        "gradient": worst["gradient"],
        "hessian": worst.get("Hessian"),
        "kinks": kinks,
        "wrong": wrong,
    }


def _print_outcomes(outcomes: list[dict[str, Any]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", style="bold", no_wrap=True)
    for heading in ("gradient", "Hessian", "kinks"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for outcome in outcomes:
        hessian = "-" if outcome["hessian"] is None else f"{outcome['hessian']:.1e}"
        verdict = Text("ok", style="green") if outcome["ok"] else Text("WRONG", style="bold red")
        table.add_row(outcome["name"], f"{outcome['gradient']:.1e}", hessian, str(outcome["kinks"]), verdict)
    console = output()
    console.print(table)
    console.print(Text("largest error against finite differences, relative to the derivative (and to 1)", style="dim"))
    for outcome in outcomes:
        for sentence in outcome["wrong"]:
            console.print(Text(f"{outcome['name']}: {sentence}", style="red"))
