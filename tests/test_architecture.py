"""Who may import whom, read from the import statements; and names that would break scripts run in place."""

import ast
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("eg3d", "l2cs", "dataset_preprocessing")

# What each part may import from this repository, besides itself. A part is a package or module below `eg3d`, or `l2cs`.
LEAVES = {"eg3d.files", "eg3d.draws"}
MAY_IMPORT = {
    "l2cs": set(),
    "eg3d.files": {"l2cs"},
    "eg3d.draws": set(),
    "eg3d.cameras": set(),
    "eg3d.ops": set(),
    "eg3d.cli": {"eg3d.cameras", "eg3d.files", "eg3d.models", "eg3d.ops", "l2cs"},
    "eg3d.distributed": {"l2cs"},
    "eg3d.processes": {"eg3d.cli", "eg3d.distributed", "eg3d.ops"},
    "eg3d.pictures": {"eg3d.files"},
    "eg3d.shapes": LEAVES,
    "eg3d.video": {"eg3d.cameras", "eg3d.files", "eg3d.models", "eg3d.pictures", "eg3d.views"},
    "eg3d.report": {"eg3d.files", "eg3d.metrics", "eg3d.pictures", "eg3d.views"},
    "eg3d.landmarks": {"eg3d.cameras"},
    "eg3d.world": {"eg3d.cameras", "eg3d.landmarks"} | LEAVES,
    "eg3d.rendering": {"eg3d.ops", "eg3d.cameras", "eg3d.draws"},
    "eg3d.models": {"eg3d.rendering", "eg3d.ops", "eg3d.cameras", "eg3d.draws"},
    "eg3d.gaze": {"l2cs", "eg3d.cameras", "eg3d.draws"},
    "eg3d.views": {"eg3d.models", "eg3d.cameras", "eg3d.draws"},
    "eg3d.metrics": {"eg3d.files", "eg3d.landmarks", "eg3d.gaze", "eg3d.cameras", "l2cs"},
    "eg3d.embedded": {"eg3d.metrics", "eg3d.world", "eg3d.cameras", "l2cs"} | LEAVES,
    "eg3d.evaluation": {
        "eg3d.distributed", "eg3d.download", "eg3d.metrics", "eg3d.models", "eg3d.processes", "eg3d.training",
        "eg3d.views",
    } | LEAVES,
    "eg3d.run_scores": {
        "eg3d.config", "eg3d.distributed", "eg3d.evaluation", "eg3d.files", "eg3d.metrics", "eg3d.models",
        "eg3d.training",
    },
    "eg3d.all_scores": {
        "eg3d.distributed", "eg3d.evaluation", "eg3d.metrics", "eg3d.pictures", "eg3d.processes", "eg3d.views",
    },
    "eg3d.augmentation": set(),
    "eg3d.config": {"eg3d.augmentation", "eg3d.cameras", "eg3d.gaze"},
    "eg3d.presets": {"eg3d.cameras", "eg3d.config", "eg3d.gaze"},
    "eg3d.flags": {"eg3d.config", "eg3d.gaze", "eg3d.metrics", "eg3d.presets"},
    "eg3d.model_card": {"eg3d.cameras", "eg3d.gaze", "eg3d.metrics", "eg3d.views", "eg3d.world", "l2cs"},
    "eg3d.upstream_pickle": {"l2cs"} | LEAVES,
    "eg3d.stored": {"eg3d.models", "eg3d.rendering", "l2cs"},
    "eg3d.snapshot": {"eg3d.stored", "l2cs"} | LEAVES,
    "eg3d.published": {"eg3d.stored", "eg3d.upstream_pickle", "eg3d.rendering", "l2cs"} | LEAVES,
    "eg3d.checkpoint": {"eg3d.models", "eg3d.stored", "eg3d.snapshot", "eg3d.published", "eg3d.download"} | LEAVES,
    "eg3d.download": {"eg3d.files"},
    "eg3d.training": {
        "eg3d.models", "eg3d.ops", "eg3d.cameras", "eg3d.gaze", "eg3d.views", "eg3d.metrics", "eg3d.checkpoint",
        "eg3d.config", "eg3d.distributed", "eg3d.pictures", "l2cs", "eg3d.rendering",
        "eg3d.augmentation",
    } | LEAVES,
    "dataset_preprocessing": {"eg3d", "l2cs"},
}  # fmt: skip


