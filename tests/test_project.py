"""The shape of the project: which package imports which, sizes of files, and that SPEC.md is up to date."""

import ast
import functools
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastmark
import fastmark.detection

PACKAGE = Path(fastmark.__file__).parent
SPEC = (PACKAGE / "SPEC.md").read_text(encoding="utf-8")

# Modules and packages of fastmark, from the lowest on. Each imports from the layers below, and from itself.
# ARCHITECTURE.md draws the same.
LAYERS = (
    {"_version", "errors", "_unchanging", "kernels"},
    {"_imports"},
    {"_checks", "_threads", "fft", "records", "results"},
    {"warming"},
    {"explanations", "locations"},
    {"images", "codec", "registry"},  # none knows another
    {"provenance"},
    {"companions", "detection"},
    {"embedding"},  # looks at its work with the detector's eyes
    {"batches"},
    {"watermarker"},
    {"detector", "public"},
    {"checking", "delivery"},
    {"bulk", "service"},
    {"integrations", "reporting"},
    {"doctor"},
    {"cli"},
    {"__main__"},
)
OPTIONAL = {"pyarrow", "fsspec", "tqdm", "ray", "pillow_heif", "pillow_jxl"}
OPTIONAL |= {"sqlalchemy", "alembic", "imagehash", "c2pa", "cryptography"}
OPTIONAL |= {"torch", "diffusers", "datasets", "webdataset", "datadiligence", "httpx"}
SERVE = {"fastapi", "starlette", "uvicorn", "httptools", "python_multipart", "pydantic", "pydantic_settings"}
SERVE |= {"prometheus_client", "limits", "jwt", "jinja2", "httpcore", "anyio"}
# `service` needs these everywhere, and is itself imported when it is needed.

# Privates of others that are used, and why.
PILLOW = "Pillow's decoders have no public way to this, see the comments there"
ALLOWED_PRIVATES = {
    ("bulk", "os._exit"): "documented, in spite of its name",
    ("cli", "argparse._ArgumentGroup"): "the type has no other name",
    (
        "kernels",
        "dispatcher._cache",
    ): "numba has no public way to a cache of one's own, see the comment there",
    ("images", "decoder._reload_exif"): PILLOW,
    ("images", "decoder._im"): PILLOW,
    ("images", "decoder._tile_size"): PILLOW,
    ("images", "decoder._frame_transparency"): PILLOW,
    ("images", "decoder._size"): PILLOW,
    ("images", "image._mode"): PILLOW,
    ("images", "image._tile_size"): PILLOW,
    ("images", "image._compression"): PILLOW,
    ("images", "Image._getdecoder"): PILLOW,
    ("images", "ImageFile._Tile"): PILLOW,
}

MAX_FILE_LINES, MAX_KERNEL_LINES = 400, 60
LONG_FILES = {"watermarker.py": "overloads for arrays and images, one for each kind of result"}
LONG_KERNELS: dict[str, str] = {}


# ---- reading the sources ---------------------------------------------------------------------------------


def modules():
    """Every module by its dotted name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


@functools.cache
def tree(name):
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def nodes_that_run(node, *, late=True):
    """All nodes but those for type checkers; without ``late``, but those in functions as well."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from nodes_that_run(other, late=late)
        elif late or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from nodes_that_run(child, late=late)


def imports(name, *, late=True):
    """What a module imports: dotted name of a module, and the name taken from it or None."""
    for node in nodes_that_run(tree(name), late=late):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                yield node.module, alias.name


def modules_imported(name):
    """The modules of fastmark that a module imports; names of the package itself stand for their modules."""
    for module, taken in imports(name):
        if module.partition(".")[0] == "fastmark":
            if f"{module}.{taken}" in MODULES:
                yield f"{module}.{taken}"
            elif module == "fastmark" and taken in fastmark._HOME:
                yield f"fastmark.{fastmark._HOME[taken]}"
            else:
                yield module


def top(name):
    """The module or package directly in fastmark, or None for the face itself."""
    return name.split(".")[1] if "." in name else None


