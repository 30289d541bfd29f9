"""Who may import whom, read from the import statements; and names that would break scripts run in place."""

import ast
import functools
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("groundwork", "l2cs", "eg3d", "dataset_preprocessing", "redirection")

FLOOR = "groundwork"

# What each room may import from this repository, besides itself. A room is a folder of `eg3d`, or another package.
MAY_IMPORT = {
    FLOOR: set(),
    "l2cs": {FLOOR},
    "eg3d.ops": {FLOOR},
    "eg3d.geometry": {FLOOR},
    "eg3d.rendering": {FLOOR, "eg3d.ops", "eg3d.geometry"},
    "eg3d.models": {FLOOR, "eg3d.ops", "eg3d.geometry", "eg3d.rendering"},
    "eg3d.faces": {FLOOR, "eg3d.geometry"},
    "eg3d.gaze": {FLOOR, "l2cs", "eg3d.geometry", "eg3d.faces"},
    "eg3d.world": {FLOOR, "eg3d.geometry"},
    "eg3d.data": {FLOOR, "eg3d.geometry", "eg3d.world"},
    "eg3d.metrics": {FLOOR, "l2cs", "eg3d.geometry", "eg3d.faces", "eg3d.gaze"},
    "eg3d.config": {FLOOR, "eg3d.ops", "eg3d.geometry", "eg3d.gaze", "eg3d.metrics", "eg3d.rendering", "eg3d.models"},
    "eg3d.checkpoints": {FLOOR, "eg3d.ops", "eg3d.geometry", "eg3d.models", "eg3d.rendering"},
    "eg3d.pictures": {FLOOR, "eg3d.geometry", "eg3d.models", "eg3d.metrics"},
    "eg3d.running": {FLOOR, "eg3d.ops", "eg3d.pictures"},
    "eg3d.training": {FLOOR, "eg3d.ops", "eg3d.geometry", "eg3d.models", "eg3d.gaze", "eg3d.data", "eg3d.config",
                      "eg3d.checkpoints", "eg3d.metrics", "eg3d.pictures", "eg3d.running"},
    "eg3d.scores": {FLOOR, "eg3d.geometry", "eg3d.gaze", "eg3d.models", "eg3d.world", "eg3d.data", "eg3d.config",
                    "eg3d.checkpoints", "eg3d.metrics", "eg3d.pictures", "eg3d.running", "eg3d.training"},
    "eg3d.world.training": {FLOOR, "l2cs", "eg3d.geometry", "eg3d.gaze", "eg3d.metrics", "eg3d.pictures", "eg3d.world"},
    "dataset_preprocessing": {FLOOR, "eg3d", "l2cs"},
    "redirection": {FLOOR, "l2cs", "eg3d", "dataset_preprocessing"},
}  # fmt: skip


def sources() -> dict[str, Path]:
    """Dotted name -> file, of every module of the packages."""
    files = (file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py")))
    return {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): file for file in files
    }


SOURCES = sources()
SCRIPTS = {name for name, file in SOURCES.items() if "click.command(" in file.read_text() or file.stem == "__main__"}


