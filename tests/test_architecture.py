"""Which room may know which: read from the imports with `ast`, so that a shortcut fails here before it is built on."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

import lossary

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "lossary"

# What each inner room may import of the package; the longest name counts, and a room may always import itself. A module
# that no name covers belongs to an outer room: it may know everything, and no inner room may know it. The floor is the
# backend contract, which is types alone, and `numerics`, which knows nothing else.
INNER: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "numerics": {"backends.protocol"},
    "catalogue": {"errors", "numerics", "pairs", "backends.protocol"},
    "pairs": {"numerics", "catalogue.signatures", "backends.protocol"},
    "tolerances": {"numerics", "catalogue"},
    "losses": {"numerics", "catalogue", "pairs", "backends.protocol"},
    "kernels": {"errors", "catalogue", "numerics", "tolerances", "_files"},
    # Below a call: how a backend is found, and the operations that definitions use.
    "backends.registry": {"errors", "backends.protocol"},
    "backends.protocol": set(),
    "backends.loops": {"backends.protocol"},
    "backends.definitions": {"errors", "backends.protocol"},
    "backends.installed": {"backends.registry", "backends.protocol", "backends.numpy", "backends.torch"},
    "backends.numpy.namespace": {
        "errors",
        "kernels.gamma",
        "kernels.thresholds",
        "backends.protocol",
        "backends.loops",
    },
    "backends.torch.namespace": {
        "errors",
        "settings",
        "backends.registry",
        "backends.protocol",
        "backends.loops",
        "backends.numpy.namespace",
        "backends.torch",
        "kernels.gamma",
        "kernels.thresholds",
    },
    "backends.torch.fused": {"catalogue", "numerics"},
    "backends.torch.tensors": {"errors"},
    "evaluate": {
        "backends.registry",
        "backends.definitions",
        "backends.protocol",
        "catalogue",
        "errors",
        "settings",
        "tolerances",
    },
    # Above a call: how a backend computes it.
    "backends": {"catalogue", "errors", "evaluate", "kernels", "settings"},
    "misuse": {"backends.registry", "backends.numpy.namespace", "catalogue", "errors", "evaluate", "settings"},
    "testing": {"backends", "catalogue", "errors", "evaluate", "kernels", "misuse"},
}
# What may be imported from outside the package, beyond the standard library.
NO_FRAMEWORK = {"losses", "numerics", "pairs", "catalogue", "errors"}
NO_FRAMEWORK |= {"backends.protocol", "backends.loops", "backends.registry", "backends.installed"}
VOCABULARY = {"__future__", "typing", "collections", "math"}  # all that a formula needs of the standard library
# Modules whose classes derive from those of scikit-learn; what opens onto them says which extra is missing.
DERIVED = {"integrations.estimators", "integrations.sklearn_loss"}
FRAMEWORKS = {"torch", "jax", "jaxlib", "tensorflow", "mlx", "numba", "triton", "cupy"}


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands, what it names, and whether importing the module runs it."""

    path: Path
    line: int
    target: str
    at_import: bool
    for_types: bool

    @property
    def module(self) -> str:
        """The module of the package that is imported, without the package; empty for the package itself."""
        return resolved(self.target).removeprefix("lossary").removeprefix(".")

    @property
    def root(self) -> str:
        return self.target.split(".")[0]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.target}"


