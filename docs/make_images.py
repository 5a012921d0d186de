"""Draw the pictures of the README and of the site's first page into docs/images, for light and for dark pages.

    python docs/make_images.py

The same catalogue gives the same files to the byte.
"""

from __future__ import annotations

import re
from pathlib import Path

from lossary import plots

IMAGES = Path(__file__).resolve().parent / "images"
PICTURES = {
    "regression": ("squared_error", "absolute_error", "huber", "log_cosh", "pinball", "epsilon_insensitive"),
    "margin": ("zero_one", "hinge", "squared_hinge", "logistic_margin", "exponential", "perceptron"),
}
INKS = {"light": "#222222", "dark": "#dddddd"}


def drawings(folder: Path = IMAGES) -> dict[str, str]:
    """Return the text of every picture by its file name; `folder` holds a file while it is drawn."""
    found = {}
    for name, losses in PICTURES.items():
        file = folder / f"{name}.svg"
        plots.plot([loss for loss in losses if _drawable(loss, losses[1])], file, span=(-2.5, 2.5), points=120)
        text = file.read_text("utf-8")
        file.unlink()
        text = re.sub(r"<metadata>.*?</metadata>|<style>svg.*?</style>", "", text, flags=re.DOTALL)
        text = re.sub(r"(\d+\.\d\d)\d+", r"\1", text)  # a hundredth of a point is finer than a screen
        for theme, ink in INKS.items():  # an image has no colour of the page to follow
            found[f"{name}-{theme}.svg"] = text.replace("currentColor", ink)
    return found


def _drawable(loss: str, other: str) -> bool:
    """Whether a loss has the axis of another."""
    return plots.curve(loss, points=8).axis == plots.curve(other, points=8).axis


if __name__ == "__main__":
    for name, text in drawings().items():
        (IMAGES / name).write_text(text, "utf-8")
        print(f"docs/images/{name}: {len(text) // 1024} KiB")
