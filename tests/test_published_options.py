"""Every option that the published scripts know, against ours: it has the same effect, or one line says why it has none.

The table has the published spelling and a published value of each. `...` stands for a flag without a value. The
scripts for data sets that are not here, and what does their work, are in docs/published_scripts.md.
"""

import importlib
import re

import click
import pytest
from click.testing import CliRunner

from eg3d.__main__ import MODULES, SCRIPTS
from eg3d.config.flags import TABLE
from eg3d.running import cli
from groundwork.command import SWITCH, Command, one_spelling, without_effect

VIEW = {"--network": "x.pkl", "--trunc": "0.7", "--trunc-cutoff": "14", "--fov-deg": "18.837"}
DRAWING = {"--class": "3", "--reload_modules": "True"}
SHAPES = {"--shapes": "True", "--shape-res": "512", "--shape-format": ".mrc"}
GAZE_SETS = {
    "--gaze360image_dir": "datasets/Gaze360/Image", "--gaze360label_dir": "datasets/Gaze360/Label/train.label",
    "--gazeMpiimage_dir": "datasets/MPIIFaceGaze/Image", "--gazeMpiilabel_dir": "datasets/MPIIFaceGaze/Label",
    "--dataset": "gaze360",
}  # fmt: skip
SHEETS = {
    "-gpu": "0", "-bs": "1", "--batch_size": "1", "--data_dir": "dataset/all", "--attr": "0P@15P,L@R",
    "--dec_type": "v2", "-sp": "results", "--save_dir": "results", "-mp": "checkpoints/Gaze",
    "--model_path": "checkpoints/Gaze", "--pth_label": "latest", "--test_folder": "eyes", "--n_test": "10",
}  # fmt: skip
PUBLISHED = {
    "eg3d.train": {
        "--outdir": "runs", "--cfg": "ffhq", "--data": "x.zip", "--gpus": "8", "--batch": "32", "--gamma": "1",
        "--cond": "True", "--mirror": "False", "--aug": "noaug", "--resume": "x.pkl", "--freezed": "0", "--p": "0.2",
        "--target": "0.6", "--batch-gpu": "4", "--cbase": "32768", "--cmax": "512", "--glr": "0.0025",
        "--dlr": "0.002", "--map-depth": "2", "--mbstd-group": "4", "--desc": "first", "--metrics": "fid50k_full",
        "--kimg": "25000", "--tick": "4", "--snap": "50", "--seed": "0", "--workers": "3", "--nobench": "False",
        "-n": ..., "--dry-run": ..., "--neural_rendering_resolution_initial": "64",
        "--neural_rendering_resolution_final": "128", "--neural_rendering_resolution_fade_kimg": "1000",
        "--blur_fade_kimg": "200", "--gen_pose_cond": "True", "--c-scale": "1", "--c-noise": "0.1",
        "--gpc_reg_prob": "0.5", "--gpc_reg_fade_kimg": "1000", "--disc_c_noise": "0", "--sr_noise_mode": "none",
        "--resume_blur": "False", "--sr_num_fp16_res": "4", "--g_num_fp16_res": "0", "--d_num_fp16_res": "4",
        "--sr_first_cutoff": "2", "--sr_first_stopband": "4.287", "--style_mixing_prob": "0",
        "--sr-module": "training.superresolution.SuperresolutionHybrid8XDC", "--density_reg": "0.25",
        "--density_reg_every": "4", "--density_reg_p_dist": "0.004", "--reg_type": "l1", "--decoder_lr_mul": "1",
        "--l2cs-path": "L2CSNet_gaze360.pkl",
    },
    "eg3d.gen_samples": VIEW | DRAWING | SHAPES | {"--seeds": "0,1,4-6", "--outdir": "out"},
    "eg3d.gen_samples_compare": VIEW | DRAWING | SHAPES
    | {"--network2": "y.pkl", "--l2cs-path": "g.pkl", "--seeds": "0-3", "--outdir": "out"},
    "eg3d.gen_good_samples": VIEW | DRAWING | SHAPES | {"--l2cs-path": "g.pkl", "--seeds": "0-3", "--outdir": "out"},
    "eg3d.gen_samples_pose": VIEW | DRAWING | SHAPES | {"--seeds": "0-1023", "--outdir": "pose"},
    "eg3d.gen_videos": DRAWING
    | {
        "--network": "x.pkl", "--seeds": "0-3", "--outdir": "out", "--shuffle-seed": "1", "--grid": "2x2",
        "--num-keyframes": "2", "--w-frames": "120", "--trunc": "0.7", "--trunc-cutoff": "14", "--cfg": "FFHQ",
        "--image_mode": "image_depth", "--sample_mult": "2", "--nrr": "128", "--shapes": "True",
        "--interpolate": "True",
    },
    "eg3d.calc_gfas": VIEW | DRAWING | SHAPES | {"--l2cs-path": "g.pkl", "--seeds": "0-1023"},
    "eg3d.calc_id": VIEW | {"--num-gen": "1024", "--outdir": "out"},
    "eg3d.calc_pose": {"--file1": "a.json", "--file2": "b.json"},
    "eg3d.calc_metrics": {
        "--network": "x.pkl", "--metrics": "fid50k_full", "--data": "x.zip", "--mirror": "True", "--gpus": "1",
        "--verbose": "True",
    },
    "eg3d.convert": {"--source": "x.pkl", "--dest": "y.pkl", "--force-fp16": "True"},  # published: legacy.py
    "dataset_preprocessing.dataset_tool": {
        "--source": "photos", "--dest": "x.zip", "--max-images": "10", "--transform": "center-crop",
        "--resolution": "512x512",
    },
    "dataset_preprocessing.mirror_dataset": {"--source": "faces", "--dest": "mirrored", "--max_images": "10"},
    "dataset_preprocessing.nv_rendering.main": {
        "-save": "output/mpii_nv", "--save_dir": "output/mpii_nv", "-ablation": "True", "--ablation": "True",
        "--group": "x",
    },
    "dataset_preprocessing.nv_rendering.readh5": {"--data_dir": "output/mpii_nv/full"},
    "dataset_preprocessing.nv_rendering.recon_mpii": {
        "--mpii_path": "MPIIFaceGaze", "--output_dir": "obj", "--bbox_init": "one", "--dump_pts": "true",
        "--dump_obj": "true", "--dlib_bbox": "true", "--dlib_landmark": "true", "--dump_ply": "true", "-m": "cpu",
        "--mode": "gpu",
    },
    "redirection.interpgaze.train": {
        "-gpu": "0,1,2,3", "-bs": "128", "--batch_size": "128", "--data_dir": "dataset/all", "--attr": "0P@15P,L@R",
        "--dec_type": "v2", "-sp": "checkpoints/Gaze", "--save_dir": "checkpoints/Gaze", "-ct": ...,
        "--continue_train": ..., "-e": "10000", "--epoch": "10000", "--random_crop_bias": "0",
    },
    "redirection.interpgaze.test_selected_curve": SHEETS | {"-bl": "0", "--branch_list": "2"},
    "redirection.interpgaze.attribute_manipulation": SHEETS
    | {"--filter_target_attr": "0P", "-s": "1", "--strength": "1.5", "--branch_idx": "0", "--n_ref": "1"},
    "redirection.he2019.run": {
        "--mode": "eval", "--batch_size": "32", "--data_path": "patches", "--log_dir": "log", "--vgg_path": "vgg.pth",
        "--optimizer": "sgd", "--adam_beta1": "0.5", "--adam_beta2": "0.999", "--lr": "0.0002", "--epochs": "300",
        "--summary_steps": "500", "--image_size": "64", "--ids": "50", "--test_dir": "x",
    },
    "redirection.deepwarp.train": {
        "--is_resume": "True", "--is_left": "True", "--data_path": "patches", "--save_path": "run",
        "--batch_size": "64", "--num_epochs": "100", "--scheduler": "scheduler", "--summary_step": "1",
    },
    "redirection.deepwarp.redirect": {  # published: test.py
        "--is_left": "True", "--model_path": "w.safetensors", "--out_path": "x.gif", "--num_frame": "30",
        "--img_path": "me.jpg", "--tsf_type": "x",
    },
    "dataset_preprocessing.ffhq.preprocess_in_the_wild": {"--indir": "photos", "--mode": "orig"},
    "l2cs.train": GAZE_SETS
    | {
        "--output": "output/snapshots/", "--snapshot": "x.pkl", "--gpu": "0", "--num_epochs": "60",
        "--batch_size": "1", "--arch": "ResNet50", "--alpha": "1", "--lr": "0.00001",
    },
    "l2cs.evaluate": GAZE_SETS  # published: test.py
    | {"--snapshot": "output", "--evalpath": "evaluation", "--gpu": "0", "--batch_size": "100", "--arch": "ResNet50"},
    "l2cs.demo": {"--device": "cpu", "--gpu": "0", "--snapshot": "x.pkl", "--cam": "0", "--arch": "ResNet50"},
}  # fmt: skip
UNREAD = "the published code never reads it"
DOES_NOTHING = {
    "eg3d.train": {"--c-noise": UNREAD, "--sr_first_cutoff": UNREAD, "--sr_first_stopband": UNREAD},
    "eg3d.convert": {"--force-fp16": "--precision of each script"},
    "l2cs.demo": {"--cam": "give pictures of faces by --input"},
    "dataset_preprocessing.nv_rendering.main": dict.fromkeys(("--ablation", "--group"), "does not use it either"),
    "dataset_preprocessing.nv_rendering.recon_mpii": {
        "--dlib_bbox": "FaceMesh finds the face",
        "--dump_ply": "did nothing in the published program",
    },
    "redirection.interpgaze.train": {
        "--continue_train": "the same command again",
        "-ct": "the same command again",
        "--random_crop_bias": "no published code uses it",
    },
    "redirection.he2019.run": {"--test_dir": UNREAD},
    "redirection.deepwarp.train": {
        "--is_resume": "the same command again",
        "--is_left": "learns from both eyes",
        "--summary_step": "--tick says",
    },
    "redirection.deepwarp.redirect": {"--is_left": "both eyes are moved", "--tsf_type": "the weights say"},
} | {
    script: dict.fromkeys(shapes, "gen_samples.py makes shapes")
    | {"--class": "not on classes", "--reload_modules": "built by the code of this repository"}
    for shapes, scripts in (
        ((), ("eg3d.gen_samples", "eg3d.gen_videos", "eg3d.calc_id")),
        (SHAPES, ("eg3d.gen_samples_compare", "eg3d.gen_good_samples", "eg3d.gen_samples_pose", "eg3d.calc_gfas")),
    )
    for script in scripts
}
ALL = [module for modules in SCRIPTS.values() for module in modules]
SWITCHES = ("True", "False", "true", "1", "0")


