"""Generate the API reference: every public name of the documented modules, with its signature and docstring.

Docstrings are Markdown in all but name (code between backticks), so they are not read as reStructuredText.
"""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

from make_pages import markdown, prose, words

from lossary.catalogue import Loss
from lossary.text.phrases import Lang

# The modules that users import, in the order of the reference.
MODULES = (
    "lossary",
    "lossary.nn",
    "lossary.nn.functional",
    "lossary.catalogue",
    "lossary.inspect",
    "lossary.plots",
    "lossary.toolkit",
    "lossary.training",
    "lossary.compare",
    "lossary.testing",
    "lossary.errors",
)
# Names that further modules bring; those that are not there yet are left out.
MAYBE = ("lossary.boosting", "lossary.sklearn", "lossary.trainers", "lossary.distributed", "lossary.policy")


def pages(lang: Lang = "en") -> dict[str, str]:
    """Return the text of every page by its file name."""
    found: dict[str, str] = {}
    listed = []
    for name in (*MODULES, *MAYBE):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        text = module_page(module, name)
        if text:
            listed.append(name)
            found[f"{name}.md"] = text
    rows = "\n".join(f"- [`{name}`]({name}.md): {opening(importlib.import_module(name))}" for name in listed)
    toc = "\n".join(f"{name} <{name}>" for name in listed)
    head = f"# {words('API reference', lang)}\n\n{words('Every public name, with its signature and docstring.', lang)}"
    found["index.md"] = f"{head}\n\n{rows}\n\n```{{toctree}}\n:hidden:\n\n{toc}\n```\n"
    return found


def opening(thing: Any) -> str:
    """Return the first sentence of a docstring."""
    return markdown((inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " "))


def module_page(module: ModuleType, name: str) -> str:
    """Return the page of a module; empty if it has no public names of its own."""
    entries = [entry(name, key, thing) for key, thing in public(module, name)]
    if not entries:
        return ""
    return "\n\n".join([f"# {name}", prose(inspect.getdoc(module) or ""), *entries]) + "\n"


def public(module: ModuleType, name: str) -> list[tuple[str, Any]]:
    """Return the public functions and classes that a module names; the losses have pages of their own."""
    found = []
    for key in getattr(module, "__all__", None) or [key for key in vars(module) if not key.startswith("_")]:
        thing = getattr(module, key, None)
        origin = getattr(thing, "__module__", "") or ""
        own = origin.startswith("lossary") and (name != "lossary.testing" or origin == name)
        own = own and (origin != "lossary.errors" or name == origin or key == "LossMisuseWarning")
        generated = name == "lossary.nn" and origin.startswith("lossary.nn.catalogue")
        if not isinstance(thing, (Loss, ModuleType)) and callable(thing) and own and not generated:
            found.append((key, thing))
    if name == "lossary.errors":
        found = [(key, thing) for key, thing in found if inspect.isclass(thing)]
    return sorted(found, key=lambda pair: pair[0].lower())


def entry(module: str, name: str, thing: Any) -> str:
    """Return a function or a class, with its public methods."""
    kind = "class" if inspect.isclass(thing) else "function"
    parts = [prose(docstring(thing))]
    if kind == "class":
        for key, member in vars(thing).items():
            if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                parts.append(method(key, member))
    body = "\n\n".join(filter(None, parts))
    return f"`````{{py:{kind}}} {module}.{name}{signature(thing)}\n\n{body}\n`````"


def docstring(thing: Any) -> str:
    """Return the docstring that a thing has itself: what a class inherits from torch is reStructuredText of torch."""
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(own) if own else ""


def method(name: str, member: Any) -> str:
    """Return a method or a property of a class."""
    if isinstance(member, property):
        return f"````{{py:property}} {name}\n\n{prose(inspect.getdoc(member) or '')}\n````"
    return f"````{{py:method}} {name}{signature(member, bound=True)}\n\n{prose(inspect.getdoc(member) or '')}\n````"


def signature(thing: Any, bound: bool = False) -> str:
    """Return a signature without the annotations, which the docstrings say in words."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    kept = list(found.parameters.values())[bound:] if bound else list(found.parameters.values())
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in kept]
    try:
        text = str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    except ValueError:
        return "()"
    return re.sub(r"<[^<>]*?'?([\w.]+)'?(?: at [^<>]*)?>", r"\1", text)
