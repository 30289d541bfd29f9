import contextlib
import json

import pytest

from eg3d.config.flags import TABLE, passed_over, resolve
from eg3d.config.presets import PRESETS
from eg3d.config.run import ConfigError, check_same_run, from_dict, to_dict

NO_GAZE = {"gaze_weight": 0.0}
PUBLISHED = dict(
    data="faces", resume="ffhqrebalanced512-128.pkl", l2cs_path="L2CSNet_gaze360.pkl", gpus=4, batch=16, gamma=1.0,
    batch_gpu=4, gen_pose_cond=True, neural_rendering_resolution_final=128,
)  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_json(name):
    config = PRESETS[name]
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_ffhq_holds_the_published_values():
    config = resolve("ffhq", **NO_GAZE)
    G, backbone, options = config.generator, config.generator.backbone, config.generator.rendering
    assert (G.z_dim, G.w_dim, G.mapping.num_layers, backbone.channel_base, backbone.channel_max) == (
        512, 512, 2, 32768, 512,
    )  # fmt: skip
    assert (backbone.num_fp16_res, backbone.conv_clamp, G.superresolution.num_fp16_res) == (0, None, 4)
    assert (options.depth_resolution, options.depth_resolution_importance) == (48, 48)
    assert (options.ray_start, options.ray_end, options.box_warp) == (2.25, 3.3, 1)
    assert G.superresolution.kind == "SuperresolutionHybrid8XDC"
    assert G.pose_cond is False and (G.orbit.pivot, G.orbit.radius) == ((0, 0, 0.2), 2.7)
    D = config.discriminator
    assert (D.num_fp16_res, D.conv_clamp, D.epilogue.mbstd_group_size) == (4, 256, 4)
    assert (config.optim.generator_lr, config.optim.discriminator_lr) == (0.0025, 0.002)
    loss, schedule = config.loss, config.schedule
    assert (loss.density_reg, loss.density_reg_every, loss.density_reg_p_dist, loss.r1_every) == (0.25, 4, 0.004, 16)
    assert (schedule.blur_init_sigma, schedule.blur_fade_kimg, schedule.ema_kimg, schedule.ema_rampup) == (
        10, 200, 10, 0.05,
    )  # fmt: skip
    assert schedule.gpc_reg_prob is None and schedule.raw_resolution_initial == 64
    assert (config.kimg, config.tick, config.snap) == (25000, 4, 50)


def test_the_other_published_presets_differ_as_published():
    afhq, shapenet = (resolve(name, **NO_GAZE) for name in ("afhq", "shapenet"))
    assert afhq.generator.orbit.pivot == (0, 0, -0.06) and afhq.loss.r1_gamma == 5
    r, orbit = shapenet.generator.rendering, shapenet.generator.orbit
    assert (r.depth_resolution, r.ray_start, r.ray_end, r.box_warp, r.white_back) == (64, 0.1, 2.6, 1.6, True)
    assert (orbit.radius, shapenet.generator.resolution, shapenet.loss.r1_gamma) == (1.7, 128, 0.3)


def test_the_published_command_is_a_conditioned_fine_tuning_with_the_gaze_term():
    config = resolve("ffhq", **PUBLISHED)
    assert (config.gpus, config.batch, config.micro_batch, config.loss.r1_gamma) == (4, 16, 4, 1)
    assert config.generator.pose_cond and config.schedule.gpc_reg_prob == 0.5
    assert (config.schedule.raw_resolution_initial, config.schedule.raw_resolution_final) == (64, 128)
    assert (config.gaze.weight, config.gaze.kind, config.gaze.l2cs_path) == (1, "mse", "L2CSNet_gaze360.pkl")
    # Resuming, as published: no blur, no ramp of the swap, no ramp-up of the average; lengths scale with the batch.
    schedule = config.schedule
    assert (schedule.blur_init_sigma, schedule.gpc_reg_fade_kimg, schedule.ema_rampup) == (0, 0, None)
    assert (schedule.blur_fade_kimg, schedule.ema_kimg) == (100, 5)