def imports_of(source: str, path: Path) -> list[Import]:
    """Every import of a module, wherever it stands; ``from lossary import x`` counts as ``lossary.x``."""
    found: list[Import] = []
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts

    def walk(node: ast.AST, at_import: bool, for_types: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = at_import and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            types = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                package = ".".join(here[: len(here) - child.level]) if child.level else ""
                module = ".".join(part for part in (package, child.module) if part)
                names = [f"{module}.{alias.name}" for alias in child.names]
            found.extend(Import(path, child.lineno, name, inside, types) for name in names)
            walk(child, inside, types)

    walk(ast.parse(source), True, False)
    return found


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def resolved(name: str) -> str:
    """The module of the package that an imported name is, or is in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def covering(module: str, names: Iterable[str]) -> str:
    """The longest of some names that is a module or a package around it; empty if none is."""
    return max((n for n in names if module == n or module.startswith(f"{n}.")), key=len, default="")


def all_imports() -> Iterator[tuple[str, Import]]:
    for name, path in MODULES.items():
        for found in imports_of(path.read_text(), path):
            yield name.removeprefix("lossary").removeprefix("."), found


def broken(module: str, found: Import) -> str:
    """Return what is wrong with an import, or nothing."""
    room = covering(module, INNER)
    if found.root == "lossary":
        if not room or found.module == room or found.module.startswith(f"{room}."):
            return ""
        if covering(found.module, INNER[room]) and found.module:
            return ""
        return f"{found}: {room} may import {', '.join(sorted(INNER[room])) or 'nothing of the package'}"
    if room in ("losses", "numerics") and found.root not in VOCABULARY:
        return f"{found}: a definition takes every operation from xp"
    if room in NO_FRAMEWORK and found.root not in sys.stdlib_module_names:
        return f"{found}: only the standard library is known here"
    if found.root in FRAMEWORKS and room and room.partition(".")[0] not in ("backends", "kernels"):
        return f"{found}: a framework belongs into lossary.backends"
    if found.root in extras() and room:
        return f"{found}: packages of the app extra belong to the outer rooms"
    derived = module in DERIVED and found.root == "sklearn"
    if (
        found.root in extras()
        and found.at_import
        and not found.for_types
        and not module.startswith("cli")
        and not derived
    ):
        return f"{found}: import it inside the function that needs it, so that a missing extra is a sentence"
    return ""


def extras() -> set[str]:
    """The import names of the packages of the app extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[><=!~ ]", text)[0] for text in project["optional-dependencies"]["app"]}
    return {
        {"scikit-learn": "sklearn", "markdown-it-py": "markdown_it", "charset-normalizer": "charset_normalizer"}.get(
            name, name
        )
        for name in named
    }


def test_imports_point_one_way() -> None:
    wrong = [text for module, found in all_imports() if (text := broken(module, found))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("losses.new", "import numpy as np", "takes every operation from xp"),
        ("losses.new", "from lossary.evaluate.transforms import values", "may import"),
        ("numerics", "from lossary.catalogue.domains import Domain", "may import"),
        ("numerics", "from . import settings", "may import"),
        ("backends.protocol", "from lossary.catalogue import Loss", "nothing of the package"),
        ("catalogue.record", "from lossary.evaluate.transforms import values", "may import"),
        ("catalogue.record", "import numpy", "only the standard library"),
        ("backends.torch.execute", "from lossary.losses.regression import huber", "may import"),
        ("backends.torch.execute", "from lossary import huber", "may import"),
        ("evaluate.checks", "import rich", "outer rooms"),
        ("evaluate.call", "import torch", "lossary.backends"),
        ("evaluate.call", "from lossary.backends.torch import namespace", "may import"),
        ("report.page", "import rich", "inside the function"),
    ],
)
def test_a_shortcut_is_noticed(module: str, line: str, said: str) -> None:
    (found,) = imports_of(line, PACKAGE.joinpath(*module.split(".")).with_suffix(".py"))
    assert said in broken(module, found)


