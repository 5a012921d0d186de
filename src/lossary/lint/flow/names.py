"""Names in a syntax tree: spelled out, bound, bound once."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def assigned(body: list[ast.stmt]) -> frozenset[str]:
    """Return the names (``x``, ``self.x``) that statements may change; functions inside keep to themselves."""
    found: set[str] = set()
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            if text := dotted(node):
                found.add(text)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("append", "extend", "add", "insert", "pop") and (text := dotted(node.func.value)):
                found.add(text)
        stack.extend(ast.iter_child_nodes(node))
    return frozenset(found)


def assigned_once(body: list[ast.stmt]) -> frozenset[str]:
    """Return the names that statements bind exactly once, so that their value can be relied on later."""
    seen: dict[str, int] = {}
    stack: list[tuple[ast.AST, bool]] = [(node, False) for node in body]
    while stack:
        node, looped = stack.pop()
        names: list[str] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names = [node.id]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
            for name in names:  # an import in each branch of a try is one name for one thing
                seen.setdefault(name, 1)
            names = []
        elif isinstance(node, ast.Global):
            names = [name for name in node.names for _ in range(2)]
        for name in names:
            seen[name] = seen.get(name, 0) + 1
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            for inner in ast.walk(node):
                if isinstance(inner, (ast.Global, ast.Nonlocal)):
                    for name in inner.names:
                        seen[name] = 2
            continue
        stack.extend((child, looped) for child in ast.iter_child_nodes(node))
    return frozenset(name for name, times in seen.items() if times == 1)


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for names and attributes of names, and else ""."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


def walk_statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node of some statements, without those of functions and classes inside."""
    stack: list[ast.AST] = list(reversed(body))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))