def command_of(module: str) -> click.Command:
    return importlib.import_module(module).main


def context_of(command: click.Command) -> click.Context:
    return click.Context(command, **command.context_settings)


def option_of(command: click.Command, spelling: str) -> click.Option:
    """The option that a published spelling means."""
    (found,) = [o for o in command.params if one_spelling(spelling) in map(one_spelling, o.opts + o.secondary_opts)]
    return found


def read(command: click.Command, *tokens: str) -> dict:
    """What the command's parser makes of the tokens, before any value is looked at."""
    values, rest, _ = command.make_parser(context_of(command)).parse_args(list(tokens))
    assert not rest, f"{tokens}: {rest} is left over"
    options = {option.name for option in command.params if isinstance(option, click.Option)}
    return {name: value for name, value in values.items() if name in options}


def spellings(option: str) -> set[str]:
    name = option.lstrip("-")
    return {option, option[: -len(name)] + name.replace("_", "-"), option[: -len(name)] + name.replace("-", "_")}


@pytest.mark.parametrize("module", PUBLISHED)
def test_every_published_option_is_accepted_in_both_spellings_and_both_forms(module):
    command = command_of(module)
    for published, value in PUBLISHED[module].items():
        option = option_of(command, published)
        several = option.multiple or option.nargs != 1
        for spelling in spellings(published):
            forms = [[spelling]] if value is ... else [[spelling, value]]
            if value is not ... and len(published) > 2:  # -m=cpu gives the value =cpu, as in any program of click
                forms.append([f"{spelling}={value}"])
            for tokens in forms:
                expected = True if value is ... else [value] if several else value
                assert read(command, *tokens) == {option.name: expected}, (module, tokens)


