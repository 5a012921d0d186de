"""How findings are told: for people, for programs, for GitHub, and as SARIF."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lossary.lint.records import RULES, Finding, Rule


def place(finding: Finding) -> str:
    """Return file, line and column; in a notebook the cell, too."""
    cell = f"cell {finding.cell}:" if finding.cell else ""
    return f"{finding.path}:{cell}{finding.line}:{finding.column}"


def concise(findings: Sequence[Finding]) -> str:
    """Return one line for each finding."""
    return "".join(f"{place(f)}: {f.code} {_mark(f)}{f.message}\n" for f in findings)


def _mark(finding: Finding) -> str:
    return "" if finding.fix is None else "[*] " if finding.fix.safe else "[-] "


def text(findings: Sequence[Finding]) -> str:
    """Return each finding with its lines of code and what to do."""
    return "".join(_told(finding) for finding in findings) + summary(findings)


def _told(finding: Finding) -> str:
    width = len(str(finding.line + len(finding.source)))
    edge = " " * width + " |"
    lines = [f"{finding.code} {_mark(finding)}{finding.message}", f"{' ' * width}--> {place(finding)}", edge]
    left = finding.column - 1
    if finding.source:
        code = finding.source[0]
        # Of code in a list or after a prompt the column counts from the margin; the line shown begins later.
        left = max(0, min(left, len(code)))
        last = finding.end_column - 1 if finding.end_line == finding.line else len(code)
        length = max(1, min(last, max(len(code), left + 1)) - left)
        if len(code) > 160:
            start = max(0, left - 60)
            code, left, length = code[start : start + 160], left - start, min(length, 80)
        shown = code.replace("\t", " ")
        marked = shown[left : left + length]
        lines += [
            f"{finding.line:>{width}} | {shown}".rstrip(),
            f"{edge} {' ' * _wide(shown[:left])}{'^' * max(length, _wide(marked))}",
        ]
        if finding.end_line > finding.line:
            lines.append(f"{' ' * width} | ... to line {finding.end_line}")
    lines.append(edge)
    lines.append(f"help: {finding.help} (lossary lint --explain {finding.code})\n")
    return "\n".join(lines) + "\n"


def _wide(text: str) -> int:
    """Return how many columns of a terminal a text takes: characters of East Asia take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def summary(findings: Sequence[Finding]) -> str:
    """Return how many findings there are, and how many can be mended."""
    if not findings:
        return "All checks passed.\n"
    safe = sum(1 for f in findings if f.fix is not None and f.fix.safe)
    unsafe = sum(1 for f in findings if f.fix is not None and not f.fix.safe)
    said = f"Found {len(findings)} {'finding' if len(findings) == 1 else 'findings'}.\n"
    if safe:
        said += f"[*] {safe} can be mended with --fix.\n"
    if unsafe:
        said += f"[-] {unsafe} can be mended with --fix --unsafe-fixes, which changes numbers.\n"
    return said


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON list, with the keys that ruff has."""
    return json.dumps([_record(f) for f in findings], indent=2, ensure_ascii=False) + "\n"


def _record(finding: Finding) -> dict[str, Any]:
    fix = finding.fix
    return {
        "code": finding.code,
        "name": finding.rule.name,
        "message": finding.message,
        "help": finding.help,
        "filename": finding.path,
        "cell": finding.cell or None,
        "location": {"row": finding.line, "column": finding.column},
        "end_location": {"row": finding.end_line, "column": finding.end_column},
        "fix": None if fix is None else {"message": fix.message, "applicability": "safe" if fix.safe else "unsafe"},
    }


def github(findings: Sequence[Finding]) -> str:
    """Return the commands by which a GitHub workflow annotates lines."""
    lines = []
    for f in findings:
        said = _escaped(f"{f.message}. {f.help}".strip())
        line, end_line = _file_lines(f)
        title = f"{f.code} {f.rule.name}" + (f" (cell {f.cell}, line {f.line})" if f.cell else "")
        facts = {"title": title, "file": f.path, "line": line, "endLine": end_line}
        if end_line == line and not f.cell:
            facts |= {"col": f.column, "endColumn": f.end_column}
        joined = ",".join(f"{key}={_escaped(str(value), inside=True)}" for key, value in facts.items())
        lines.append(f"::error {joined}::{place(f)}: {f.code} {said}\n")
    return "".join(lines)


def _file_lines(finding: Finding) -> tuple[int, int]:
    """Return the lines of the file itself: annotations of a notebook are shown in its JSON."""
    return (finding.file_line or finding.line, finding.file_end_line or finding.end_line)


def _escaped(said: str, *, inside: bool = False) -> str:
    said = said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return said.replace(":", "%3A").replace(",", "%2C") if inside else said


def sarif(findings: Sequence[Finding]) -> str:
    """Return a SARIF 2.1.0 log, with the record of every rule."""
    from lossary._version import __version__

    codes = list(RULES)
    driver = {
        "name": "lossary",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_sarif_rule(rule) for rule in RULES.values()],
    }
    results = [
        {
            "ruleId": f.code,
            "ruleIndex": codes.index(f.code),
            "level": "error" if f.code.startswith("LOS9") else "warning",
            "message": {
                "text": (f"cell {f.cell}, line {f.line}: " if f.cell else "") + f"{f.message}. {f.help}".strip()
            },
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(f.path)},
                        "region": _region(f),
                    },
                    **({"logicalLocations": [{"name": f"cell {f.cell}", "kind": "cell"}]} if f.cell else {}),
                }
            ],
        }
        for f in findings
    ]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _region(finding: Finding) -> dict[str, int]:
    """Return where a finding stands in the file; of a notebook whole lines, for there a column is one of the cell."""
    line, end_line = _file_lines(finding)
    if finding.cell:
        return {"startLine": line, "endLine": end_line}
    return {
        "startLine": line,
        "startColumn": finding.column,
        "endLine": end_line,
        "endColumn": max(finding.end_column, 1),
    }


def _uri(path: str) -> str:
    from urllib.parse import quote

    return Path(path).as_uri() if Path(path).is_absolute() else quote(Path(path).as_posix())


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": f"{rule.reason} {rule.numbers}".strip()},
        "help": {"text": f"{rule.reason} {rule.numbers}".strip()},
        "defaultConfiguration": {"level": "warning", "enabled": rule.default},
    }


FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": text,
    "concise": concise,
    "json": as_json,
    "github": github,
    "sarif": sarif,
}


# --- the rules themselves -------------------------------------------------------------------------------------------


def explained(rule: Rule, level: int = 1) -> str:
    """Return the page of a rule, in Markdown: reason, numbers, a wrong and a right example."""
    parts = [f"{'#' * level} {rule.code}", f"**{rule.name}.** {rule.summary}", rule.reason]
    if rule.numbers:
        parts.append(f"*The numbers:* {rule.numbers}")
    for title, code in (("Wrong", rule.wrong), ("Right", rule.right)):
        if code:
            parts.append(f"{title}:\n\n```python\n{code.strip()}\n```")
    facts = [] if rule.default else ["Off by default."]
    facts += ["`--fix` mends it where that is safe."] if rule.fixable else []
    parts += [" ".join(facts)] if facts else []
    return "\n\n".join(parts) + "\n"


def listed() -> str:
    """Return a line for each rule."""
    wide = max(len(rule.name) for rule in RULES.values())
    lines = []
    for rule in RULES.values():
        marks = ("" if rule.default else " (off by default)") + (" [*]" if rule.fixable else "")
        lines.append(f"{rule.code}  {rule.name:<{wide}}  {rule.summary}{marks}\n")
    return "".join(lines)