# --- circles ----------------------------------------------------------------------------------------------------------


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """The strongly connected components of a graph that have more than one member (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for near in sorted(graph[node]):
            if near not in order:
                visit(near)
                low[node] = min(low[node], low[near])
            elif near in stack:
                low[node] = min(low[node], order[near])
        if low[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def import_graph() -> dict[str, set[str]]:
    """Which modules of the package each module imports, in functions and for types as well."""
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        targets = {resolved(found.target) for found in imports_of(path.read_text(), path)}
        graph[name] = targets - {name, ""}
    return graph


def test_there_is_no_circle_of_imports() -> None:
    """Of any module: imports inside functions and those for types are counted."""
    graph = import_graph()
    assert len(graph) > 150 and "lossary.evaluate.transforms" in graph["lossary"]
    found = circles(graph)
    assert not found, "\n".join(" - ".join(part) for part in found)


def test_a_circle_is_noticed() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


# --- no module names a particular loss --------------------------------------------------------------------------------

# Modules whose subject is particular losses.
OF_LOSSES = {
    "losses": "the definitions",
    "nn": "the drop-ins of torch's losses",
    "lint": "rules about the losses of torch, Keras, JAX and optax, by their names there",
    "kernels.registry": "the table of hand-written kernels",
    "inspect.densities": "the noise model behind each, from which it is derived",
}
# Modules that are built on a few losses, and which. Anywhere else a special case for one
# loss would be a second home for it: what a tool asks of a loss is a fact of its record.
BUILT_ON: dict[str, tuple[set[str], str]] = {
    "integrations.estimators": (
        {"squared_error", "softmax_cross_entropy", "l2_penalty"},
        "the defaults of the linear models, as scikit-learn has them",
    ),
    "backends.torch.fused": (
        {"absolute_error", "binary_cross_entropy_with_logits", "huber", "logistic_margin", "multi_margin"}
        | {"multilabel_margin", "nll", "poisson_nll", "smooth_l1", "softmax_cross_entropy", "squared_error"},
        "definitions in torch's fused operators, which are those of its own losses",
    ),
    "kernels.cpu.sequence.ctc": ({"ctc"}, "the hand-written kernel, whose machine code is stored under that name"),
    "kernels.cpu.sequence.rnnt": ({"rnnt"}, "the hand-written kernel, whose machine code is stored under that name"),
    "kernels.cpu.sequence.crf": ({"crf"}, "the hand-written kernel, whose machine code is stored under that name"),
    "toolkit.decoding": ({"ctc", "linear_chain_crf"}, "it decodes the paths that these two losses sum over"),
    "toolkit.padded_sequences": ({"softmax_cross_entropy"}, "a language model's loss is this one on shifted tokens"),
    "toolkit.preference": ({"grpo"}, "how the losses of tokens are averaged is named after papers"),
    "head.api": ({"softmax_cross_entropy"}, "the log-probabilities of tokens are this loss of a head"),
    "training": ({"cosine", "exponential"}, "schedules of the learning rate"),
    "training.criterion": (
        {"binary_cross_entropy_with_logits", "l2_penalty", "softmax_cross_entropy", "weight_decay"},
        "the two cross-entropies that tutorials write by hand, with weight decay",
    ),
    "inspect.derivation": (
        {"binary_cross_entropy_with_logits", "softmax_cross_entropy"},
        "the gradient and the stable form of these two are derived as well",
    ),
    "training.schedules": ({"cosine", "exponential"}, "schedules of the learning rate"),
    "training.steps": ({"l2_penalty"}, "weight decay"),
    "training.torch": ({"weight_decay"}, "an option of torch's optimisers"),
    "compare.metrics": ({"log_loss", "mae", "mean_absolute_error"}, "metrics of scikit-learn, by their names there"),
    "catalogue.vocabulary": ({"quantile"}, "a statistic"),
}


def losses_named(source: str) -> set[str]:
    """Names and aliases of losses that code speaks of: as a name from elsewhere, an attribute, or in a string.

    A string speaks of a loss that it is, and of those it mentions: a name with an underscore as a whole word, any name
    after "use", after "lossary." and between backticks. Docstrings may speak of any.
    """
    known = {*lossary.names(), *lossary.catalogue.aliases()}
    tree = ast.parse(source)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    of_losses = [
        node for node in imports if node.module == "lossary" or covering(node.module or "", ["lossary.losses"])
    ]
    bound |= {alias.asname or alias.name for node in imports if node not in of_losses for alias in node.names}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found = {alias.name for node in of_losses for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in bound:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lossary":
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            mentioned = {word for word in re.findall(r"\w+", node.value) if "_" in word}
            found |= {node.value, *mentioned, *re.findall(r"(?:\buse |\blossary\.|`)(\w+)", node.value)}
    return found & known


def test_no_module_names_a_particular_loss() -> None:
    """A special case for one loss would be a second home for it: what tools ask is a fact of the record."""
    wrong = []
    for name, path in MODULES.items():
        module = name.removeprefix("lossary").removeprefix(".")
        if not covering(module, OF_LOSSES) and module:
            found = losses_named(path.read_text()) - BUILT_ON.get(module, (set(), ""))[0]
            wrong += [f"{module} names {', '.join(sorted(found))}"] * bool(found)
    assert not wrong, "\n".join(wrong)


def test_every_module_that_may_name_losses_does() -> None:
    """So that the lists stay short."""
    sources = {name.removeprefix("lossary."): path.read_text() for name, path in MODULES.items()}
    for room in OF_LOSSES:
        assert any(losses_named(source) for name, source in sources.items() if covering(name, [room])), room
    for module, (named, _) in BUILT_ON.items():
        assert named <= losses_named(sources.get(module, "")), f"{module} names {', '.join(sorted(named))} no more"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("if loss is lossary.huber: pass", {"huber"}),
        ("from lossary.losses.margin import hinge", {"hinge"}),
        ("huber(1, 2)", {"huber"}),
        ("if loss.name == 'mse': pass", {"mse"}),
        ("x = f'{loss}: use hinge for scores'", {"hinge"}),
        ("x = f'{loss}: pass logits to softmax_cross_entropy'", {"softmax_cross_entropy"}),
        ("x = 'see `ctc`, or lossary.rnnt'", {"ctc", "rnnt"}),
        (
            "def f(hinge, exponential):\n    'As `huber` does.'\n    huber = 'a hinge of a door'\n    return huber",
            set(),
        ),
    ],
)
def test_a_loss_that_is_named_is_noticed(line: str, named: set[str]) -> None:
    assert losses_named(line) == named


def local_lengths(source: str) -> list[int]:
    """Return the lines of a definition that ask an array for the length of its rows."""
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Subscript))
    asked = (n for n in found if isinstance(n.value, ast.Attribute) and n.value.attr == "shape")
    return [node.lineno for node in asked if ast.unparse(node.slice) == "-1"]


def test_definitions_ask_the_namespace_how_many_classes_a_row_has() -> None:
    """Where rows are divided among devices, the array at hand has a part of them: `xp.row_length` knows them all."""
    files = [path for name, path in MODULES.items() if covering(name, ("lossary.losses", "lossary.numerics"))]
    wrong = [f"{path.name}:{line}" for path in files for line in local_lengths(path.read_text())]
    assert not wrong, f"use xp.row_length(x) instead of x.shape[-1]: {', '.join(wrong)}"
    assert local_lengths("y = x.shape[-1]\nz = x.shape[-2]") == [1]


# --- what importing the package costs -------------------------------------------------------------------------------

HEAVY = sorted(FRAMEWORKS | {"sklearn", "scipy", "rich", "typer", "click", "jinja2", "matplotlib", "plotly", "plotext"})
HEAVY += ["polars", "pandas", "hypothesis", "mpmath"]


def loaded_by(statement: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split()) & set(HEAVY)


def test_importing_the_package_loads_no_framework() -> None:
    assert loaded_by("import lossary") == set()


def test_computing_a_loss_loads_no_framework() -> None:
    assert loaded_by("import lossary; lossary.huber.value_and_grad([1.0], [0.0], reduction='mean')") == set()


def test_a_framework_that_is_loaded_is_noticed() -> None:
    assert "jinja2" in loaded_by("import lossary, jinja2")


def test_every_module_but_the_command_line_is_importable_without_the_extras() -> None:
    outer = {"lossary.sklearn", *(f"lossary.{name}" for name in DERIVED)}
    inner = [name for name in public_modules() if not name.startswith(("lossary.cli", OF_TRITON)) and name not in outer]
    script = f"""