@pytest.mark.parametrize("module", PUBLISHED)
def test_published_values_are_values_here(module):
    command = command_of(module)
    for published, value in PUBLISHED[module].items():
        option = option_of(command, published)
        if value is ... or isinstance(option.type, (click.Path, click.File)):
            continue
        values = SWITCHES if option.type is click.BOOL else (value,)
        for each in values:
            option.type.convert(each, option, context_of(command))  # an error is raised


@pytest.mark.parametrize("module", ALL)
def test_dashes_and_underscores_are_the_same_in_every_option(module):
    command = command_of(module)
    assert isinstance(command, Command)
    for option in command.params:
        for name in (*option.opts, *option.secondary_opts) if isinstance(option, click.Option) else ():
            flag_alone = option.is_flag or option.count
            found = [read(command, s, *([] if flag_alone else ["1"])) for s in spellings(name)]
            assert found == [found[0]] * len(found) and list(found[0]) == [option.name], (module, name)


def without_effect_in(module: str) -> dict[str, click.Option]:
    """The options of a script that say that they do nothing."""
    return {
        o.opts[0]: o for o in command_of(module).params if (getattr(o, "help", "") or "").startswith("Does nothing")
    }


def test_the_table_has_every_option_that_does_nothing():
    found = {module: set(without_effect_in(module)) for module in ALL}
    assert {module: names for module, names in found.items() if names} == {m: set(o) for m, o in DOES_NOTHING.items()}


