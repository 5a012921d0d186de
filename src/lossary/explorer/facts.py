"""What the explorer knows of each loss: its names, its path through the arguments, its sliders, and where it fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lossary.catalogue import Loss, get
from lossary.catalogue.domains import Domain
from lossary.kernels.js.functions import emitted_losses, functions
from lossary.plots.curve_data import Sweep, path, targets
from lossary.text.formula import readable
from lossary.text.phrases import LANGS, chinese, fact, likelihood, quantity, summary

_SMALL = 0.01  # a default below it has a slider of powers of ten


def facts() -> dict[str, dict[str, Any]]:
    """Return the facts of every loss that has functions in JavaScript, by name."""
    return {name: _facts(get(name)) for name in emitted_losses()}


def _facts(loss: Loss) -> dict[str, Any]:
    names = chinese("names").get(loss.name, "")
    defaults = {name: held for name, held in loss.defaults.items() if name != "ignore_index"}
    drawn = [(target, path(loss, target)) for target in targets(loss)]
    return {
        "zh": names.split(" ")[0],
        "also": " ".join([*loss.aliases, names]),
        "family": {lang: fact(loss.family, lang) for lang in LANGS},
        "summary": {lang: summary(loss, lang).replace("`", "") for lang in LANGS},
        "likelihood": {lang: likelihood(loss, lang) for lang in LANGS},
        "formula": readable(loss.formula),
        "arguments": list(loss.arguments),
        "wrt": [loss.arguments.index(name) for name in loss.wrt],
        "defaults": defaults,
        "sliders": _sliders(loss),
        "refused": dict(functions(loss).refused),
        "paths": [_path(target, sweep) for target, sweep in drawn],
        "targets": _target_kind(loss),
        "roles": _roles(loss),
    }


# --- parameters -------------------------------------------------------------------------------------------------------


def _sliders(loss: Loss) -> list[dict[str, Any]]:
    found = functions(loss)
    sliders = []
    for name in (n for n in loss.defaults if n in found.free or n in found.chosen):
        domain, default = loss.parameter_domains[name][0], loss.defaults[name]
        slider: dict[str, Any] = {"name": name, "words": {lang: quantity(name, lang) or name for lang in LANGS}}
        if name in found.free:
            slider |= _range(domain, default) | {"optional": default is None, "range": loss.range_text(name)}
        else:
            slider["choices"] = list(found.chosen[name])
        sliders.append(slider)
    return sliders


def _range(domain: Domain, default: float | None) -> dict[str, Any]:
    """From where to where a slider goes, and its step; a slider of small numbers goes by powers of ten."""
    usual = 1.0 if default is None else float(default)
    low, high = domain.low, domain.high
    if 0 < usual < _SMALL and math.isinf(high):
        return {"low": math.log10(usual) - 3, "high": 0.0, "step": 0.05, "log": True}
    far = max(4 * abs(usual), 2.0)
    low = -far if math.isinf(low) else low
    high = max(far, low + far) if math.isinf(high) else high
    step = 1.0 if domain.kind in ("count", "integer") else 10.0 ** math.floor(math.log10((high - low) / 100))
    low += 0.0 if domain.contains(low) else step
    high -= 0.0 if domain.contains(high) else step
    return {"low": round(low, 12), "high": round(high, 12), "step": step, "log": False}


# --- paths ------------------------------------------------------------------------------------------------------------

# What arguments along a path are made of: a + b t, the logarithm of that, or a + b cos t + c sin t.
_BASES: Mapping[str, Any] = {
    "linear": lambda t: np.stack([np.ones_like(t), t], axis=-1),
    "log": lambda t: np.stack([np.ones_like(t), t], axis=-1),
    "circle": lambda t: np.stack([np.ones_like(t), np.cos(t), np.sin(t)], axis=-1),
}


def _path(target: float | None, sweep: Sweep) -> dict[str, Any]:
    """A path as coefficients: for each argument one list of them, or one for each entry of its row."""
    t = np.linspace(*sweep.span, 7)
    arrays = [np.asarray(array, dtype=float) for array in sweep.arrays(t)]
    for basis, terms in _BASES.items():
        columns = terms(t)
        fitted = []
        for array in arrays:
            moves = np.ptp(array, axis=0).max() > 0
            wanted = np.exp(array) if basis == "log" and moves else array
            found, *_ = np.linalg.lstsq(columns, wanted.reshape(len(t), -1), rcond=None)
            if np.abs(columns @ found - wanted.reshape(len(t), -1)).max() > 1e-9:
                break
            entries = np.round(found.T, 12).tolist() if moves else array.reshape(len(t), -1)[0].tolist()
            fitted.append(entries if array.ndim > 1 else entries[0])
        else:
            axis = {lang: fact(sweep.axis, lang) for lang in LANGS}
            rows = [array.ndim > 1 for array in arrays]
            return {
                "target": target,
                "axis": axis,
                "span": sweep.span,
                "basis": basis,
                "arguments": fitted,
                "rows": rows,
            }
    raise ValueError(f"the path along {sweep.axis} is neither linear, nor a logarithm, nor a circle")


# --- where a loss fits ------------------------------------------------------------------------------------------------


def _target_kind(loss: Loss) -> str:
    """What an example's target is, for the density over targets."""
    if loss.target is None or len(loss.arguments) < 2:
        return ""
    name = "target" if "target" in loss.arguments else loss.arguments[-1]
    domain, core = loss.domain(name), loss.signatures[0].inputs[loss.arguments.index(name)]
    if core:
        return ""
    kinds = {"{0, 1}": "01", "[0, 1]": "01", "{-1, 1}": "sign", "real": "real", "(0, inf)": "positive"}
    return {"index": "class", "count": "count"}.get(domain.kind, kinds.get(domain.text, ""))


def _roles(loss: Loss) -> list[str]:
    """The views beside the curves in which a loss takes part."""
    cores, two = loss.signatures[0].inputs, len(loss.arguments) == 2
    kind = _target_kind(loss)
    roles: list[str] = []
    if "evaluation" in loss.properties:
        return roles
    if two and not any(cores) and loss.input == "real" and kind == "real":
        roles.append("regression")
    if two and not any(cores) and loss.input in ("logit", "score") and kind in ("01", "sign"):
        roles.append("classes")
    if two and cores[0] == ("c",) and loss.input in ("logit", "score") and kind == "class":
        roles.append("softmax")
    return roles