import sys, importlib
sys.modules.update(dict.fromkeys({sorted(extras())!r}))  # None there makes an import fail
for name in {inner!r}:
    importlib.import_module(name)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


# --- public names ---------------------------------------------------------------------------------------------------


OF_TRITON = "lossary.kernels.gpu."  # its kernels are decorated functions, which need the package


def public_modules() -> list[str]:
    walked = pkgutil.walk_packages(lossary.__path__, "lossary.")
    return [m.name for m in walked if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", public_modules())
def test_every_module_is_importable_and_has_the_names_it_lists(name: str) -> None:
    if name.startswith(OF_TRITON):
        pytest.importorskip("triton", reason="not in the test environment: make test-gpu")
    module = importlib.import_module(name)
    for listed in getattr(module, "__all__", ()):
        assert hasattr(module, listed), f"{name}.__all__ lists {listed}, which is not there"


def test_every_package_may_be_the_first_to_be_imported() -> None:
    """A package runs before a module of it, so one order of imports may hide that two packages need each other."""
    pytest.importorskip("torch")
    first = [m.name for m in pkgutil.walk_packages(lossary.__path__, "lossary.") if m.ispkg or m.name.count(".") == 1]
    script = f"""
import importlib, os, sys, traceback
import numpy, torch  # which all of them share
for name in {[name for name in first if not name.endswith("__main__")]!r}:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, file=sys.stderr)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def public_members(package: str) -> dict[str, object]:
    """What the ``__init__`` of a package defines or imports, read from its source: an import of a module of the same
    name, later, would take the place of the attribute."""
    file = importlib.import_module(package).__file__
    found: dict[str, object] = {}
    for node in ast.parse(Path(str(file)).read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            source = importlib.import_module(node.module)
            names = {alias.asname or alias.name: alias.name for alias in node.names}
            names = {name: name for name in getattr(source, "__all__", vars(source))} if "*" in names else names
            found |= {name: getattr(source, member, None) for name, member in names.items()}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
    if package == "lossary":
        found |= {alias: lossary.get(alias) for name in lossary.names() for alias in lossary.get(name).aliases}
    return {name: value for name, value in found.items() if not inspect.ismodule(value)}


def test_no_module_shadows_a_public_name_of_its_package() -> None:
    """``import lossary.x`` sets the attribute ``x`` of the package: a function of that name would be gone."""
    pytest.importorskip("torch")
    packages = ["lossary", *(m.name for m in pkgutil.walk_packages(lossary.__path__, "lossary.") if m.ispkg)]
    shadowed = {name for package in packages for name in (f"{package}.{n}" for n in public_members(package))}
    assert not shadowed & {*public_modules()}


def test_the_functions_that_inspect_stay_functions() -> None:
    for name in ("lossary.inspect", "lossary.text", "lossary.plots"):
        importlib.import_module(name)
    for name in ("explain", "diagnose", "watch"):
        assert inspect.isfunction(getattr(lossary, name))
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"lossary.{name}")


def test_every_loss_and_every_transform_is_a_name_of_the_package() -> None:
    for name in lossary.names():
        assert getattr(lossary, name) is lossary.get(name)
    for name in ("Loss", "get", "names", "search", "mean", "total", "value_and_grad", "hess", "check_grad"):
        assert callable(getattr(lossary, name))
    hidden = [name for name in lossary.names() if name in ("mean", "total", "get", "names", "search", "hess")]
    assert not hidden, f"losses whose names hide a function of the package: {hidden}"


def undocumented(source: str) -> list[str]:
    """Public classes, functions and methods without a docstring; functions inside functions are private."""
    missing: list[str] = []

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith(
                "_"
            ):
                if ast.get_docstring(node) is None:
                    missing.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    walk(node.body, f"{node.name}.")

    tree = ast.parse(source)
    if tree.body and ast.get_docstring(tree) is None:
        missing.append("the module itself")
    walk(tree.body, "")
    return missing


def test_everything_public_says_what_it_is() -> None:
    silent = {str(p.relative_to(ROOT)): names for p in MODULES.values() if (names := undocumented(p.read_text()))}
    assert not silent, f"no docstring: {silent}"


def test_a_missing_docstring_is_noticed() -> None:
    assert undocumented('"""M."""\nclass A:\n    """A."""\n    def f(self): pass\n    def _g(self): pass') == ["A.f"]
    assert undocumented("x = 1") == ["the module itself"]


# --- tests know public names ------------------------------------------------------------------------------------------

# How calls are computed: these move, and what users see does not.
INSIDE = {"backends", "evaluate", "head", "kernels", "misuse"}
# The files that test a written contract or one of its emitters, each with what it may import of the inside.
CONTRACTS = {
    "test_backends.py": {"backends.registry", "backends.protocol", "evaluate.call"},
    "test_kernel_ir.py": {"kernels"},
    "test_kernel_js.py": {"kernels"},
    "test_ranges.py": {"kernels"},
}
# Files that still import what is inside; none may be added. Those in tests/internal say themselves why they exist.
STILL_INSIDE = {"test_similarity.py"}


def inside(source: str, allowed: Iterable[str] = ()) -> set[str]:
    """What a test imports that users do not know."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, *parts = name.split(".")
            private = parts and (parts[0] in INSIDE or any(part.startswith("_") for part in parts))
            if root == "lossary" and private and not covering(".".join(parts), allowed):
                found.add(name)
    return found - {"lossary.__main__.main"}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT / "tests"))
)
def test_tests_import_public_names(file: Path) -> None:
    if file.parent.name == "internal":
        assert "\nInternal: " in str(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))))
    elif file.name not in STILL_INSIDE and "lint_corpus" not in file.parts:
        assert not inside(file.read_text(encoding="utf-8"), CONTRACTS.get(file.name, ()))


