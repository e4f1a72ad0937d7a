"""The house rules of the code, as functions from parsed modules to a list of what breaks them.

Owns: what may import what, where vendors live, who reads the clock, how big and how named a module may be. Reads source only;
nothing is imported. `tests/test_architecture.py` applies the rules, and shows for each that it bites.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

NOUNS: Final = frozenset({"series", "detector", "forecast", "anomaly", "results", "connection", "pattern", "incident"})
ROOMS: Final = frozenset(
    {"sources", "history", "forecasting", "scoring", "patterns", "incidents", "knowledge", "stores", "notify", "simulation"}
)
ENTRY: Final = frozenset({"cli", "schedule", "service", "__main__"})
"""The outermost modules: they alone read the clock, and are imported by nobody but each other."""
SPINE: Final = frozenset({"noun", "ports", "errors", "blocks"})

MAY_IMPORT: Final[Mapping[str, frozenset[str]]] = {
    "root": frozenset(),
    "noun": frozenset({"noun"}),
    "errors": frozenset(),
    "blocks": frozenset({"errors"}),
    "ports": frozenset({"noun"}),
    "elastic": frozenset({"noun", "errors"}),
    "config": frozenset({"noun", "errors", "config"}),
    "flow": SPINE | {"flow"},
    "entry": SPINE | {"root", "flow", "config", "entry", "demo", "wiring", "datasource wiring"},
    "demo": SPINE | {"room simulation"},
    "datasource entry": frozenset({"noun", "errors", "config", "datasource wiring"}),
    "datasource": frozenset({"noun", "ports", "errors", "config", "predict", "datasource", "root"}),
}
"""Layer -> layers it may import. A room may import SPINE, the version and itself; the two wirings anything but ENTRY."""

_PROPHET: Final = r"forewarn\.forecasting\.\w+"
VENDORS: Final[Mapping[str, str]] = {
    "numpy": r".*",
    "msgspec": r"(?!forewarn\.(series|detector|forecast|anomaly|results|connection|ports)$).*",
    "elasticsearch": r"forewarn\.(elastic|sources\.elasticsearch\w*|stores\.elasticsearch\w*)",
    "elastic_transport": r"forewarn\.(elastic|sources\.elasticsearch\w*|stores\.elasticsearch\w*)",
    "prophet": _PROPHET,
    "pandas": _PROPHET,
    "holidays": _PROPHET,
    "duckdb": r"forewarn\.sources\.files?(_\w+)?",
    "flask": r"forewarn_datasource\..*",
    "werkzeug": r"forewarn_datasource\..*",
    "waitress": r"forewarn_datasource\..*",
    "prometheus_client": r"forewarn_datasource\..*",
    "apscheduler": r"forewarn\.schedule",
    "click": r"forewarn\.cli(\.\w+)?",
    "rich": r"forewarn\.cli(\.\w+)?",
    "yaml": r"forewarn\.(config\.\w+|knowledge\.loading)",
}
"""Vendor -> pattern of the modules that may import it. One that is not listed has no place here at all."""
STUBS: Final = frozenset({"_typeshed"})
"""Known to type checkers alone."""
ON_USE: Final = frozenset({"prophet", "pandas", "holidays"})
ONE_FILE: Final = frozenset({"prophet", "pandas"})
NEVER: Final = frozenset({"pickle", "shelve", "marshal"})

CLOCK: Final = re.compile(
    r"time\.(time|time_ns|ctime|localtime|gmtime|strftime)|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today"
)
CHANCE: Final = re.compile(
    r"random\.\w+|uuid\.uuid[14]|os\.urandom|secrets\.(token_\w+|randbelow|randbits|choice)"
    r"|numpy\.random\.(?!default_rng$|Generator$|SeedSequence$|PCG64$)\w+"
)
FORBIDDEN_WORDS: Final = frozenset(
    {"utils", "util", "helpers", "helper", "common", "core", "misc", "miscellaneous", "manager", "managers"}
)
MOST_LINES: Final = 400


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its text, and what it imports."""

    name: str
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> tuple["Import", ...]:
        """Everything it imports, wherever the statement stands; `if TYPE_CHECKING` counts."""
        return tuple(_imports(self, self.tree, local=False))

    @cached_property
    def calls(self) -> tuple[tuple[str, ast.expr], ...]:
        """The dotted names used, with the aliases of the imports resolved: `t.time` after `import time as t` is time.time."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {
                    a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0] for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                head, *rest = ast.unparse(node).split(".")
                if head in names and all(part.isidentifier() for part in rest):
                    found.append((".".join([names[head], *rest]), node))
        return tuple(found)


@dataclass(frozen=True)
class Import:
    """One imported module or member, as a dotted name."""

    name: str
    line: int
    local: bool
    """Inside a function."""

    @property
    def top(self) -> str:
        """The distribution-level name."""
        return self.name.partition(".")[0]

    @property
    def first_party(self) -> bool:
        """Whether it is ours."""
        return self.top in ("forewarn", "forewarn_datasource")


def _imports(module: Module, node: ast.AST, *, local: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, local) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parents = module.name.split(".")
                parents = parents[: len(parents) - child.level + module.is_package]
                base = ".".join([*parents, *([base] if base else [])])
            # A name imported from a package may be one of its modules: with it the rules see which.
            yield from (Import(f"{base}.{alias.name}", child.lineno, local) for alias in child.names)
        else:
            inside = local or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(module, child, local=inside)


def layer(name: str) -> str:
    """The layer of a module, or of a member of one, by its dotted name."""
    top, *rest = name.split(".")
    first = rest[0] if rest else ""
    if top == "forewarn_datasource":
        return {"wiring": "datasource wiring", "wsgi": "datasource entry"}.get(first, "datasource")
    if first in ROOMS:
        return "predict" if name.startswith("forewarn.forecasting.predict") else f"room {first}"
    if first in NOUNS:
        return "noun"
    if first in ENTRY:
        return "entry"
    if first in ("errors", "blocks", "ports", "elastic", "config", "demo", "wiring"):
        return first
    return "root" if first in ("", "__version__") else "flow"


def _may_import(importer: str, imported: str) -> bool:
    source, target = layer(importer), layer(imported)
    if source in ("wiring", "datasource wiring"):
        return target != "entry"
    if source == "predict" or source.startswith("room "):
        if target == "elastic":
            return bool(re.fullmatch(VENDORS["elasticsearch"], importer))
        room = "room " + importer.split(".")[1]
        return target in SPINE | {room, "root"} or (target == "predict" and room == "room forecasting")
    return target in MAY_IMPORT[source]


Rule = Callable[[list[Module]], list[str]]


def walls(modules: list[Module]) -> list[str]:
    """Nouns know nobody, ports know nouns, rooms know neither each other nor the configuration, adapters only the wirings."""
    return [
        f"{m.name}:{i.line} ({layer(m.name)}) imports {i.name} ({layer(i.name)})"
        for m in modules
        for i in m.imports
        if i.first_party and not _may_import(m.name, i.name)
    ]


def vendors_stay_put(modules: list[Module]) -> list[str]:
    """Each vendor is imported in its own place, prophet and pandas in one file and on use only; nothing unlisted, no pickle."""
    broken = []
    files: dict[str, set[str]] = {}
    for m in modules:
        for i in m.imports:
            if i.first_party or i.top in STUBS or (i.top in sys.stdlib_module_names and i.top not in NEVER):
                continue
            if i.top not in VENDORS or not re.fullmatch(VENDORS[i.top], m.name):
                broken.append(f"{m.name}:{i.line} imports {i.top}")
            if i.top in ON_USE and not i.local:
                broken.append(f"{m.name}:{i.line} imports {i.top} when it is loaded")
            if i.top in ONE_FILE:
                files.setdefault("prophet and pandas", set()).add(m.name)
    return broken + [f"{what} are imported in {sorted(names)}" for what, names in files.items() if len(names) > 1]


def nouns_need_only_numpy(modules: list[Module]) -> list[str]:
    """Nouns and ports need NumPy and the standard library, nothing else."""
    return [
        f"{m.name}:{i.line} imports {i.top}"
        for m in modules
        if layer(m.name) in ("noun", "ports", "errors")
        for i in m.imports
        if not i.first_party and i.top != "numpy" and i.top not in sys.stdlib_module_names
    ]


def time_is_an_argument(modules: list[Module]) -> list[str]:
    """Only ENTRY, and the datasource's wiring for a server of one's own, read the clock; monotonic durations are free."""
    return [
        f"{m.name}:{node.lineno} reads the clock: {name}"
        for m in modules
        if layer(m.name) not in ("entry", "datasource wiring")
        for name, node in m.calls
        if CLOCK.fullmatch(name)
    ]


def chance_is_an_argument(modules: list[Module]) -> list[str]:
    """Below ENTRY nobody draws from a global or unseeded generator."""
    broken = []
    for m in modules:
        if layer(m.name) == "entry":
            continue
        broken += [f"{m.name}:{node.lineno} draws {name}" for name, node in m.calls if CHANCE.fullmatch(name)]
        broken += [
            f"{m.name}:{node.lineno} makes an unseeded generator"
            for node in ast.walk(m.tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("default_rng")
            and not (node.args or node.keywords)
        ]
    return broken


def imports_stand_on_top(modules: list[Module]) -> list[str]:
    """First-party imports stand at the top of a module, except where the two wirings load what was chosen, and where an
    entry loads a wiring: `forewarn tick` need not wait for Flask.
    """
    return [
        f"{m.name}:{i.line} imports {i.name} inside a function"
        for m in modules
        if not layer(m.name).endswith("wiring")
        for i in m.imports
        if i.first_party and i.local and not (layer(m.name) == "entry" and layer(i.name).endswith("wiring"))
    ]


def modules_are_small(modules: list[Module]) -> list[str]:
    """No module is longer than MOST_LINES."""
    lengths = ((m.name, len(m.source.splitlines())) for m in modules)
    return [f"{name} has {length} lines" for name, length in lengths if length > MOST_LINES]


def names_say_something(modules: list[Module]) -> list[str]:
    """No module, package or class is named utils, helpers, common, core, misc or manager, or has such a word in its name."""
    broken = [m.name for m in modules if FORBIDDEN_WORDS & set(re.split(r"[._]", m.name.lower()))]
    for m in modules:
        for node in ast.walk(m.tree):
            if isinstance(node, ast.ClassDef) and FORBIDDEN_WORDS & {w.lower() for w in re.findall(r"[A-Z][a-z]+", node.name)}:
                broken.append(f"{m.name}:{node.lineno} class {node.name}")
    return broken


def modules_say_what_they_own(modules: list[Module]) -> list[str]:
    """Every module opens with a docstring."""
    return [m.name for m in modules if m.source.strip() and not ast.get_docstring(m.tree)]


RULES: Final[tuple[Rule, ...]] = (
    walls,
    vendors_stay_put,
    nouns_need_only_numpy,
    time_is_an_argument,
    chance_is_an_argument,
    imports_stand_on_top,
    modules_are_small,
    names_say_something,
    modules_say_what_they_own,
)


def modules_below(root: Path) -> list[Module]:
    """All modules below a source root, sorted by name; a package goes by its own name."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text(encoding="utf-8"), is_package))
    return found