@pytest.mark.parametrize("module", DOES_NOTHING)
def test_an_option_that_does_nothing_says_why_in_one_line(module, capsys):
    command = command_of(module)
    for name, why in DOES_NOTHING[module].items():
        option, value = option_of(command, name), PUBLISHED[module].get(name, "1")
        context = context_of(command)
        given = name if value is ... else f"{name}={value}"
        option.handle_parse_result(context, read(command, given), [])
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1, said
        assert re.match(rf"note: {name}=\S+ does nothing here: .*{re.escape(why)}", said.err)
        assert option.name not in context.params


def test_what_is_not_asked_for_is_not_answered_and_a_wrong_value_is_an_error(monkeypatch):
    @click.command(cls=Command)
    @without_effect("--class", "there are none", type=int)
    @without_effect("--shapes", "there are none", **SWITCH)
    def main():
        """Does nothing."""

    def err(*arguments):
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.stderr

    assert err() == err("--shapes=False") == (0, "")
    assert err("--shapes")[1].startswith("note: --shapes=True does") and "--class=0 does" in err("--class", "0")[1]
    assert err("--class=x")[0] == 2 and "--class" in err("--class=x")[1]
    monkeypatch.setenv("RANK", "1")  # of several processes one is enough to say it
    assert err("--class=1") == (0, "")


def test_training_passes_over_published_options_without_effect_and_refuses_ours():
    of_published = {option_of(command_of("eg3d.train"), option).name for option in PUBLISHED["eg3d.train"]}
    needs = {name: need.published for name, flag in TABLE.items() for need in flag.setting.needs}
    assert needs == {name: name in of_published for name in needs} and len(set(needs.values())) == 2


def test_a_misspelt_option_is_still_an_error():
    @click.command(cls=Command)
    @cli.seed_option
    def main(seed):
        """Does nothing."""

    assert CliRunner().invoke(main, ["--se_ed=1"]).exit_code == 2


@pytest.mark.parametrize("given", [["--fine"], ["--fine=True"], ["--fine", "1"], ["--fine=yes"]])
def test_a_switch_stands_alone_or_has_a_value(given):
    @click.command(cls=Command)
    @click.option("--fine", **SWITCH, default=False)
    @click.option("--more")
    def main(fine, more):
        click.echo(f"{fine} {more}")

    assert CliRunner().invoke(main, [*given, "--more=x"]).stdout == "True x\n"
    assert CliRunner().invoke(main, ["--fine=False"]).stdout == CliRunner().invoke(main, []).stdout == "False None\n"


def test_the_flags_that_skip_are_switches_at_every_script():
    for module in MODULES.values():
        for option in importlib.import_module(module).main.params:
            if option.name in ("skip_damaged", "skip_unmatched"):
                assert option.type is click.BOOL and option.flag_value is True and not option.is_flag, module