@functools.cache
def imports_of(name: str) -> frozenset[str]:
    """Dotted names of this repository's modules that a module imports, inside functions too."""
    tree = ast.parse(SOURCES[name].read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import; write the full name"
            # `from eg3d import cameras` names a module, `from eg3d.geometry.cameras import make_label` does not
            found |= {full if (full := f"{node.module}.{a.name}") in SOURCES else node.module for a in node.names}
    return frozenset(module for module in found if module.split(".")[0] in PACKAGES)


def room_of(name: str) -> str:
    """`eg3d.models.generator` -> `eg3d.models`; `l2cs.model` -> `l2cs`; what is trained in the world has its own."""
    if name.startswith("eg3d.world.training"):
        return "eg3d.world.training"
    return ".".join(name.split(".")[:2]) if name.startswith("eg3d.") else name.split(".")[0]


def rooms_entered(name: str) -> dict[str, str]:
    """The other rooms that a module imports from, each with one module of it."""
    return {room_of(module): module for module in imports_of(name) if room_of(module) != room_of(name)}


LIBRARY = sorted(name for name in SOURCES if name != "eg3d" and name not in SCRIPTS)


# The tests below look at all modules in one test, not in one test each: a thousand tests take longer than their work.
def test_imports_point_only_where_the_table_allows():
    wrong = []
    for name in LIBRARY:
        room = room_of(name)
        assert room in MAY_IMPORT, f"{room} is in no row of MAY_IMPORT; decide what it may import"
        for target, module in rooms_entered(name).items():
            if target not in MAY_IMPORT[room] and target.split(".")[0] not in MAY_IMPORT[room]:
                wrong.append(f"{name} imports {module}, which {room} may not")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_at_most_20_rows_and_allows_nothing_that_no_module_needs():
    assert len(MAY_IMPORT) <= 20
    needed: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for name in LIBRARY:
        needed[room_of(name)] |= set(rooms_entered(name))
    for room, allowed in MAY_IMPORT.items():
        for target in allowed:
            used = any(other == target or other.startswith(f"{target}.") for other in needed[room])
            assert used, f"{room} may import {target}, but does not; take it out of the table"


def test_arrows_run_one_way():
    below: dict[str, set[str]] = {}
    for room in MAY_IMPORT:  # each row may only name rows above it, so there can be no circle
        for target in MAY_IMPORT[room]:
            assert target in below or target == "eg3d", f"{room} may import {target}, which stands below it"
        below[room] = MAY_IMPORT[room]


def test_the_commands_are_in_eg3d_and_everything_else_in_a_folder():
    for file in sorted((REPOSITORY / "eg3d").glob("*.py")):
        if file.stem not in ("__init__", "__main__"):
            assert f"eg3d.{file.stem}" in SCRIPTS, f"{file.name} is no command; put it into the folder of its noun"


# Commands of two packages may have one name, and a command that of the folder or file that does its work.
def test_no_file_name_means_two_things():
    places: dict[str, list[str]] = {}
    for name in LIBRARY:
        if SOURCES[name].stem != "__init__":
            places.setdefault(name.split(".")[-1].removesuffix("s"), []).append(name)
    for names in places.values():
        assert len(names) == 1, f"two files of one name: {', '.join(names)}"


def test_no_module_imports_a_script():
    wrong = {name: scripts for name in SOURCES if (scripts := imports_of(name) & SCRIPTS - {name})}
    assert not wrong, wrong


def test_every_script_begins_with_what_makes_one_line_of_a_stop_during_its_imports():
    block = 'if __name__ == "__main__":\n    from groundwork.early import begin\n\n    begin()\n\n'
    for name in SCRIPTS - {"eg3d.__main__"}:
        text = SOURCES[name].read_text()
        assert text.partition('"""\n\n')[2].startswith(block), f"{name}: its first lines are to be\n{block}"


def test_tests_lie_in_folders_that_mirror_those_of_the_code():
    tests = REPOSITORY / "tests"
    for folder in {file.parent.relative_to(tests) for file in tests.rglob("test_*.py")} - {Path("."), Path("gpu")}:
        mirrored = (REPOSITORY / "eg3d" / folder).is_dir() or (REPOSITORY / folder).is_dir()
        assert mirrored, f"tests/{folder} mirrors no folder of the code"


def test_the_rule_would_catch_a_wrong_import():
    # the table itself must say no to the imports that matter most, or the tests above prove nothing
    assert MAY_IMPORT["l2cs"] == {FLOOR} and not MAY_IMPORT[FLOOR]
    assert MAY_IMPORT["eg3d.ops"] == {FLOOR} and "eg3d.training" not in MAY_IMPORT["eg3d.gaze"]
    assert {"eg3d.gaze.term", "groundwork.files"} <= imports_of("dataset_preprocessing.selection")
    assert "eg3d.geometry.cameras" in imports_of("eg3d.gaze.term") and "dataset_preprocessing.filter_by_gaze" in SCRIPTS


def test_no_module_shadows_a_standard_or_third_party_one():
    # `python eg3d/x.py` puts eg3d/ first on the path, so eg3d/random.py would be everybody's `random`
    third_party = {
        "torch", "torchvision", "numpy", "scipy", "PIL", "click", "tqdm", "safetensors", "matplotlib", "imageio",
        "trimesh", "skimage", "embreex", "pytest", "l2cs", "groundwork", "triton", "sympy", "networkx", "jinja2",
    }  # fmt: skip
    taken = set(sys.stdlib_module_names) | third_party
    script_folders = {SOURCES[name].parent for name in SCRIPTS}
    for folder in script_folders:
        for entry in folder.iterdir():
            if entry.suffix == ".py" or (entry.is_dir() and any(entry.glob("*.py"))):
                assert entry.stem not in taken, f"{entry.relative_to(REPOSITORY)} shadows the module {entry.stem}"


def test_no_module_edits_the_path_or_names_a_machine_folder():
    for name, file in SOURCES.items():
        text = file.read_text()
        for forbidden in ("sys.path", "/home/", "/root/", "/work/"):
            assert forbidden not in text, f"{name} contains {forbidden}"


def test_json_is_read_in_one_place():
    readers = {name for name, file in SOURCES.items() if "json.load" in file.read_text()}
    assert readers == {"groundwork.strict_json"}, f"{readers}: read JSON by groundwork.strict_json, which bounds it"


def test_no_module_is_a_drawer_for_odds_and_ends():
    for name in SOURCES:
        assert name.split(".")[-1] not in {"utils", "misc", "helpers", "common"}, name
