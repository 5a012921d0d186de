"""Configuration of Sphinx for the site; `docs/make_site.py` builds it once for each language."""

import os
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parent
sys.path.insert(0, str(SITE))

project = "Lossary"
author = copyright = "Lossary"
language = os.environ["LOSSARY_SITE_LANG"]
html_show_copyright = False
extensions = ["myst_parser", "pydata_sphinx_theme", "extension"]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_fence_as_directive = ["math"]  # as GitHub writes formulas
myst_heading_anchors = 4
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "Lossary"
html_static_path = [str(SITE / "assets")]
html_css_files = ["lossary.css"]
html_favicon = html_logo = str(SITE / "assets" / "logo.svg")
templates_path = [str(SITE / "templates")]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it fetches pages, which browsers refuse where the site is opened from a folder
html_search_language = "zh" if language.startswith("zh") else "en"
html_search_options = {"dict": os.environ["LOSSARY_SITE_DICTIONARY"]}
html_theme_options = {
    "logo": {"text": "Lossary"},
    "navbar_end": ["language", "theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "show_prev_next": False,
    "footer_start": [],
    "footer_center": [],
    "footer_end": [],
    "back_to_top_button": False,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
pygments_style = "default"
nitpicky = True
toc_object_entries_show_parents = "hide"
