"""LaTeX formulas as plain Unicode text for a terminal."""

from __future__ import annotations

import re

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω",
}  # fmt: skip

_SYMBOLS = GREEK | {
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "in": "∈", "notin": "∉", "infty": "∞",
    "cdot": "·", "times": "×", "pm": "±", "sum": "∑", "prod": "∏", "int": "∫", "partial": "∂", "nabla": "∇",
    "to": "→", "mapsto": "↦", "propto": "∝", "approx": "≈", "sim": "~", "equiv": "≡", "ll": "≪", "gg": "≫",
    "langle": "⟨", "rangle": "⟩", "lceil": "⌈", "rceil": "⌉", "lfloor": "⌊", "rfloor": "⌋", "ell": "ℓ", "odot": "⊙",
    "cup": "∪", "cap": "∩", "subset": "⊂", "setminus": "∖", "emptyset": "∅", "forall": "∀", "exists": "∃",
    "ldots": "…", "dots": "…", "cdots": "⋯", "top": "⊤", "wedge": "∧", "vee": "∨", "neg": "¬", "mid": "|", "vert": "|",
    "lVert": "‖", "rVert": "‖", "Vert": "‖", "lvert": "|", "rvert": "|", "star": "*", "ast": "*", "prime": "′",
    "circ": "∘", "parallel": "∥", "dagger": "†", "colon": ":", "lbrace": "{", "rbrace": "}", "hbar": "ℏ", "deg": "°",
}  # fmt: skip
_FACTORS = {*GREEK, "ell", "left", "sum", "prod", "log", "exp", "sqrt", "frac", "hat"}  # what a product goes on with
_SPACES = {"quad": "   ", "qquad": "      ", ",": " ", ";": " ", ":": " ", " ": " ", "!": "", "\\": ";  "}
_WRAPPERS = {
    "text",
    "mathrm",
    "mathbf",
    "mathit",
    "mathcal",
    "mathbb",
    "operatorname",
    "boldsymbol",
    "textstyle",
    "bar",
}
_DROPPED = {"left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "bigg", "Bigg", "displaystyle", "limits"}
_ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "dot": "\u0307", "vec": "\u20d7", "widehat": "\u0302"}
_ACCENTED = {"y\u0302": "ŷ", "y\u0304": "ȳ", "y\u0303": "ỹ"}
_FRACTIONS = {"1/2": "½", "1/3": "⅓", "2/3": "⅔", "1/4": "¼", "3/4": "¾", "1/6": "⅙", "1/8": "⅛"}
_UP = dict(zip("0123456789+-=()nijkpqxyabcdemrstuvwzγαβδθT", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱʲᵏᵖqˣʸᵃᵇᶜᵈᵉᵐʳˢᵗᵘᵛʷᶻᵞᵅᵝᵟᶿᵀ", strict=True))
_DOWN = dict(zip("0123456789+-=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
del _UP["q"]

_TOKEN = re.compile(r"\\([A-Za-z]+|.)|([{}^_&])|(\s+)|(.)", re.DOTALL)


def readable(latex: str) -> str:
    r"""Return a formula in plain Unicode, near enough to read in a terminal.

    >>> readable(r"\tfrac12 (\hat y - y)^2"), readable(r"\frac{r^2}{2\beta}\ \text{if}\ |r| < \beta")
    ('½ (ŷ - y)²', 'r² / (2β) if |r| < β')
    """
    tokens = [m.group(0) if not m.group(3) else " " for m in _TOKEN.finditer(latex)]
    text = _Reader(tokens).all()
    for pattern, spaced in _SPACING:
        text = pattern.sub(spaced, text)
    return text.strip()


# A space after a command is LaTeX's end of the command; where mathematics wants one it is put back.
_SPACING = [
    (re.compile(r"\s*([≤≥≠∈∉∝≈→↦=])\s*"), r" \1 "),
    (re.compile(r"(?<=[^\s(\[{^,|])([-+]) "), r" \1 "),
    (re.compile(r"(?<=[^\s(\[{|‖√a-z/-])(?=(?:log|exp|max|min|softmax|sinh|cosh|tanh)\b)"), " "),
    (re.compile(r"(?<=[α-ω])(?=[a-zA-Z])"), " "),
    (re.compile(r"\s+([)\]},;⟩])"), r"\1"),
    (re.compile(r"([(\[{⟨]) +"), r"\1"),
    (re.compile(r" +"), " "),
]


class _Reader:
    """A reader of the LaTeX that formulas of the catalogue are written in: a recursive descent over its tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def all(self, until: str = "") -> str:
        parts: list[str] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token == until:
                self.at += 1
                break
            if token in "^_":
                self.at += 1
                parts.append(_script(self.one(), token))
            else:
                parts.append(self.one())
        return "".join(parts)

    def one(self) -> str:
        """Read one token, group or command with its arguments."""
        while self.at < len(self.tokens) and self.tokens[self.at] == " " and self._argument():
            self.at += 1
        if self.at >= len(self.tokens):
            return ""
        token = self.tokens[self.at]
        self.at += 1
        if token == "{":
            return self.all("}")
        return self.command(token[1:]) if token[0] == "\\" else token.replace("&", " ")

    def _argument(self) -> bool:
        return self.at > 0 and (self.tokens[self.at - 1] in "^_" or self.tokens[self.at - 1][0] == "\\")

    def followed(self, fraction: str) -> str:
        """Put parentheses around a fraction that multiplies what follows."""
        following = next((t for t in self.tokens[self.at :] if t not in (" ", "\\,")), "")
        alone = following in ("", "+", "-", "=", "}", ")", "]", ",", "|", "<", ">") or following[:1] == "\\"
        multiplied = following[1:] in _FACTORS or following in ("\\big", "\\Big") or not alone
        return f"({fraction}) " if multiplied else fraction

    def command(self, name: str) -> str:
        if name in ("frac", "tfrac", "dfrac"):
            top, bottom = self.one(), self.one()
            known = _FRACTIONS.get(f"{top}/{bottom}")
            if top.startswith("∂") and bottom.startswith("∂"):  # a derivative is read as one thing
                known = f"{top}/{bottom}"
            return known or self.followed(f"{_grouped(top)} / {_grouped(bottom, below=True)}")
        if name == "sqrt":
            return "√" + _grouped(self.one(), below=True)
        if name in ("begin", "end"):
            self.one()
            return " "
        if name in _ACCENTS:
            marked = self.one() + _ACCENTS[name]
            return _ACCENTED.get(marked, marked)
        if name in _WRAPPERS:
            return self.one()
        if name in ("xrightarrow", "substack", "underline", "overline"):
            return self.one()
        if name in _SPACES:
            return _SPACES[name]
        if name in _DROPPED:
            return ""
        if name in _SYMBOLS:
            return _SYMBOLS[name]
        if name == "|":
            return "‖"
        # A named function (log, exp, max) is its name, set apart from what it is applied to.
        following = self.tokens[self.at] if self.at < len(self.tokens) else ""
        return name if not name.isalpha() or following in ("\\left", *"([^_{", "") else name + " "


def _grouped(text: str, below: bool = False) -> str:
    """Put parentheses around what is more than one factor."""
    inner = text.strip()
    single = re.fullmatch(r"[^\s+\-·/]+", inner) and not (below and len(inner) > 1 and not inner.isalnum())
    if below and re.fullmatch(r"(\d+|[α-ω])\D.*", inner):
        single = None
    closed = _enclosed(inner) or re.fullmatch(r"(\([^()]*\)|\|[^|]*\||‖[^‖]*‖)[²³ᵖᵞⁿ]?", inner)
    return inner if single or closed else f"({inner})"


def _enclosed(text: str) -> bool:
    """Whether a text is one function of what its only outer parentheses hold."""
    name = re.match(r"(?:log|exp|cosh|Γ|√)\(", text)
    if name is None:
        return False
    depth = 1
    for at in range(name.end(), len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return at == len(text) - 1
    return False


def _script(text: str, kind: str) -> str:
    """Raise or lower, with the characters Unicode has for it."""
    table = _UP if kind == "^" else _DOWN
    text = text.strip()
    if all(c in table for c in text.replace(" ", "")):
        return "".join(table[c] for c in text.replace(" ", ""))
    return kind + (text if len(text) == 1 else f"({text})") + ("" if kind == "^" else " ")
