"""From a function in the compiler's Python to an object file: the only place that runs the compiler.

The compiler's own calling convention reports errors on the side; a kernel raises none, so a plain C function is put
around it, which Python calls through `ctypes` whether the compiler is there or not.
"""

from __future__ import annotations

import sys
import types as python_types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import binding
from numba import njit

from lossary.kernels.cpu import store

# Kernels allocate nothing, so no counting of references is compiled into them.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


def object_file(function: Callable[..., Any], signature: Any) -> bytes:
    """Compile a function whose arguments are C numbers and pointers, and which returns a C number."""
    dispatcher = njit(signature, **OPTIONS)(function)
    compiled = dispatcher.overloads[signature.args]
    text = compiled.library.get_llvm_str()
    name = compiled.fndesc.llvm_func_name
    kernel = binding.parse_assembly(text).get_function(name)
    result, failure, *given = [str(argument.type) for argument in kernel.arguments]
    kind = {"int32": "i32", "int64": "i64"}[str(signature.return_type)]
    listed = ", ".join(f"{t} %a{k}" for k, t in enumerate(given))
    wrapper = f"""
define {kind} @{store.ENTRY}({listed}) {{
  %result = alloca {kind}
  %status = call i32 @"{name}"({result} %result, {failure} null, {listed})
  %value = load {kind}, {result} %result
  ret {kind} %value
}}
"""
    module = binding.parse_assembly(text + wrapper)
    module.verify()
    needs = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    return store.packed(store.machine().emit_object(module), needs)


@dataclass(frozen=True)
class Entry:
    """A function of a generated source that Python calls, and its signature."""

    function: Callable[..., Any]
    signature: Any


def entry(signature: Any) -> Callable[[Callable[..., Any]], Entry]:
    """Mark the kernel of a generated source."""
    return lambda function: Entry(function, signature)


def source(name: str, text: str) -> bytes:
    """Compile the kernel of a generated source."""
    made = python_types.ModuleType(f"lossary_kernel_{name}")
    sys.modules[made.__name__] = made
    try:
        exec(compile(text, f"<lossary kernel {name}>", "exec"), made.__dict__)
        return object_file(made.run.function, made.run.signature)
    finally:
        del sys.modules[made.__name__]
