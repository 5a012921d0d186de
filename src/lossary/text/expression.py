"""LaTeX of formulas that are written as Python expressions, so that the formula shown is the one that can be evaluated.

Sums and products are Python's own: ``sum(exp(z[j]) for j in classes)``. `SYMBOLS` has the LaTeX of names that are not
written as they stand, `RANGES` that of what an index runs over.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

SYMBOLS = {
    "m": r"\hat y", "mu": r"\mu", "nu": r"\nu", "pi": r"\pi", "alpha": r"\alpha", "beta": r"\beta", "tau": r"\tau",
    "delta": r"\delta", "sigma": r"\sigma", "phi": r"\varphi", "lam": r"\lambda", "likelihood": "L", "ell": r"\ell",
    "r_w": "r_w", "r_l": "r_l", "C_y": "C_y", "total": "J", "s_neg": r"\sigma^{-}",
}  # fmt: skip
RANGES = {"samples": ("=1", "N"), "classes": ("=1", "C")}

_ADD, _MULTIPLY, _APPLY, _POWER, _ATOM = range(5)


def latex(code: str) -> str:
    r"""Return the LaTeX of a Python expression.

    >>> latex("exp(-(m - y)**2 / 2) / sqrt(2*pi)")
    '\\frac{\\exp\\left(-\\frac{\\left(\\hat y - y\\right)^{2}}{2}\\right)}{\\sqrt{2\\,\\pi}}'
    >>> latex("-log(exp(z[k]) / sum(exp(z[j]) for j in classes))")
    '-\\log\\left(\\frac{e^{z_{k}}}{\\sum_{j=1}^{C} e^{z_{j}}}\\right)'
    """
    return _written(ast.parse(code, mode="eval").body)[0]


def indexed(code: str, names: frozenset[str], index: str) -> str:
    """Return an expression for one of many samples: each of `names` takes the index before its own, if it has any.

    >>> indexed("(m - y)**2", frozenset({"m", "y"}), "i")
    '(m[i] - y[i]) ** 2'
    >>> indexed("-sum(q[k] * log(p[k]) for k in classes)", frozenset({"p", "q"}), "i")
    '-sum((q[i, k] * log(p[i, k]) for k in classes))'
    """
    return ast.unparse(_Indexed(names, index).visit(ast.parse(code, mode="eval")))


class _Indexed(ast.NodeTransformer):
    def __init__(self, names: frozenset[str], index: str) -> None:
        self.names, self.index = names, index

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in self.names:
            inner = self.visit(node.slice)
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return ast.Subscript(node.value, ast.Tuple([ast.Name(self.index), *parts], ast.Load()), ast.Load())
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Subscript(node, ast.Name(self.index), ast.Load()) if node.id in self.names else node


def _written(node: ast.AST) -> tuple[str, int]:
    """Return the LaTeX of a node, and how strongly it binds."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return f"{node.value:g}", _ATOM
    if isinstance(node, ast.Name):
        return SYMBOLS.get(node.id, node.id), _ATOM
    if isinstance(node, ast.UnaryOp):
        return f"-{_inside(node.operand, _MULTIPLY)}", _ADD
    if isinstance(node, ast.BinOp):
        return _operation(node)
    if isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        index = (r"\," if any(isinstance(p, ast.BinOp) for p in parts) else "").join(_written(p)[0] for p in parts)
        symbol, _, own = _written(node.value)[0].partition("_")  # LaTeX takes one subscript: r_w of i is r_{w,i}
        return f"{symbol}_{{{own.strip('{}')},{index}}}" if own else f"{symbol}_{{{index}}}", _ATOM
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _called(node.func.id, node.args)
    raise ValueError(f"an expression cannot hold {ast.unparse(node)!r}")


def _operation(node: ast.BinOp) -> tuple[str, int]:
    match node.op:
        case ast.Add():
            return f"{_inside(node.left, _ADD)} + {_inside(node.right, _ADD)}", _ADD
        case ast.Sub():
            return f"{_inside(node.left, _ADD)} - {_inside(node.right, _MULTIPLY)}", _ADD
        case ast.Mult() | ast.Div() if isinstance(node.left, ast.UnaryOp):  # -a * b is written -(a * b)
            return f"-{_inside(ast.BinOp(node.left.operand, node.op, node.right), _MULTIPLY)}", _ADD
        case ast.Mult() if isinstance(node.left, ast.Constant):
            dot = r"\cdot " if node.left.value in (0, 1) or isinstance(node.right, ast.Constant) else r"\,"
            return f"{_inside(node.left, _MULTIPLY)}{dot}{_inside(node.right, _MULTIPLY)}", _MULTIPLY
        case ast.Mult():
            return rf"{_inside(node.left, _MULTIPLY)}\,{_inside(node.right, _MULTIPLY)}", _MULTIPLY
        case ast.Div():
            return rf"\frac{{{_written(node.left)[0]}}}{{{_written(node.right)[0]}}}", _APPLY
        case ast.Pow():
            return f"{_inside(node.left, _POWER)}^{{{_written(node.right)[0]}}}", _POWER
    raise ValueError(f"an expression cannot hold {ast.unparse(node)!r}")


def _inside(node: ast.AST, strength: int) -> str:
    """Return the LaTeX of a part, in parentheses where it binds less than what stands around it."""
    text, own = _written(node)
    return text if own >= strength else _parenthesised(text)


def _parenthesised(text: str) -> str:
    return rf"\left({text}\right)"


def _called(name: str, arguments: list[ast.expr]) -> tuple[str, int]:
    if name in ("sum", "prod"):
        (over,) = arguments
        assert isinstance(over, ast.GeneratorExp)
        (loop,) = over.generators
        index, span = ast.unparse(loop.target), ast.unparse(loop.iter)
        start, end = RANGES[span]
        below = index + start
        for condition in loop.ifs:  # an index that is left out
            assert isinstance(condition, ast.Compare)
            below, end = rf"{index} \ne {ast.unparse(condition.comparators[0])}", ""
        upper = f"^{{{end}}}" if end else ""
        return rf"\{name}_{{{below}}}{upper} {_inside(over.elt, _MULTIPLY)}", _MULTIPLY
    written = [_written(argument)[0] for argument in arguments]
    if name in _FORMS:
        return _FORMS[name](*written), _APPLY
    if name == "exp":
        small = r"\frac" not in written[0] and r"\left" not in written[0] and r"\sum" not in written[0]
        return (f"e^{{{written[0]}}}", _APPLY) if small else (rf"\exp{_parenthesised(written[0])}", _APPLY)
    return rf"\{name}" + _parenthesised(",\\ ".join(written)), _APPLY


_FORMS: Mapping[str, Callable[..., str]] = {
    "abs": lambda x: rf"\left|{x}\right|",
    "sqrt": lambda x: rf"\sqrt{{{x}}}",
    "factorial": lambda x: f"{x}!" if "\\left" not in x and " " not in x else rf"\left({x}\right)!",
    "gamma": lambda x: rf"\Gamma\left({x}\right)",
    "sigmoid": lambda x: rf"\sigma\left({x}\right)",
    "argmax": lambda x: rf"\arg\max {x}",
    "argmin": lambda x: rf"\arg\min {x}",
    "largest": lambda x: rf"\max_j {x}_j",
    "d": lambda f, x: rf"\frac{{\partial {f}}}{{\partial {x}}}",
}