def test_files_that_still_import_what_is_inside_do() -> None:
    """So that the list shrinks."""
    for name in STILL_INSIDE:
        assert inside((ROOT / "tests" / name).read_text(encoding="utf-8")), name


def test_an_import_of_what_is_inside_is_noticed() -> None:
    source = "import lossary\ndef f():\n    from lossary.nn import _small, ctc\n    import lossary.kernels.ir.graph"
    assert inside(source) == {"lossary.nn._small", "lossary.kernels.ir.graph"}
    assert inside(source, {"kernels"}) == {"lossary.nn._small"}


# --- adding a loss touches two files --------------------------------------------------------------------------------

GUIDES = ("docs/adding-a-loss.md", "CONTRIBUTING.md")


def worked_examples(guide: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """The losses of a guide: of each the definition and the oracle, and the files that they belong to."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", (ROOT / guide).read_text(), re.DOTALL)
    return list(zip(blocks[::2], blocks[1::2], strict=True))


EXAMPLES = [(guide, number) for guide in GUIDES for number in range(len(worked_examples(guide)))]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the project to add a loss to, without what is made from the records: as a fresh clone has it."""
    for part in ("src", "tests", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    shutil.rmtree(tmp_path / "docs" / "losses", ignore_errors=True)
    for file in ("pyproject.toml", "Makefile", *(path.name for path in ROOT.glob("*.md"))):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def enter(place: Path, file: str, name: str, definition: str) -> None:
    """Add a loss to a file of its family, and its name to the list, in order."""
    path = place / file
    before, listed, after = re.split(r"(?s)(?<=__all__ = \[\n)(.*?)(?=\])", path.read_text(), maxsplit=1)
    names = sorted([*listed.splitlines(keepends=True), f'    "{name}",\n'])
    path.write_text("".join([before, *names, after, "\n\n", definition]))


def python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    environment = {"PYTHONPATH": str(place / "src"), "PATH": "", "HOME": str(place)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def suite(place: Path, wanted: str, *files: str) -> subprocess.CompletedProcess[str]:
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    return python(place, "-m", "pytest", *options, *(f"tests/{file}.py" for file in files), "-k", wanted)


def catalogue_suite(place: Path, name: str) -> subprocess.CompletedProcess[str]:
    return suite(place, name, "test_catalogue")


# What else asks something of every loss. Kernels take seconds to compile: one type and one test of them is enough.
ELSEWHERE = ("test_explain", "test_torch", "test_nn_catalogue", "test_docs", "test_diagnose", "test_plots", "test_cli")
ELSEWHERE += ("test_types",)


@pytest.mark.parametrize(("guide", "number"), EXAMPLES)
def test_a_loss_added_as_the_guide_says_is_everywhere_and_passes_everything(
    copied: Path, guide: str, number: int
) -> None:
    (definition, written), (oracle, naive) = worked_examples(guide)[number]
    assert definition.startswith("src/lossary/losses/") and oracle.startswith("tests/oracles/")
    (name,) = re.findall(r"^def (\w+)\(xp", written, re.MULTILINE)
    assert name not in lossary.names(), f"the guide's example, {name}, is in the catalogue now: choose another"

    enter(copied, definition, name, written)
    forgotten = catalogue_suite(copied, name)
    assert forgotten.returncode == 1
    assert f"{name} has no oracle: add a function {name}(pred, target, *, ...)" in forgotten.stdout.replace("\n", " ")
    assert oracle in forgotten.stdout, "the sentence names the file"

    row = copied / oracle
    row.write_text(row.read_text() + "\n\n" + naive)
    complete = catalogue_suite(copied, name)
    assert complete.returncode == 0, complete.stdout
    assert int(re.findall(r"(\d+) passed", complete.stdout)[0]) >= 12
    for command in ("format --check", "check"):
        formatted = python(copied, "-m", "ruff", *command.split(), "--no-cache", "src/lossary/losses", "tests/oracles")
        assert formatted.returncode == 0, formatted.stdout + formatted.stderr
    if guide == "CONTRIBUTING.md":  # which says the same in fewer words
        return
    further = suite(copied, f"({name} or stub or makers or has_a_page) and not compile", *ELSEWHERE)
    assert further.returncode == 0, further.stdout
    kernels = suite(copied, f"computes_what_its_definition_computes and {name} and not float64", "test_kernels")
    assert kernels.returncode == 0, kernels.stdout

    derived = python(
        copied,
        "-c",
        f"""
import lossary
from lossary.testing import random_arrays
loss = lossary.{name}
assert lossary.get("{name}") is loss and "{name}" in lossary.names(family=loss.family)
assert "{name}" in lossary.search("{name.replace("_", " ")}")
assert lossary.check_grad(loss, [0.3, -2.0], [0.0, 1.0])
value, grad = loss.value_and_grad([1.0, 2.0], [0.0, 0.0], reduction="mean", mask=[True, False])
assert grad[1] == 0
for parameter, allowed in loss.parameters.items():
    beyond = [v for v in (-1.0, 2.0, float("inf")) if not loss.parameter_domains[parameter][0].contains(v)]
    try:
        loss([1.0], [0.0], **{{parameter: beyond[0]}})
    except lossary.errors.ParameterError as refusal:
        assert "expected a number in " + allowed in str(refusal)
    else:
        raise AssertionError("a parameter outside its range was not refused")
print("derived")
""",
    )
    assert derived.stdout == "derived\n", derived.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_writes_the_types_of_a_new_loss_once(copied: Path) -> None:
    """`make test` needs them for mypy: it makes them where a source is newer, and a second run has nothing to do."""
    (definition, written), _ = worked_examples("CONTRIBUTING.md")[0]
    stubs = ("src/lossary/__init__.pyi", "src/lossary/nn/catalogue.pyi")
    environment = Path(sys.prefix)
    command = ("make", f"VENV={environment}", "-o", str(environment / ".ready-test"))

    def make(*options: str) -> int:
        return subprocess.run([*command, *options, *stubs], cwd=copied, capture_output=True, check=False).returncode

    def makes_stubs_before_mypy() -> bool:
        steps = subprocess.run([*command, "-n", "test"], cwd=copied, capture_output=True, text=True, check=True).stdout
        return "make_stubs" in steps.partition("mypy")[0]

    assert makes_stubs_before_mypy()
    assert make() == 0 and make("-q") == 0 and not makes_stubs_before_mypy()
    assert not any("fourth_power" in (copied / stub).read_text() for stub in stubs)
    enter(copied, definition, "fourth_power", written)
    assert make("-q") == 1 and makes_stubs_before_mypy(), "a source is newer"
    assert make() == 0 and make("-q") == 0
    assert "fourth_power: _FourthPower" in (copied / stubs[0]).read_text()
    assert "class FourthPowerLoss(RecordLoss):" in (copied / stubs[1]).read_text()


BRANCHY = "general_robust"
REGRESSION = "src/lossary/losses/regression.py"


@pytest.fixture
def branchy(copied: Path) -> Path:
    """A copy of the project with the loss of the guide that has special values."""
    (example,) = [e for e in worked_examples("docs/adding-a-loss.md") if f"def {BRANCHY}(" in e[0][1]]
    for file, text in example:
        if file == REGRESSION:
            enter(copied, file, BRANCHY, text)
        else:
            (copied / file).write_text((copied / file).read_text() + "\n\n" + text)
    return copied


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("yield 0.5 * scaled * scaled\n", "yield 77 * scaled\n"),  # alpha == 2
        ("yield scaled / scale\n", "yield scaled\n"),  # the same while the scale is 1
        ("yield 2 * growth\n", "yield growth\n"),  # alpha == 0
        ("yield -xp.expm1(-0.5 * square)\n", "yield square\n"),  # alpha == -inf
    ],
)
def test_rubbish_at_a_special_value_is_noticed(branchy: Path, right: str, wrong: str) -> None:
    path = branchy / REGRESSION
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, wrong))
    noticed = suite(branchy, f"{BRANCHY} and (ends_of_their_ranges or oracle)", "test_catalogue")
    assert noticed.returncode == 1, noticed.stdout
    checked = python(branchy, "-m", "lossary", "check", BRANCHY)
    assert checked.returncode == 1, checked.stdout


def test_a_special_value_that_the_record_does_not_name_is_refused_with_the_line_to_add(branchy: Path) -> None:
    path = branchy / REGRESSION
    path.write_text(path.read_text().replace('    special={"alpha": (0, 2)},\n', '    special={"alpha": (2,)},\n', 1))
    refused = suite(branchy, f"{BRANCHY} and (branches or every_line)", "test_catalogue")
    said = " ".join(refused.stdout.split())
    assert "branches on `alpha == 0`, but the record does not name 0 among the special values of alpha" in said
    assert 'add special={"alpha": (0,)} to the record' in said
    assert "yield 2 * growth" in said, "the line that never ran is shown"
    checked = python(branchy, "-m", "lossary", "check", BRANCHY)
    assert checked.returncode == 1 and "never runs" in checked.stdout, checked.stdout
