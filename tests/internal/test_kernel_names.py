"""What the machine code of a kernel is made of is part of the name that it is kept under.

Internal: to see it from outside, the package would have to be copied and compiled anew for each of its modules; and the
places of other systems are not on this one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="kernels need the fast extra")

from lossary.kernels.cpu.runtime import cache as machine_code

EVERYWHERE = "from lossary.kernels.cpu.math import exp_f32\nfrom lossary.kernels.cpu.transpose import moved\n"
LOOPS = "from lossary.kernels.cpu.softmax import loops\n"


@pytest.mark.parametrize(
    ("source", "edited"),
    [
        (EVERYWHERE, "kernels/cpu/math.py"),
        (EVERYWHERE, "kernels/cpu/transpose.py"),
        (EVERYWHERE, "kernels/cpu/sizes.py"),
        (EVERYWHERE, "kernels/gamma.py"),  # which `math` imports
        (EVERYWHERE, "kernels/cpu/runtime/compile.py"),
        (LOOPS, "kernels/cpu/softmax/loops.py"),
        (LOOPS, "kernels/cpu/softmax/spec.py"),
        ("from lossary.kernels.cpu.sequence import (\n    rnnt_loops,\n)\n", "kernels/cpu/sequence/rnnt_spec.py"),
    ],
)
def test_whatever_a_kernel_is_made_of_is_part_of_its_name(
    source: str, edited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit of an elementary function makes other files: none compiled of the old one is found again."""
    sources = machine_code.sources.__wrapped__
    before, read = sources(source), machine_code._read.__wrapped__
    monkeypatch.setattr(
        machine_code, "_read", lambda path: read(path) + "# edited" * path.as_posix().endswith(f"lossary/{edited}")
    )
    assert len(sources(source)) == len(before) + len("# edited")


def test_the_cache_is_where_each_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOSSARY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert machine_code.folder() == tmp_path / "lossary"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert machine_code.folder() == tmp_path / "local" / "lossary"