def private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


# ---- imports ---------------------------------------------------------------------------------------------


def test_every_module_has_its_layer():
    assert sum(len(layer) for layer in LAYERS) == len(set().union(*LAYERS))
    assert {top(name) for name in MODULES} - {None} == set().union(*LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    height = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    if name == "fastmark":  # imports everything else when it is asked for
        assert {top(module) for module in modules_imported(name)} == {"_version"}
        return
    for module in modules_imported(name):
        below = module != "fastmark" and height[top(module)] < height[top(name)]
        assert below or top(module) == top(name), f"{name} imports {module}, which is not below it"


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: set(modules_imported(name)) - {name, "fastmark"} for name in MODULES}
    while leaves := {name for name, imported in graph.items() if not imported}:
        graph = {name: imported - leaves for name, imported in graph.items() if name not in leaves}
    # what is left lies on a circle, or imports one
    assert not graph


@pytest.mark.parametrize("name", MODULES)
def test_no_module_uses_the_privates_of_another(name):
    own = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if ast.unparse(node.value) in ("self", "cls"):
                own.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            own.add(node.value)  # __slots__
    for node in nodes_that_run(tree(name)):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            used = ast.unparse(node)
            inherited = ast.unparse(node.value) in ("self", "cls")
            assert inherited or (top(name), used) in ALLOWED_PRIVATES, f"{name}, line {node.lineno}: {used}"
    for module, taken in imports(name):
        if taken is not None and private(taken):
            assert f"{module}.{taken}" in MODULES, f"{name} imports {taken} of {module}"


def test_no_exception_for_privates_is_left_over():
    used = {
        (top(name), ast.unparse(node))
        for name in MODULES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute)
    }
    assert set(ALLOWED_PRIVATES) <= used


@pytest.mark.parametrize("name", MODULES)
def test_optional_packages_are_imported_when_they_are_needed(name):
    at_once = {module.partition(".")[0] for module, _ in imports(name, late=False)}
    assert not at_once & OPTIONAL
    if top(name) != "service":
        assert not at_once & SERVE
        needed = {module for module, _ in imports(name, late=False) if module.startswith("fastmark.service")}
        assert not needed, "the service's packages are an extra: import it when it is needed"


# ---- sizes -----------------------------------------------------------------------------------------------


def test_files_are_short():
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES.values()
    }
    long = {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES}
    assert set(long) == set(LONG_FILES), long


def test_kernels_are_short():
    long = {}
    for name in MODULES:
        if top(name) == "kernels":
            for node in tree(name).body:
                if isinstance(node, ast.FunctionDef):
                    lines = node.end_lineno - node.lineno + 1
                    if lines > MAX_KERNEL_LINES:
                        long[f"{name.rpartition('.')[2]}.{node.name}"] = lines
    assert set(long) == set(LONG_KERNELS), long


# ---- the specification -----------------------------------------------------------------------------------


