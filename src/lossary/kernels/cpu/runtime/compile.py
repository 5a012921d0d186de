"""Compiles a function in Numba's Python to an object file: the only place that runs the compiler.

The compiler's own calling convention reports errors on the side; a kernel raises none, so a plain C function is put
around it, which Python calls through `ctypes` whether the compiler is there or not.
"""

from __future__ import annotations

import sys
import types as python_types
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from llvmlite import binding
from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from lossary.kernels.cpu.runtime import objects

# Kernels allocate nothing, so no counting of references is compiled into them.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


class _Library(JITCodeLibrary):
    """The code of a function that is only to become part of an object file.

    The compiler would make it run where it stands, which costs a quarter of the time, and optimise every part twice.
    """

    entry = False
    codegen = SimpleNamespace(set_env=lambda *_: None)  # where a running function would find its globals

    def _optimize_final_module(self) -> None:
        if self.entry:
            super()._optimize_final_module()  # type: ignore[no-untyped-call]

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._verify_declare_only_symbols()  # type: ignore[no-untyped-call]
        self._finalized = True

    def get_pointer_to_function(self, _name: str) -> int:
        """There is none: nobody runs it."""
        self._ensure_finalized()  # type: ignore[no-untyped-call]
        return 0


class Part(Compiler):
    """Compiles what an entry calls."""

    library: type[_Library] = _Library

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)  # type: ignore[no-untyped-call]
        self.state.library = self.library(self.state.targetctx.codegen(), "lossary")


class _WholeLibrary(_Library):
    entry = True


class _Whole(Part):
    """Compiles an entry, with all that it calls."""

    library = _WholeLibrary


def object_file(function: Callable[..., Any], signature: Any) -> bytes:
    """Compile a function whose arguments are C numbers and pointers, and which returns a C number."""
    dispatcher = njit(signature, pipeline_class=_Whole, **OPTIONS)(function)
    compiled = dispatcher.overloads[signature.args]
    text = compiled.library.get_llvm_str()
    name = compiled.fndesc.llvm_func_name
    kernel = binding.parse_assembly(text).get_function(name)
    result, failure, *given = [str(argument.type) for argument in kernel.arguments]
    kind = {"int32": "i32", "int64": "i64"}[str(signature.return_type)]
    listed = ", ".join(f"{t} %a{k}" for k, t in enumerate(given))
    wrapper = f"""
define {kind} @{objects.ENTRY}({listed}) {{
  %result = alloca {kind}
  %status = call i32 @"{name}"({result} %result, {failure} null, {listed})
  %value = load {kind}, {result} %result
  ret {kind} %value
}}
"""
    module = binding.parse_assembly(text + wrapper)
    module.verify()
    needs = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    return objects.packed(objects.machine(level).emit_object(module), needs)


level: str | None = None  # the kind of processors to compile for, of `objects.LEVELS`; None for this one


@dataclass(frozen=True)
class EntryPoint:
    """A function that Python calls by its address, and its signature."""

    function: Callable[..., Any]
    signature: Any

    def object_file(self) -> bytes:
        """Compile the function."""
        return object_file(self.function, self.signature)


def entry(signature: Any) -> Callable[[Callable[..., Any]], EntryPoint]:
    """Mark a function that Python calls."""
    return lambda function: EntryPoint(function, signature)


def source(name: str, text: str) -> bytes:
    """Compile the kernel of a generated source."""
    made = python_types.ModuleType(f"lossary_kernel_{name}")
    sys.modules[made.__name__] = made
    try:
        exec(compile(text, f"<lossary kernel {name}>", "exec"), made.__dict__)
        return bytes(made.run.object_file())
    finally:
        del sys.modules[made.__name__]