def test_resume_blur_keeps_blur_and_swap_ramps():
    schedule = resolve("ffhq", **PUBLISHED, resume_blur=True).schedule
    assert (schedule.blur_init_sigma, schedule.gpc_reg_fade_kimg, schedule.ema_rampup) == (10, 1000, None)


def test_the_super_resolution_follows_the_images():
    for side, name in ((512, "8XDC"), (256, "4X"), (128, "2X")):
        config = resolve("ffhq", resolution=side, **NO_GAZE)
        assert config.generator.superresolution.kind == "SuperresolutionHybrid" + name
        assert config.generator.resolution == side


def test_the_embedded_preset_is_small_and_forgets_quickly():
    config = resolve("embedded", **NO_GAZE)
    assert config.schedule.ema_kimg <= 0.5 and config.batch == 16 and config.data.path == "embedded"
    assert config.schedule.gpc_reg_prob == 1.0 and config.generator.pose_cond
    assert resolve("embedded").gaze.l2cs_path == "embedded"


def test_flags_reach_the_networks():
    config = resolve(
        "ffhq", **NO_GAZE, cbase=1024, cmax=32, map_depth=3, mbstd_group=2, freezed=5, g_num_fp16_res=2,
        gen_pose_cond=True, d_num_fp16_res=0, sr_noise_mode="random", c_scale=0.5, decoder_lr_mul=2.0,
        disc_c_noise=0.1, sr_num_fp16_res=0, planes="yz",
    )  # fmt: skip
    G, D = config.generator, config.discriminator
    backbone, sr = G.backbone, G.superresolution
    assert backbone.channel_base == D.channel_base == 1024 and backbone.channel_max == D.channel_max == 32
    assert G.mapping.num_layers == 3 and D.epilogue.mbstd_group_size == 2
    assert D.blocks.freeze_layers == 5 and D.disc_c_noise == 0.1
    assert (backbone.num_fp16_res, backbone.conv_clamp, D.num_fp16_res, D.conv_clamp) == (2, 256, 0, None)
    assert (sr.num_fp16_res, sr.noise_mode, G.c_scale, G.decoder.lr_multiplier) == (0, "random", 0.5, 2.0)
    assert G.rendering.planes == "yz"


