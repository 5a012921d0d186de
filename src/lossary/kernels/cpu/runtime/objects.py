"""Object files: the LLVM target machine, what a compiled kernel calls outside itself, and loading into the process.

`llvmlite` loads an object file by itself in a few milliseconds, so a process that finds its kernels in the cache never
imports the compiler.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from llvmlite import binding

from lossary.kernels.request import KernelMissingError

ENTRY = "lossary_run"  # what the one function of an object file is called
COMPILER = "numba"

_engines: list[Any] = []  # the code lives as long as what loaded it


def packed(code: bytes, needs: list[str]) -> bytes:
    """Return an object file with the names of what it calls outside itself."""
    return json.dumps(needs).encode() + b"\n" + code


def load(held: bytes) -> int:
    """Bring a packed object file into the process and return the address of its function."""
    needs, _, code = held.partition(b"\n")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    if any(binding.address_of_symbol(name) is None for name in json.loads(needs)):
        try:
            __import__(COMPILER)  # brings helpers for what the C library of this platform lacks
        except ImportError:
            raise KernelMissingError(f"a kernel calls {needs!r}, and {COMPILER}, which has that, is missing") from None
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address = engine.get_function_address(ENTRY)
    assert address, "an object file of the kernel cache has no entry"
    return int(address)


# The kinds of processors for which kernels come with the package, the most able first, and what each must have.
_AVX2 = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_AVX512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
LEVELS: dict[str, tuple[str, ...]] = {"x86-64-v4": (*_AVX2, *_AVX512), "x86-64-v3": _AVX2, "aarch64": ()}


@cache
def levels() -> tuple[str, ...]:
    """Return which of these kinds this processor is of, the most able first."""
    has = binding.get_host_cpu_features()
    architecture = binding.get_process_triple().partition("-")[0]
    return tuple(
        level
        for level, needed in LEVELS.items()
        if level.partition("-v")[0].replace("-", "_") == architecture and all(has.get(name) for name in needed)
    )


def compiled_for(level: str) -> tuple[str, str]:
    """Return a kind of processor as the compiler names it, and what it is told beside."""
    wide = "-prefer-256-bit" if "avx512f" in LEVELS[level] else ""  # recent ones do not slow down in wide registers
    return (level if level.startswith("x86") else "generic"), wide


def machine(level: str | None = None) -> Any:
    """A code generator for this processor, or one of `LEVELS`, set up as the compiler sets up its own."""
    x86 = binding.get_process_triple().startswith(("x86", "i"))
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    if level is not None:
        cpu, features = compiled_for(level)
    return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        reloc="static" if x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )
