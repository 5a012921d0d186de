"""The explorer as a page: assets, facts, words and emitted losses in one HTML file."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from lossary.explorer.facts import facts
from lossary.kernels.js.functions import module
from lossary.report.sheet import environment
from lossary.text.phrases import chinese


def page() -> str:
    """Return the explorer as one HTML page that asks for nothing over a network. Needs jinja2, of the app extra."""
    palette = environment().get_template("palette.html.jinja").module
    style = asset("style.css").replace("/*light*/", str(palette.light())).replace("/*dark*/", str(palette.dark()))
    script = "\n".join([model(), f"const WORDS = {_json(chinese('explorer'))};", asset("app.js")])
    return asset("page.html").replace("/*style*/", style).replace("/*script*/", script)


def model() -> str:
    """Return the part of the page's script that computes and needs no page: it runs under Node, too."""
    return "\n".join([module(), f"const FACTS = {_json(facts())};", asset("model.js")])


def asset(name: str) -> str:
    """Return a file that the page is made of."""
    return files("lossary.explorer").joinpath("assets", name).read_text("utf-8")


def _json(data: Any) -> str:
    """Return data as a literal of JavaScript that may stand in a page."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