BAD = {
    "batch not divisible by gpus": (dict(gpus=3, batch=16), "--batch=16.*--gpus=3"),
    "batch not divisible by micro-batches": (dict(batch=16, batch_gpu=6), "--batch=16.*1 x 6"),
    "batch of one without its group": (dict(batch=1), "--batch.*--mbstd-group=1"),
    "micro-batch below the group": (dict(batch=16, batch_gpu=2), "--batch-gpu.*--mbstd-group"),
    "gaze term without network": (dict(gaze_weight=1.0), "--l2cs-path"),
    "a told discriminator without a gaze network": (dict(gaze_cond_d=True), "--gaze-cond-d.*--l2cs-path"),
    "more blocks than there are": (dict(freeze_g=8), "--freeze-g=8.*from 0 to 7"),
    "probability": (dict(gen_pose_cond=True, gpc_reg_prob=1.5), "--gpc_reg_prob=1.5"),
    "negative gamma": (dict(gamma=-1.0), "--gamma=-1"),
    "dead regulariser": (dict(reg_type="total-variation"), "--reg_type=total-variation .* give --density_reg=0"),
    "unknown regulariser": (dict(reg_type="l3"), "--reg_type=l3"),
    "augmentation": (dict(aug="fixed", p=1.5), "--p=1.5"),
    "metric without its detector": (dict(metrics="fid50k_full"), "--metrics=fid50k_full.*--inception-weights"),
    "unknown metric": (dict(metrics="fid", inception_weights="x"), "--metrics=fid:.*no such metric"),
    "few pictures": (dict(metrics="kid50k_full", detector="embedded", num_gen=1), "--num-gen=1:"),
    "no labels": (dict(cond=False), "--cond=False"),
    "image size": (dict(resolution=100), "100 px"),
    "no channel at the largest resolution": (dict(cbase=511), "--cbase=511 must be from 512"),
    "channels without end": (dict(cbase=10**9), "--cbase=1000000000 must be from"),
    "wide without end": (dict(cmax=10**9), "--cmax=1000000000 must be from 1"),
    "deep without end": (dict(map_depth=10**6), "--map-depth=1000000 must be from 1 to 64"),
    "batch without end": (dict(batch=2**20), "--batch=1048576 must be from 1"),
    "rate of zero": (dict(kimg=9.0, glr_fade_kimg=8.0), "--kimg=9 .* after --glr-fade-kimg=8; give both the same"),
    "run without end": (dict(kimg=1e307), r"--kimg=1e\+307 must be from 0"),
    "ticks within an image": (dict(tick=1e-319), "--tick=.* must be from 0.001"),
    "more layers than the discriminator has": (dict(freezed=23), "--freezed=23 must be from 0 to 22"),
    "more rays than pixels": (dict(neural_rendering_resolution_final=513), "_final=513 is finer than.*512 px"),
    "a gaze that augmentation turns": (
        dict(gaze_cond_d=True, l2cs_path="x.pkl", aug="ada", augpipe="bgc"), "--gaze-cond-d.*--augpipe=colour"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_contradictions_are_one_line_that_names_the_flag(name):
    flags, expected = BAD[name]
    with pytest.raises(ValueError, match=expected) as error:
        resolve("ffhq", **(NO_GAZE | flags))
    assert "\n" not in str(error.value)


def test_unknown_presets_and_names_are_refused():
    with pytest.raises(ConfigError, match=r"--cfg=stylegan2.*ffhq"):
        resolve("stylegan2", **NO_GAZE)
    plain = to_dict(PRESETS["ffhq"])
    plain["loss"]["r1_gama"] = 1
    with pytest.raises(ValueError, match=r"loss\.r1_gama"):
        from_dict(plain)


def test_the_embedded_model_takes_images_of_its_size_only():
    with pytest.raises(ConfigError, match="128 px"):
        resolve("embedded", resolution=128, **NO_GAZE)


def test_only_what_does_not_touch_the_arithmetic_may_change_when_continuing():
    saved = resolve("embedded", **NO_GAZE)
    check_same_run(saved, resolve("embedded", **NO_GAZE, kimg=7.0, snap=2))
    with pytest.raises(ConfigError, match=r"seed=0.*asks for 1"):
        check_same_run(saved, resolve("embedded", **NO_GAZE, seed=1))


# The message gives back what must be typed; nothing for what no flag sets.
GOING_ON = {
    "a weight": (dict(gaze_weight=1.0), {}, "gaze.weight=1.0, .* for 5.0; .* same flags (--gaze-weight=1) to go"),
    "nothing": ({}, dict(resume="x", resume_blur=True), "augment.kimg=500.0, .* for 100.0; .* same flags to go"),
    "a file": (dict(resume="x.pkl"), dict(resume="y.pkl"), "resume=x.pkl, .* for y.pkl; .* flags (--resume=x.pkl) to"),
    "no file": (dict(NO_GAZE, l2cs_path=""), {}, "gaze.l2cs_path=, .* for embedded; .* flags (--l2cs-path=) to"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOING_ON)
def test_what_hinders_going_on_names_the_flag_that_the_run_had(name):
    before, now, expected = GOING_ON[name]
    with pytest.raises(ConfigError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        check_same_run(resolve("embedded", **before), resolve("embedded", **now))


# Options that do something only beside another one: (what is missing, value, that other one).
NEEDS_ANOTHER = {
    "gpc_reg_prob": ({}, 0.9, "--gen_pose_cond=True"),
    "gpc_reg_fade_kimg": ({}, 9.0, "--gen_pose_cond=True"),
    "c_scale": ({}, 0.5, "--gen_pose_cond=True"),
    "resume_blur": ({}, True, "--resume=FILE"),
    "blur_fade_kimg": (dict(resume="x.pkl"), 9.0, "--resume_blur=True"),
    "gpc_reg_fade_kimg, resumed": (dict(resume="x.pkl", gen_pose_cond=True), 9.0, "--resume_blur=True"),
    "neural_rendering_resolution_fade_kimg": ({}, 9.0, "--neural_rendering_resolution_final"),
    "density_reg_p_dist": (dict(reg_type="monotonic-fixed"), 0.01, "--reg_type=l1"),
    "density_reg_p_dist, off": (dict(density_reg=0.0), 0.01, "--density_reg=0.25"),
    "density_reg_every": (dict(density_reg=0.0), 2, "--density_reg=0.25"),
    "reg_type": (dict(density_reg=0.0), "monotonic-fixed", "--density_reg=0.25"),
    "gaze_loss": (dict(l2cs_path="x.pkl"), "euclid", "--gaze-weight=1"),
    "gaze_targets": (dict(l2cs_path="x.pkl"), "legacy", "--gaze-weight=1"),
    "gaze_warmup_kimg": (dict(l2cs_path="x.pkl"), 3.0, "--gaze-weight=1"),
    "gaze_mask": (dict(l2cs_path="x.pkl"), True, "--gaze-weight=1"),
    "gaze_crop": ({}, "face", "--l2cs-path=FILE"),
    "gaze_rig": (dict(l2cs_path="x.pkl", gaze_weight=1.0), 2.0, "--gaze-control=True"),
    "gaze_camera_d": (dict(l2cs_path="x.pkl", gaze_weight=1.0), True, "--gaze-control=True"),
    "gaze_second_camera": (dict(l2cs_path="x.pkl", gaze_weight=1.0), True, "--gaze-control=True"),
    "p": (dict(aug="ada"), 0.3, "--aug=fixed"),
    "target": (dict(aug="fixed"), 0.3, "--aug=ada"),
    "augpipe": ({}, "bgc", "--aug=ada"),
    "num_gen": ({}, 1000, "--metrics=NAME"),
    "detector": ({}, "embedded", "--metrics=NAME"),
    "inception_weights": ({}, "x.pth", "--metrics=NAME"),
    "vgg_weights": ({}, "x.pth", "--metrics=NAME"),
}  # fmt: skip


def unmet(name: str) -> tuple[dict, dict, str, str, bool]:
    """The flags beside an option, the option, its flag, what it lacks, and whether the published script took it."""
    beside, value, missing = NEEDS_ANOTHER[name]
    option = name.split(",")[0]
    its = TABLE[option].setting
    (published,) = {need.published for need in its.needs}
    return NO_GAZE | beside, {option: value}, f"{its.flag}={value}", missing, published


OF_PUBLISHED = [name for name in NEEDS_ANOTHER if unmet(name)[4]]


@pytest.mark.parametrize("name", [name for name in NEEDS_ANOTHER if name not in OF_PUBLISHED])
def test_an_option_that_would_do_nothing_names_the_one_it_needs(name):
    beside, option, shown, missing, _ = unmet(name)
    resolve("ffhq", **beside)
    with pytest.raises(ConfigError) as error:
        resolve("ffhq", **beside | option)
    assert str(error.value).startswith(f"{shown} is of ") and missing in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", OF_PUBLISHED)
def test_a_published_option_that_would_do_nothing_does_nothing_and_says_so(name):
    beside, option, shown, missing, _ = unmet(name)
    config = resolve("ffhq", **beside | option)
    assert config == resolve("ffhq", **beside)
    (line,) = passed_over(config, beside | option)
    assert line.startswith(f"{shown} does nothing here: it belongs to ") and missing in line
    assert not passed_over(config, beside)


def test_every_need_of_a_flag_is_tested_above():
    needs = {name: len(flag.setting.needs) for name, flag in TABLE.items() if flag.setting.needs}
    tested = [name.split(",")[0] for name in NEEDS_ANOTHER]
    assert needs == {name: tested.count(name) for name in set(tested)}


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_holds_is_never_refused_and_a_switch_that_is_off_asks_for_nothing(preset):
    off = dict(resume_blur=False, gaze_mask=False, gaze_cond_d=False, tensorboard=False, gaze_warmup_kimg=0.0)
    resolve(preset, **NO_GAZE, **off)


def test_weights_that_no_metric_reads_are_refused():
    given = dict(inception_weights="i.pth", vgg_weights="v.pth")
    resolve("ffhq", **NO_GAZE, **given, metrics="fid50k_full,pr50k3_full")
    with pytest.raises(ConfigError, match="--vgg-weights: --metrics=fid50k_full has no use for them; leave"):
        resolve("ffhq", **NO_GAZE, **given, metrics="fid50k_full")
    resolve("ffhq", **NO_GAZE, metrics="fid50k_full", detector="embedded")
    for more in (dict(cfg="ffhq", detector="embedded"), dict(cfg="embedded")):  # whose preset has that detector
        with pytest.raises(ConfigError, match="^--inception-weights: --detector=embedded has no use for them; leave"):
            resolve(**NO_GAZE, **more, metrics="fid50k_full", inception_weights="i.pth")


def test_a_moved_data_set_and_other_metrics_do_not_make_another_run():
    saved = resolve("embedded", **NO_GAZE, data="here.zip")
    check_same_run(saved, resolve("embedded", **NO_GAZE, data="there.zip", metrics="fid50k_full", num_gen=100))
    with pytest.raises(ConfigError, match=r"data\.mirror"):
        check_same_run(saved, resolve("embedded", **NO_GAZE, data="here.zip", mirror=True))


# Images' size, rays at the start and at the end, what is said of --raw-image=legacy; None: it makes a difference.
PAINTED = {
    "2X": (128, 64, None, None),
    "2X, from there on": (128, 64, 128, None),
    "2X, on the way down": (128, 128, 32, None),
    "4X": (256, 128, None, None),
    "4X, at the end": (256, 64, 128, None),
    "2X, fewer rays": (128, 32, 48, "with 32 to 48 rays .* paints over 64; .*--neural_rendering_resolution_initial=64"),
    "4X, fewer rays": (256, 64, None, "with 64 rays per side: .* paints over 128; drop it, or give"),
    "8XDC": (512, 128, None, "this super-resolution enlarges first; drop it"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAINTED)
def test_a_painted_raw_picture_is_refused_where_it_makes_no_difference(name):
    side, first, last, said = PAINTED[name]
    rays = dict(neural_rendering_resolution_initial=first, neural_rendering_resolution_final=last)
    with (
        contextlib.nullcontext() if said is None else pytest.raises(ConfigError, match=f"^--raw-image=legacy .*{said}")
    ):
        assert resolve("shapenet", side, **rays, raw_image="legacy").loss.raw_image == "legacy"
    resolve("shapenet", side, **rays)
    resolve("shapenet", **rays, raw_image="legacy")  # before the size of the images is known


CHANGED_BY = dict(
    data="x.zip", gpus=2, batch=64, batch_gpu=8, gamma=3.0, kimg=7.0, tick=2.0, snap=3, keep=2, state_minutes=3.0,
    bad_steps=4, tensorboard=True, seed=5, workers=7, nobench=True, mirror=True, aug="ada", freezed=2,
    cbase=16384, cmax=256, skip_unmatched=True,
    glr=0.001, dlr=0.001, map_depth=4, mbstd_group=2, neural_rendering_resolution_initial=32,
    neural_rendering_resolution_final=96, blur_fade_kimg=9.0,
    gen_pose_cond=True, disc_c_noise=0.1, sr_noise_mode="random", sr_module="x.SuperresolutionHybrid8X",
    sr_num_fp16_res=0, g_num_fp16_res=2, d_num_fp16_res=0, style_mixing_prob=0.5, density_reg=0.5, density_reg_every=2,
    density_reg_p_dist=0.01, reg_type="monotonic-detach", decoder_lr_mul=2.0, l2cs_path="x.pkl", freeze_g=3,
    precision="bf16", raw_image="legacy", planes="fixed_triplanes",
)  # fmt: skip
# Those that need another one beside them, and the one with a single value, kept for published command lines.
GAZE, MEASURED = dict(l2cs_path="x.pkl", gaze_weight=1.0), dict(metrics="pr50k3_full", inception_weights="i.pth")
CHANGED_BESIDE = {
    "neural_rendering_resolution_fade_kimg": (dict(neural_rendering_resolution_final=96), 9.0),
    "gpc_reg_fade_kimg": (dict(gen_pose_cond=True), 9.0),
    "c_scale": (dict(gen_pose_cond=True), 0.5),
    "gaze_loss": (GAZE, "euclid"),
    "gaze_targets": (GAZE, "legacy"),
    "gaze_warmup_kimg": (GAZE, 3.0),
    "gaze_crop": (dict(l2cs_path="x.pkl"), "face"),
    "metrics": (dict(inception_weights="i.pth"), "fid50k_full"),
    "num_gen": (MEASURED, 1000),
    "detector": (MEASURED, "embedded"),
    "inception_weights": (MEASURED, "j.pth"),
    "vgg_weights": (MEASURED, "v.pth"),
    "augpipe": (dict(aug="ada"), "bgc"),
    "p": (dict(aug="fixed"), 0.3),
    "target": (dict(aug="ada"), 0.3),
    "gpc_reg_prob": (dict(gen_pose_cond=True), 0.9),
    "resume": ({}, "x.pkl"),
    "resume_blur": (dict(resume="x.pkl"), True),
    "gaze_weight": (dict(l2cs_path="x.pkl"), 2.0),
    "resume_partial": (dict(resume="x.pkl"), True),
    "gaze_mask": (dict(l2cs_path="x.pkl", gaze_weight=1.0), True),
    "gaze_cond_d": (dict(l2cs_path="x.pkl"), True),
    "gaze_control": (dict(l2cs_path="x.pkl", gaze_weight=1.0, resume="x.safetensors"), True),
    "gaze_rig": (dict(l2cs_path="x.pkl", gaze_weight=1.0, resume="x.safetensors", gaze_control=True), 2.0),
    "gaze_camera_d": (dict(l2cs_path="x.pkl", gaze_weight=1.0, resume="x.safetensors", gaze_control=True), True),
    "gaze_second_camera": (dict(l2cs_path="x.pkl", gaze_weight=1.0, resume="x.safetensors", gaze_control=True), True),
    "glr_fade_kimg": (dict(kimg=7.0), 8.0),
}
ONE_VALUE = {"cond"}


def test_every_flag_changes_the_configuration():
    assert set(TABLE) == {*CHANGED_BY, *CHANGED_BESIDE, *ONE_VALUE}
    for name, (beside, value) in {**{n: ({}, v) for n, v in CHANGED_BY.items()}, **CHANGED_BESIDE}.items():
        base = NO_GAZE | beside
        without = {key: kept for key, kept in base.items() if name != "metrics" or key != "inception_weights"}
        with_it = {key: kept for key, kept in base.items() if name != "detector" or key != "inception_weights"}
        assert resolve("ffhq", **with_it | {name: value}) != resolve("ffhq", **without), name


def test_people_start_small():
    config = resolve("people", **NO_GAZE)
    assert config.data.path == "people" and config.generator.resolution == 128
    assert config.schedule.raw_resolution_initial == 64
    for size in (32, 64):
        small = resolve(f"people-{size}", **NO_GAZE, data="x.zip")
        assert small.generator.resolution == size and small.schedule.raw_resolution_initial == size // 2
        assert small.discriminator == config.discriminator and small.generator.mapping == config.generator.mapping
    with pytest.raises(ConfigError, match="makes 128 px"):
        resolve("people", resolution=64, **NO_GAZE)
