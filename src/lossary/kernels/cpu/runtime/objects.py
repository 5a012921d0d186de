"""Object files: the LLVM target machine, what a compiled kernel calls outside itself, and loading into the process.

`llvmlite` loads an object file by itself in a few milliseconds, so a process that finds its kernels in the cache never
imports the compiler.
"""

from __future__ import annotations

import json
from typing import Any

from llvmlite import binding

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
        __import__(COMPILER)  # brings helpers for what the C library of this platform lacks
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address = engine.get_function_address(ENTRY)
    assert address, "an object file of the kernel cache has no entry"
    return int(address)


def machine() -> Any:
    """A code generator for this processor, set up as the compiler sets up its own."""
    x86 = binding.get_process_triple().startswith(("x86", "i"))
    return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )
