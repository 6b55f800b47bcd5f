"""Who may import whom: the contracts in pyproject.toml, and the method with what it needs alone."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import semquant

PROJECT = Path(__file__).parents[1]
LIBRARY = PROJECT / "lib"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"}
HIDE = """
import json, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in HIDDEN:
            return self.finder.find_spec(name, path, target)

HIDDEN = frozenset(json.loads(sys.argv.pop(1)))
sys.meta_path[:] = map(Without, sys.meta_path)
"""


def declared() -> dict[str, list[str]]:
    """What pyproject.toml lists: the requirements of each extra, the plain ones under ''."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def distributions(*extras: str) -> set[str]:
    """The packages that some extras install, with all that those need in turn."""
    lists, found = declared(), set()
    waiting = [Requirement(line) for extra in extras for line in lists[extra]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            try:
                needed = [Requirement(line) for line in requires(name) or ()]
            except PackageNotFoundError:  # of another system
                continue
            waiting += [r for r in needed if r.marker is None
                        or any(r.marker.evaluate({"extra": e}) for e in ("", *requirement.extras))]
    return found


owners_of_modules = cache(packages_distributions)  # it reads lists of all installed files


def modules(names: set[str]) -> set[str]:
    """The top-level names that packages are imported by."""
    return {module for module, owners in owners_of_modules().items()
            if names & {canonicalize_name(owner) for owner in owners}}


def without_extras(code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run code where nothing can be imported that only an extra installs."""
    hidden = modules(distributions(*filter(None, declared()))) - modules(distributions(""))
    assert {"pandas", "yaml", "scipy", "pytest", "anywidget", "psutil"} <= hidden
    assert not {"torch", "numpy", "captum", "packaging"} & hidden
    return subprocess.run([sys.executable, "-c", HIDE + code, json.dumps(sorted(hidden)), *arguments],
                          env=ENVIRONMENT, capture_output=True, text=True)


def test_modules_import_only_from_those_below_them():
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", lint, "--no-cache", "--no-logo"], cwd=PROJECT,
                          env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports, at once or later, but for those that only types need."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body
                 if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted((LIBRARY / "semquant").rglob("*.py")),
                         ids=lambda path: str(path.relative_to(LIBRARY)))
def test_the_method_imports_its_plain_dependencies_alone(path):
    plain = modules({canonicalize_name(Requirement(line).name) for line in declared()[""]})
    assert imported(path) <= set(sys.stdlib_module_names) | {"semquant"} | plain


USE = """
import importlib, pkgutil, tempfile
from pathlib import Path

import semquant
for module in pkgutil.walk_packages(semquant.__path__, "semquant."):
    importlib.import_module(module.name)

import torch
from torch import nn
from semquant import FilterConcepts, FittedExplainer, distill, grad_cam
from semquant.measure import measure
from semquant.networks import performers
from semquant.peers import PEERS, explain
from semquant.training import Descent, FitOptions, TensorBatches, cosine

torch.manual_seed(0)
images, labels = torch.randn(12, 3, 64, 64), torch.arange(12) % 2 == 1
pixels = torch.randint(0, 256, (12, 3, 64, 64), dtype=torch.uint8)
cnn = nn.Sequential(nn.Conv2d(3, 6, 5, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 3)).eval()
concepts = FilterConcepts("0", rectified=True)
explainer = distill(cnn, concepts, images, 1, fit=FitOptions(epochs=1))
explanation = explainer.explain(images)
total = explanation.contributions.sum(1) + explanation.bias + explanation.residual
assert torch.allclose(total, cnn(images)[:, 1], atol=1e-4)
assert len(explanation.top(3)[0]) == 3
with tempfile.TemporaryDirectory() as folder:
    explainer.save(Path(folder, "explainer.safetensors"))
    again = FittedExplainer.load(Path(folder, "explainer.safetensors"))
    same = again.explain_measured(measure(again.concepts, cnn, images, 1))
    assert torch.equal(same.contributions, explanation.contributions)
assert grad_cam(cnn, "0", images, 1).shape[0] == 12
found = measure(concepts, cnn, images, 1)
head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 1), nn.Flatten(0))
for method in PEERS:
    assert len(explain(method, head, found, background=found, samples=9)) == 12

net = performers.build("alexnet", size=64, width=0.1)
optimizer = torch.optim.AdamW(net.parameters())
descent = Descent(net, optimizer, cosine(optimizer, 2), FitOptions(epochs=1))
for epoch in descent.epochs():
    for shown, positive in TensorBatches(pixels, labels, batch_size=6):
        descent.step(**performers.performer_loss(net, net.prepare(shown), positive, epoch))
assert len(descent.history) == 1
print("done")
"""


def test_the_method_works_with_its_plain_dependencies_alone():
    done = without_extras(USE)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("arguments", [["draw"], ["book"], ["notebook", "a.ipynb", "b.ipynb"],
                                       ["data"], ["--help"]])
def test_the_command_without_the_book_says_what_to_install(arguments):
    done = without_extras("from semquant_book.press.cli import main\nsys.exit(main(sys.argv[1:]))",
                          *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("semquant: ") and done.stderr.count("\n") == 1, done.stderr
    assert "pip install '.[book]' in the project's folder" in done.stderr


def test_views_without_the_book_say_what_to_install():
    done = without_extras("from semquant_book.views import explorer")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "views: anywidget not installed" in last
    assert "pip install '.[book]' in the project's folder" in last


def test_the_version_is_said_once():
    cited = re.search(r"^version: (.+)$", (PROJECT / "CITATION.cff").read_text(), re.M)[1]
    assert semquant.__version__ == cited


def test_a_type_checker_may_read_the_types():
    assert (LIBRARY / "semquant" / "py.typed").exists()
    packages = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "py.typed" in packages["package-data"]["semquant"]