def constant(name):
    """A constant of the detection package, wherever in it that is, and whether or not it is private."""
    values = set()
    for found in pkgutil.iter_modules(fastmark.detection.__path__):
        module = vars(importlib.import_module(f"fastmark.detection.{found.name}"))
        values |= {module[spelled] for spelled in (name, f"_{name}") if spelled in module}
    assert len(values) == 1, f"{name} stands for {values} in fastmark.detection"
    return values.pop()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (r"-([\d.]+), [\d.]+\) / v`", ["SCORE_LIMIT"]),
        (r"and the floor is ([\d.]+)\.", ["SCORE_FLOOR"]),
        (
            r"reaches ([\d.]+) sigmas, or ([\d.]+) if it is strained and turned",
            ["LEAST_FINE", "LEAST_STRAINED"],
        ),
        (r"candidate that then reaches ([\d.]+) sigmas", ["LEAST_REFINED"]),
        (r"does not reach ([\d.]+) sigmas by the first moves", ["PROMISING_PEAK"]),
        (
            r"48 do not reach ([\d.]+) sigmas at any scale, or 96 not ([\d.]+), or 192 not ([\d.]+),",
            ["PROMISING_ROW", "PROMISING_MORE", "PROMISING_MOST"],
        ),
        (r"at most (\d+) samples per side\)", ["TINY_LEVEL"]),
        (r"for planes of (\d+) samples per side or more half of that", ["FINE_FROM"]),
        (r"A plane of at least (\d+) samples either way is scanned", ["HALVED_FROM"]),
        (r"Scales are sought from ([\d.]+) to (\d+) samples per unit", ["PLAN_LEAST_SCALE", "MAX_SCALE"]),
        (r"strained pictures from ([\d.]+) to ([\d.]+)\.", ["LEAST_WIDE", "MOST_WIDE"]),
        (
            r"agrees by ([\d.]+) standard deviations or more if the tones' power exceeds .{11} by ([\d.]+)",
            ["PILOT_AGREES", "PILOT_SHOWS"],
        ),
        (r"or is at (-[\d.]+) standard deviations", ["TONES_MISSING"]),
        (
            r"where it exceeds the noise's by ([\d.]+) .{19}, or by ([\d.]+) in .{11} at most (\d+) samples",
            ["WORTH_A_CROP", "WORTH_A_SMALL_CROP", "SMALL"],
        ),
        (r"whose tones show ([\d.]+) sigmas in the scan", ["SHOWN"]),
        (r"Where tones show ([\d.]+) sigmas, or phases", ["SHOWN_WELL"]),
        (r"reach z = ([\d.]+) at an origin, or z = ([\d.]+) at a", ["ORIGIN_SCORE", "SHIFT_SCORE"]),
        (
            r"range over less than (\d+) grey levels.{40,70} of which ([\d.]+) range over (\d+) or more",
            ["RANGE_OF_FLAT", "BUSY", "RANGE_OF_BUSY"],
        ),
        (
            r"short side under (\d+) pixels, or of more than ([\d.]+) of the canvas",
            ["LEAST_BUSY_SIDE", "MOST_OF_CANVAS"],
        ),
        (r"has at most (\d+) of them", ["MOST_BUSY_SIDE"]),
        (r"are read if that z is ([\d.]+)\. ", ["DENSE_SCORE"]),
    ],
)
def test_thresholds_of_section_9_are_those_of_the_code(text, names):
    _, _, section = SPEC.partition("\n## 9. ")
    section, _, _ = section.partition("\n## 10. ")
    (found,) = re.finditer(text, re.sub(r"\s+", " ", section))
    assert [float(number) for number in found.groups()] == [constant(name) for name in names]


# ---- the checks ------------------------------------------------------------------------------------------


def test_workflows_run_every_leg_and_no_other():
    root = PACKAGE.parent
    script = (root / ".ci" / "run").read_text(encoding="utf-8")
    legs = set(re.search(r"^ALL=\((.*)\)$", script, re.M)[1].split())
    assert set(re.findall(r"^leg_(\w+)\(\)", script, re.M)) == legs
    assert set(re.findall(r"^#   (\w+)  ", script, re.M)) == legs
    workflows = "\n".join(
        path.read_text(encoding="utf-8") for path in (root / ".github" / "workflows").glob("*.yml")
    )
    run = set(re.findall(r"\.ci/run (\w+)", workflows))
    run |= set(re.search(r"^ +leg: \[(.*)\]$", workflows, re.M)[1].split(", "))
    assert run == legs


def test_scripts_and_results_that_texts_name_are_there():
    root = PACKAGE.parent
    texts = [
        root / "README.md",
        root / "benchmarks" / "README.md",
        *PACKAGE.rglob("*.md"),
        *PACKAGE.rglob("*.py"),
    ]
    named = {
        (text.name, name)
        for text in texts
        for name in re.findall(r"\b(?:benchmarks|tests)/[\w/.-]*\w\.\w+\b", text.read_text(encoding="utf-8"))
    }
    assert ("PAPER.md", "benchmarks/readme_table.py") in named
    assert sorted(pair for pair in named if not (root / pair[1]).exists()) == []