def sources() -> dict[str, Path]:
    """Dotted name -> file, of every module of the three packages."""
    files = (file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py")))
    return {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): file for file in files
    }


SOURCES = sources()
SCRIPTS = {name for name, file in SOURCES.items() if "click.command(" in file.read_text()}


def imports_of(name: str) -> set[str]:
    """Dotted names of this repository's modules that a module imports, inside functions too."""
    tree = ast.parse(SOURCES[name].read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import; write the full name"
            # `from eg3d import cameras` names a module, `from eg3d.cameras import make_label` does not
            found |= {full if (full := f"{node.module}.{a.name}") in SOURCES else node.module for a in node.names}
    return {module for module in found if module.split(".")[0] in PACKAGES}


def part_of(name: str) -> str:
    """`eg3d.models.generator` -> `eg3d.models`; `l2cs.model` -> `l2cs`."""
    return ".".join(name.split(".")[:2]) if name.startswith("eg3d.") else name.split(".")[0]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_imports_point_only_where_the_table_allows(name):
    if name == "eg3d" or name in SCRIPTS:
        return
    part = part_of(name)
    assert part in MAY_IMPORT, f"{part} is in no row of MAY_IMPORT; decide what it may import"
    for module in imports_of(name):
        target = part_of(module)
        allowed = target == part or target in MAY_IMPORT[part] or target.split(".")[0] in MAY_IMPORT[part]
        assert allowed, f"{name} imports {module}, which {part} may not"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_module_imports_a_script(name):
    assert not imports_of(name) & SCRIPTS - {name}


def test_the_rule_would_catch_a_wrong_import():
    # the table itself must say no to the imports that matter most, or the tests above prove nothing
    assert "eg3d" not in MAY_IMPORT["l2cs"] and "eg3d.cameras" not in MAY_IMPORT["l2cs"]
    assert not MAY_IMPORT["eg3d.ops"] and "eg3d.training" not in MAY_IMPORT["eg3d.gaze"]
    assert {"eg3d.gaze", "eg3d.files"} <= imports_of("dataset_preprocessing.selection")
    assert "eg3d.cameras" in imports_of("eg3d.gaze") and "dataset_preprocessing.filter_by_gaze" in SCRIPTS


def test_no_module_shadows_a_standard_or_third_party_one():
    # `python eg3d/x.py` puts eg3d/ first on the path, so eg3d/random.py would be everybody's `random`
    third_party = {
        "torch", "torchvision", "numpy", "scipy", "PIL", "click", "tqdm", "safetensors", "matplotlib", "imageio",
        "trimesh", "skimage", "embreex", "pytest", "l2cs", "triton", "sympy", "networkx", "jinja2",
    }  # fmt: skip
    taken = set(sys.stdlib_module_names) | third_party
    script_folders = {SOURCES[name].parent for name in SCRIPTS}
    for folder in script_folders:
        for entry in folder.iterdir():
            if entry.suffix == ".py" or (entry.is_dir() and any(entry.glob("*.py"))):
                assert entry.stem not in taken, f"{entry.relative_to(REPOSITORY)} shadows the module {entry.stem}"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_module_edits_the_path_or_names_a_machine_folder(name):
    text = SOURCES[name].read_text()
    for forbidden in ("sys.path", "/home/", "/root/", "/work/"):
        assert forbidden not in text, f"{name} contains {forbidden}"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_module_is_a_drawer_for_odds_and_ends(name):
    assert name.split(".")[-1] not in {"utils", "misc", "helpers", "common"}
