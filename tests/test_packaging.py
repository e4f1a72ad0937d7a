"""What a user installs: one wheel with the two packages and nothing else, typed, with public names that are complete."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest
from tests.architecture_rules import Module, modules_below

import forewarn

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PRODUCT = modules_below(ROOT / "plugin") + modules_below(ROOT / "datasource")
DECLARING = [m for m in PRODUCT if "__all__" in m.source]
MODULE_OF = {"pyyaml": "yaml", "prometheus-client": "prometheus_client"}
BROUGHT_BY = {"elastic_transport": "elasticsearch", "werkzeug": "flask", "pandas": "prophet", "holidays": "prophet"}


def build(kind: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as content:
        return set(content.namelist())


def test_the_wheel_has_the_two_packages_and_nothing_else(wheel: set[str]) -> None:
    info = f"forewarn-{forewarn.__version__}.dist-info"
    assert {name.partition("/")[0] for name in wheel} == {"forewarn", "forewarn_datasource", info}


def test_both_packages_are_typed(wheel: set[str]) -> None:
    assert {"forewarn/py.typed", "forewarn_datasource/py.typed"} <= wheel


def test_every_file_that_the_packages_need_is_in_the_wheel(wheel: set[str]) -> None:
    roots = [(root, path) for root in (ROOT / "plugin", ROOT / "datasource") for path in root.glob("*/**/*") if path.is_file()]
    needed = {str(path.relative_to(root)) for root, path in roots if path.suffix != ".pyc"}
    assert len(needed) > 40
    assert needed <= wheel


def test_the_licence_travels_with_the_wheel(wheel: set[str]) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)


def test_the_source_distribution_holds_what_builds_and_tests_it_and_no_environment(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as content:
        names = content.getnames()
    tops = {name.split("/")[1] for name in names if "/" in name}
    assert {"plugin", "datasource", "tests", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= tops
    assert not tops & {".venv", ".cache", "dist"}
    assert not any("node_modules" in name or "__pycache__" in name for name in names)


def test_the_version_is_declared_once_more_and_alike() -> None:
    assert PROJECT["version"] == forewarn.__version__


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="forewarn")
    assert callable(command.load())


def test_each_dependency_is_used_and_each_import_is_declared() -> None:
    stated = {re.split(r"[^\w-]", line, maxsplit=1)[0].lower() for line in PROJECT["dependencies"]}
    declared = {MODULE_OF.get(name, name) for name in stated}
    imported = {i.top for m in PRODUCT for i in m.imports if not i.first_party and i.top not in sys.stdlib_module_names}
    assert {BROUGHT_BY.get(name, name) for name in imported - {"_typeshed"}} == declared
    assert all(re.search(r">=\d", line) for line in PROJECT["dependencies"]), "each dependency has a lowest version"


def test_the_installed_metadata_is_that_of_the_project() -> None:
    assert len([line for line in requires("forewarn") or () if "extra ==" not in line]) == len(PROJECT["dependencies"])


def defined_in(module: Module) -> set[str]:
    """The public names that a module binds itself, other than by importing."""
    names: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", DECLARING, ids=lambda m: m.name)
def test_public_names_are_sorted_exist_and_leave_none_out(module: Module) -> None:
    package = import_module(module.name)
    declared = list(package.__all__)
    assert declared == sorted(set(declared))
    assert all(hasattr(package, name) for name in declared)
    assert defined_in(module) <= set(declared)
    submodules = {m.name.rpartition(".")[2] for m in PRODUCT if m.name.rpartition(".")[0] == module.name}
    users = [i.name for m in PRODUCT for i in m.imports if not m.name.startswith(module.name + ".")]
    taken = {name.rpartition(".")[2] for name in users if name.rpartition(".")[0] == module.name}
    assert taken - submodules <= set(declared), "what others import from a package is one of its public names"


def test_some_packages_declare_their_public_names() -> None:
    assert {"forewarn", "forewarn.config", "forewarn_datasource"} <= {m.name for m in DECLARING}
