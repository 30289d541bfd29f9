"""One command for all scripts: `eg3d SCRIPT ...`, or `python -m eg3d SCRIPT ...`.

Nothing is imported but the script that is asked for; the list of scripts is read from their texts.
"""

import ast
import difflib
import importlib
import shutil
import sys
from importlib.util import find_spec

from groundwork.early import begin

SCRIPTS = {  # heading: modules, each a file that can also be run by itself
    "Training": ("eg3d.train", "eg3d.demo", "eg3d.make_embedded"),
    "Pictures": (
        "eg3d.gen_samples", "eg3d.gen_samples_compare", "eg3d.gen_samples_pose", "eg3d.gen_good_samples",
        "eg3d.gen_videos", "eg3d.viewer", "eg3d.invert",
    ),
    "Scores": ("eg3d.calc_gfas", "eg3d.calc_metrics", "eg3d.calc_id", "eg3d.calc_pose", "eg3d.calc_gaze_control",
               "eg3d.calc_all"),
    "Checkpoints and machine": ("eg3d.convert", "eg3d.inspect_checkpoint", "eg3d.doctor"),
    "Data sets": (
        "dataset_preprocessing.dataset_tool", "dataset_preprocessing.check_dataset",
        "dataset_preprocessing.filter_by_gaze", "dataset_preprocessing.mirror_dataset",
        "dataset_preprocessing.rebalance_dataset",
        "dataset_preprocessing.ffhq.preprocess_in_the_wild", "dataset_preprocessing.ffhq.preprocess_ffhq",
        "dataset_preprocessing.synthetic.make_faces", "dataset_preprocessing.synthetic.make_gaze",
        "dataset_preprocessing.synthetic.make_mpii",
        "dataset_preprocessing.synthetic.make_mean_mesh",
    ),
    "Novel views": (
        "dataset_preprocessing.nv_rendering.recon_mpii", "dataset_preprocessing.nv_rendering.main",
        "dataset_preprocessing.nv_rendering.render", "dataset_preprocessing.nv_rendering.readh5",
        "dataset_preprocessing.nv_rendering.normalize", "dataset_preprocessing.nv_rendering.show_novel_views",
    ),
    "Gaze redirection": (
        "redirection.crop_eyes", "redirection.interpgaze.train", "redirection.interpgaze.redirect",
        "redirection.interpgaze.test_selected_curve", "redirection.interpgaze.attribute_manipulation",
        "redirection.interpgaze.export_pth", "redirection.he2019.run", "redirection.deepwarp.train",
        "redirection.deepwarp.redirect",
        "redirection.train_judge", "redirection.evaluate", "redirection.show_redirection",
    ),
    "Gaze correction of faces": (
        "redirection.gaze_animation.prepare", "redirection.gaze_animation.pretrain",
        "redirection.gaze_animation.train", "redirection.gaze_animation.test", "redirection.gaze_animation.correct",
        "redirection.gaze_animation.animate", "redirection.gaze_animation.calibrate",
        "redirection.gaze_animation.show_correction", "redirection.evaluate_faces",
        "redirection.train_face_judge",
    ),
    "Gaze networks": ("l2cs.train", "l2cs.evaluate", "l2cs.demo"),
}  # fmt: skip


def name_of(module: str) -> str:
    """`eg3d.gen_samples` -> `gen-samples`; with a prefix if that says too little: `l2cs-train`, `nv-main`."""
    package, *folders, script = module.split(".")
    prefix = "l2cs-" if package == "l2cs" else "nv-" if script in ("main", "render") else ""
    if package == "redirection" and folders:
        prefix = f"{folders[0]}-"
    return (prefix + script).replace("_", "-")


MODULES = {name_of(module): module for modules in SCRIPTS.values() for module in modules}


def main() -> None:
    """Runs the script that the first argument names, with the other arguments; ends with its exit code."""
    begin()
    import click  # here: what stops this is one line now

    from groundwork.command import Command, fail, package_version

    asked, *arguments = sys.argv[1:] or ["--help"]
    if asked in ("-h", "--help", "--version"):
        text = f"gaze-corrected-eg3d {package_version()}" if asked == "--version" else overview()
        Command("eg3d", callback=lambda: click.echo(text)).main([])
    name = asked.replace("_", "-")
    if name not in MODULES:
        near = difflib.get_close_matches(name, MODULES, 1)
        fail(f"there is no script '{asked}'; {f'did you mean {near[0]}?' if near else 'eg3d --help lists them'}")
    command = f"eg3d {name}"
    sys.argv = [command, *arguments]  # scripts note their arguments in what they write
    importlib.import_module(MODULES[name]).main(prog_name=command)


def overview() -> str:
    """The text of `eg3d --help`."""
    lines = ["Usage: eg3d SCRIPT [OPTIONS]", "", "  Gaze-Corrected EG3D. `eg3d SCRIPT --help` explains a script."]
    name_width, columns = max(map(len, MODULES)), shutil.get_terminal_size((200, 0)).columns
    for heading, modules in SCRIPTS.items():
        rows = (f"  {name_of(module):<{name_width}}  {summary(module)}" for module in modules)
        lines += ["", f"{heading}:", *(row if len(row) <= columns else f"{row[: columns - 3]}..." for row in rows)]
    return "\n".join(lines)


def summary(module: str) -> str:
    """The first line of a module's docstring, read without importing the module."""
    with open(find_spec(module).origin, encoding="utf-8") as file:
        return ast.get_docstring(ast.parse(file.read())).split("\n")[0]


if __name__ == "__main__":
    main()
