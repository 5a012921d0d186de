"""Build the documentation site in English and Chinese: one command, offline.

    make docs

The sources are put together in ``out/site-source``: the pages of the losses and the API, made from the records and the
docstrings; the written pages of ``docs`` and of ``docs/site/en`` and ``docs/site/zh``; the figures. Sphinx then builds
``out/site`` (English) and ``out/site/zh``. A Chinese page that nobody has written is the English one. Any warning of
Sphinx, a link that leads nowhere among them, fails the build.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

import make_api_pages  # noqa: E402
import make_lint_page  # noqa: E402
import make_pages  # noqa: E402

import lossary  # noqa: E402
from lossary import plots  # noqa: E402
from lossary.text.phrases import LANGS, Lang, chinese  # noqa: E402

OUT = ROOT / "out" / "site"
LINK = re.compile(r"(\[[^\]]*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
# A line break between Chinese characters; a browser would show it as a space.
WRAPPED = re.compile(r"(?<=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])\n(?=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])")
PICTURES = {".png", ".svg"}
MEASURED = "measured-"  # pages of the benchmarks' results, below the page on benchmarks


# --- the figures ----------------------------------------------------------------------------------------------------


def figure(name: str, lang: Lang, folder: Path) -> None:
    """Draw a loss into a file that a page includes: its text takes the colour of the page, light or dark."""
    file = folder / f"{name}.svg"
    plots.plot(name, file, lang=lang)
    svg = file.read_text("utf-8")
    svg = re.sub(r"<style>svg.*?</style>|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(
        r"^<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>",
        rf'<svg class="curve" role="img" aria-label="{name}" viewBox="\1">',
        svg,
    )
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)  # a hundredth of a point is finer than a screen
    file.write_text("\n".join(line for line in svg.splitlines() if line.strip()), "utf-8")


def figures(lang: Lang, folder: Path, pool: ProcessPoolExecutor) -> None:
    """Draw every loss."""
    folder.mkdir(parents=True, exist_ok=True)
    for done in [pool.submit(figure, name, lang, folder) for name in lossary.names()]:
        done.result()


# --- the sources ----------------------------------------------------------------------------------------------------


class Sources:
    """The folder of the sources of one language: pages by the file they come from, so that links can be followed."""

    def __init__(self, lang: Lang, folder: Path) -> None:
        self.lang = lang
        self.folder = folder
        self.page_of: dict[Path, str] = {}
        self.shown: dict[str, Path] = {}  # sources of Python that pages link to

    def collect(self) -> None:
        """Find every written page: those of docs are the guide, those of docs/site stand where they say."""
        for file in sorted(DOCS.glob("*.md")):
            self.page_of[file] = f"guide/{file.name}"
        self.page_of[ROOT / "CONTRIBUTING.md"] = "guide/contributing.md"
        for file in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
            self.page_of[file] = f"guide/{MEASURED}{file.stem.lower()}.md"
        readme = ROOT / "examples" / "digit_strips" / "README.md"
        if readme.exists():
            self.page_of[readme] = "guide/digit-strips.md"
        english = {file.relative_to(DOCS / "site" / "en"): file for file in (DOCS / "site" / "en").rglob("*.md")}
        own = {file.relative_to(DOCS / "site" / self.lang): file for file in (DOCS / "site" / self.lang).rglob("*.md")}
        for name, file in (english | own).items():
            self.page_of[file] = name.as_posix()
            self.page_of[english.get(name, file)] = name.as_posix()
        tutorials = DOCS / "tutorials"
        for file in sorted((tutorials / self.lang).glob("*.md")) or sorted((tutorials / "en").glob("*.md")):
            self.page_of[file] = f"tutorials/{file.name}"

    def write(self) -> None:
        """Write every page with its links made those of the site."""
        written = {page: file for file, page in self.page_of.items()}
        for page, file in written.items():
            translated = DOCS / "site" / self.lang / page
            source = translated if translated.exists() else file
            self.put(page, self.relinked(source.read_text("utf-8"), source, page))
        for name, text in make_pages.pages(self.lang, "../_figures").items():
            self.put(f"losses/{name}", text)
        self.put("guide/ten-losses.md", make_pages.common_losses(self.lang))
        for name, text in make_api_pages.pages(self.lang).items():
            self.put(f"api/{name}", text)
        for page, source in self.shown.items():
            name = source.relative_to(ROOT).as_posix()
            body = source.read_text("utf-8")
            self.put(page, f"---\norphan: true\n---\n\n# {name}\n\n````python\n{body}\n````\n")
        self.listing()

    def put(self, page: str, text: str) -> None:
        """Write a page."""
        file = self.folder / page
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def relinked(self, text: str, file: Path, page: str) -> str:
        """Return the text of a page with its links to files of the repository leading to pages of the site."""

        def followed(match: re.Match[str]) -> str:
            before, link, after = match.groups()
            return f"{before}{self.followed(link, file, page)}{after}"

        def prose(text: str) -> str:
            return LINK.sub(followed, WRAPPED.sub("", text))

        parts, at = [], 0
        for fence in FENCE.finditer(text):
            parts += [prose(text[at : fence.start()]), fence.group()]
            at = fence.end()
        return "".join([*parts, prose(text[at:])])

    def followed(self, link: str, file: Path, page: str) -> str:
        """Return where a link leads on the site; raise an error if it leads nowhere."""
        if "://" in link or link.startswith(("#", "mailto:")):
            return link
        path, _, anchor = link.partition("#")
        here = self.folder / page
        beside = (here.parent / path).resolve()
        target = (file.parent / path).resolve()
        ending = f"#{anchor}" if anchor else ""
        if target.name in ("README.md", "README.zh.md") and target.parent == ROOT:
            goal = "index.md"
        elif target in self.page_of:
            goal = self.page_of[target]
        elif target == ROOT / "src" / "lossary" / "losses":
            goal = "losses/index.md"
        elif target.suffix == ".py" and target.exists():
            goal = f"source/{target.relative_to(ROOT).with_suffix('').as_posix()}.md"
            self.shown[goal] = target
        elif target.suffix in PICTURES and target.exists():
            goal = f"_pictures/{target.name}"
            self.put_picture(target)
        elif beside.is_relative_to(self.folder.resolve()):  # a page that is made: Sphinx knows whether it is there
            return link
        else:
            raise SystemExit(f"{file.relative_to(ROOT)} links to {link}, which is no page of the site")
        return os.path.relpath(self.folder / goal, here.parent) + ending

    def put_picture(self, file: Path) -> None:
        """Copy a picture that a page links to."""
        (self.folder / "_pictures").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, self.folder / "_pictures" / file.name)

    def listing(self) -> None:
        """Write the list of guide pages into the index of the guide: what it does not name comes last."""
        measured = sorted(p.stem for p in (self.folder / "guide").glob(f"{MEASURED}*.md"))
        if measured:
            with (self.folder / "guide" / "benchmarks.md").open("a", encoding="utf-8") as page:
                page.write("\n```{toctree}\n:hidden:\n\n" + "\n".join(measured) + "\n```\n")
        for section in ("guide", "tutorials"):
            index = self.folder / section / "index.md"
            pages = (
                sorted(p for p in (self.folder / section).glob("*.md") if p != index) if index.parent.exists() else []
            )
            if not pages:
                continue
            text = (
                index.read_text("utf-8")
                if index.exists()
                else f"# {make_pages.words(section.capitalize(), self.lang)}\n"
            )
            named = dict.fromkeys(Path(name).stem for name in re.findall(r"\]\(([\w-]+\.md)", text))
            rest = [p for p in pages if p.stem not in named and not p.stem.startswith(MEASURED)]
            order = [*named, *(p.stem for p in rest)]
            also = "\n".join(f"- [{title_of(p)}]({p.name})" for p in rest)
            listed = "\n".join(order)
            index.write_text(f"{text}\n{also}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n", "utf-8")


def title_of(page: Path) -> str:
    """Return the title of a page."""
    found = re.search(r"^# (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return found[1] if found else page.stem


def dictionary(file: Path) -> None:
    """Write the Chinese names of losses and quantities for the splitter of the search, so that 交叉熵 is one word."""
    words = {word for names in chinese("names").values() for word in names.split()}
    words |= {word for word in chinese("quantities").values() if len(word) > 1}
    words |= {word for word in chinese("facts").values() if 1 < len(word) < 7}
    kept = sorted(word for word in words if re.fullmatch(r"[\u4e00-\u9fff]{2,}", word))
    file.write_text("".join(f"{word} 100000 n\n" for word in kept), "utf-8")


# --- the explorer ---------------------------------------------------------------------------------------------------


def explorer() -> bool:
    """Whether there is a page that draws losses live, made by `docs/make_explorer.py`."""
    return (DOCS / "make_explorer.py").exists()


def build_explorer(folder: Path) -> None:
    """Make the explorer in its folder of the site."""
    spec = importlib.util.spec_from_file_location("make_explorer", DOCS / "make_explorer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_explorer"] = module
    spec.loader.exec_module(module)
    module.build(folder)
    if not (folder / "index.html").exists():
        (page,) = folder.glob("*.html")
        page.rename(folder / "index.html")


EXPLORER: dict[Lang, str] = {
    "en": "# Explorer\n\nDraw any loss live, overlay several, move its parameters.\n\n"
    '<p><a class="btn btn-primary" href="explorer/index.html">Open the explorer</a></p>\n',
    "zh": "# 损失浏览器\n\n在浏览器里实时绘制任意损失函数，叠加比较，拖动参数。\n\n"
    '<p><a class="btn btn-primary" href="../explorer/index.html?lang=zh">打开损失浏览器</a></p>\n',
}


# --- the build ------------------------------------------------------------------------------------------------------


def assemble(lang: Lang, folder: Path, pool: ProcessPoolExecutor) -> None:
    """Write the sources of a language."""
    sources = Sources(lang, folder)
    sources.collect()
    sources.write()
    for picture in sorted((DOCS / "images").glob("*.svg")):
        sources.put_picture(picture)
    index = folder / "index.md"
    sections = [("explorer", explorer()), ("tutorials/index", (folder / "tutorials").exists())]
    if explorer():
        sources.put("explorer.md", EXPLORER[lang])
    text = index.read_text("utf-8")
    for name, there in sections:
        if there and f"\n{name}\n" not in text:
            text = text.replace("\napi/index\n", f"\n{name}\napi/index\n")
    index.write_text(text, "utf-8")
    figures(lang, folder / "_figures", pool)


def sphinx(lang: Lang, source: Path, out: Path) -> None:
    """Run Sphinx; its warnings are errors."""
    environment = os.environ | {
        "LOSSARY_SITE_LANG": "zh_CN" if lang == "zh" else "en",
        "LOSSARY_SITE_DICTIONARY": str(source.parent / "words.txt"),
    }
    doctrees = source.parent / f"doctrees-{lang}"
    options = ["-q", "-W", "--keep-going", "-j", "2", "-c", str(DOCS / "site"), "-d", str(doctrees)]
    command = [sys.executable, "-m", "sphinx", "-b", "html", *options, str(source), str(out)]
    if subprocess.run(command, env=environment, cwd=ROOT).returncode:
        raise SystemExit(f"make docs: Sphinx found something wrong on the {lang} pages (see above)")


def build(out: Path = OUT) -> None:
    """Build the whole site."""
    source = out.parent / f"{out.name}-source"
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    dictionary(source / "words.txt")
    with ProcessPoolExecutor(2) as pool:
        for lang in LANGS:
            assemble(lang, source / lang, pool)
    for lang in LANGS:
        sphinx(lang, source / lang, out if lang == "en" else out / "zh")
    if explorer():
        build_explorer(out / "explorer")
    for leftover in (".buildinfo", ".buildinfo.bak", "objects.inv", "webpack-macros.html"):
        for file in out.rglob(leftover):
            file.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the site")
    started = time.perf_counter()
    chosen = parser.parse_args().out.resolve()
    make_lint_page.PAGE.write_text(make_lint_page.page(), encoding="utf-8")
    build(chosen)
    pages = len(list(chosen.rglob("*.html")))
    print(f"{pages} pages in {time.perf_counter() - started:.0f} s: open {chosen / 'index.html'}")
