"""Sphinx extension of the site: formulas as MathML made at build time, and a search that splits Chinese queries.

MathML needs no script and no font of ours; every current browser draws it.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.search.en import SearchEnglish
from sphinx.search.zh import SearchChinese

# Chinese is written without spaces. A query is split into the longest words that the index knows; what it does not know
# is left out, so that 交叉熵损失函数 finds what 交叉熵 does.
SPLITTER = """
var splitQuery = (query) => {
  const found = [];
  const known = (word) => Object.hasOwn(Search._index.terms, word) || Object.hasOwn(Search._index.titleterms, word);
  for (const run of query.split(/[^\\p{Letter}\\p{Number}_\\p{Emoji_Presentation}]+/gu).filter((part) => part)) {
    for (const part of run.match(/\\p{Script=Han}+|[^\\p{Script=Han}]+/gu)) {
      if (!/\\p{Script=Han}/u.test(part)) { found.push(part); continue; }
      const words = [];
      for (let at = 0; at < part.length; ) {
        let end = part.length;
        while (end > at + 1 && !known(part.slice(at, end))) end -= 1;
        if (end > at + 1) words.push(part.slice(at, end));
        at = end;
      }
      found.push(...(words.length ? words : [part]));
    }
  }
  return found;
};
"""


class English(SearchEnglish):
    """English search on pages that also name losses in Chinese."""

    js_splitter_code = SPLITTER


class Chinese(SearchChinese):
    """Chinese search; Latin words are stemmed as English ones, and the script is named after that stemmer."""

    language_name = "English"
    js_splitter_code = SPLITTER


def mathml(latex: str, display: str) -> str:
    """Return a formula as MathML."""
    text = convert(latex, display=display).replace('xmlns="http://www.w3.org/1998/Math/MathML" ', "")
    # A bar delimits; without this it is spaced like a relation.
    return re.sub(
        r"<mo([^>]*)>(\||&#x0007C;|&#x02016;|∥|‖|&#x02225;)</mo>", r'<mo\1 lspace="0" rspace="0">\2</mo>', text
    )


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in the line."""
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, in a box that scrolls where the window is narrower; the LaTeX is its title."""
    text = re.sub(r"\s+", " ", node.astext().strip())
    title = translator.attval(text)
    translator.body.append(
        f'<div class="formula" tabindex="0" role="math" title="{title}">{mathml(text, "block")}</div>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer and the languages of the search."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    languages["en"], languages["zh"] = English, Chinese
    return {"parallel_read_safe": True, "parallel_write_safe": True}
