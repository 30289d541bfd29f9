"""A generator that is no tri-plane: its own file, a row in models/architectures.py and a preset are all it needs.

Here the file is this one. The commands run as they are, on the real discriminator.
"""

import dataclasses
import json
from dataclasses import dataclass, field

import pytest
import torch
from tiny_run import SIDE, tiny_config, write_images

from eg3d.checkpoints.arguments import file_arguments
from eg3d.checkpoints.loading import load_discriminator, load_generator, load_network, load_state, open_checkpoint
from eg3d.checkpoints.published import save_state_dict
from eg3d.config.presets import PRESETS
from eg3d.config.run import from_dict, to_dict
from eg3d.geometry.cameras import FFHQ_ORBIT, Orbit
from eg3d.models.architectures import DISCRIMINATORS, GENERATORS, Architecture
from eg3d.models.protocol import NetworkConfig
from eg3d.pictures.views import render_views
from groundwork.settings import ConfigError


@dataclass(frozen=True, kw_only=True)
class Hues:
    width: int = 12


@dataclass(frozen=True, kw_only=True)
class CloudsConfig(NetworkConfig):
    FLAGS = {"cmax": "hues.width"}

    resolution: int
    orbit: Orbit
    hues: Hues = field(default_factory=Hues)


class Clouds(torch.nn.Module):
    """A picture by one layer, of latent and camera."""

    z_dim = 3

    def __init__(self, config: CloudsConfig):
        super().__init__()
        self.config, self.resolution, self.orbit = config, config.resolution, config.orbit
        self.first = torch.nn.Linear(self.z_dim, config.hues.width)
        self.last = torch.nn.Linear(config.hues.width + 12, 3 * config.resolution**2)

    def mapping(self, z, c, truncation_psi=1.0, truncation_cutoff=None):
        return truncation_psi * self.first(z).relu()

    def synthesis(self, ws, c, *, draws=None, noise_mode="random"):
        rows = torch.cat([ws.repeat_interleave(len(c) // len(ws), dim=0), c[:, :12]], dim=1)
        image = self.last(rows).tanh().unflatten(1, (3, self.resolution, self.resolution))
        return {"image": image, "image_raw": torch.nn.functional.avg_pool2d(image, 2)}


@pytest.fixture
def clouds(monkeypatch, tmp_path):
    """The flags that train the preset `clouds`, which is there during the test."""
    monkeypatch.setitem(GENERATORS, "Clouds", Architecture(Clouds, CloudsConfig))
    tiny = tiny_config(write_images(tmp_path / "data"))
    run = dataclasses.replace(
        tiny,
        preset="clouds",
        generator=CloudsConfig(resolution=32, orbit=FFHQ_ORBIT),  # the size of the data set's images takes its place
        loss=dataclasses.replace(tiny.loss, density_reg=0.0),
    )
    monkeypatch.setitem(PRESETS, "clouds", run)
    return ["--cfg=clouds", f"--data={tmp_path / 'data'}", "--gaze-weight=0", "--device=cpu"]


def test_another_generator_trains_is_saved_drawn_and_goes_on(clouds, run_script, tmp_path):
    def train(outdir, *flags):
        ran = run_script("eg3d/train.py", *clouds, f"--outdir={tmp_path / outdir}", *flags)
        assert ran.code == 0, ran.stderr
        return load_state(tmp_path / outdir / "training-state.pt")

    halfway = train("run", "--kimg=0.008", "--cmax=20")  # two steps
    state = train("run", "--kimg=0.016", "--cmax=20")
    unbroken = train("other", "--kimg=0.016", "--cmax=20")
    assert state["images_seen"] == 16
    for name in ("G", "G_ema", "D"):
        assert all(
            torch.equal(value, unbroken["networks"][name][key]) for key, value in state["networks"][name].items()
        )
    assert not torch.equal(halfway["networks"]["G"]["last.bias"], state["networks"]["G"]["last.bias"])

    snapshot = tmp_path / "run" / "network-snapshot-000000.safetensors"
    G = load_generator(snapshot)
    assert isinstance(G, Clouds) and G.config == CloudsConfig(resolution=SIDE, orbit=FFHQ_ORBIT, hues=Hues(width=20))
    for key, value in state["networks"]["G_ema"].items():
        assert torch.equal(G.state_dict()[key], value)
    (views,) = render_views(G, [0, 1])
    assert views.images.shape == (6, 3, SIDE, SIDE) and not torch.equal(views.images[0], views.images[1])

    train("third", "--kimg=0.004", "--cmax=20", f"--resume={snapshot}", "--gaze-weight=1", "--l2cs-path=embedded")
    wrong = run_script("eg3d/train.py", *clouds, f"--outdir={tmp_path / 'fourth'}", f"--resume={snapshot}")
    assert wrong.code == 2 and "first.weight has shape [20, 3], this network has [12, 3]" in wrong.stderr


def test_its_snapshot_holds_its_own_names_and_a_state_dict_is_refused(clouds, run_script, tmp_path):
    assert run_script("eg3d/train.py", *clouds, f"--outdir={tmp_path / 'run'}", "--kimg=0.004").code == 0
    snapshot = tmp_path / "run" / "network-snapshot-000000.safetensors"
    stored = open_checkpoint(snapshot).network("G_ema")
    config = {"resolution": 16, "orbit": {"pivot": [0.0, 0.0, 0.2], "radius": 2.7}, "hues": {"width": 12}}
    assert (stored.cls, stored.init_kwargs) == ("Clouds", {"config": config})
    assert stored.rendering_kwargs is None and stored.neural_rendering_resolution is None
    ran = run_script("eg3d/inspect_checkpoint.py", snapshot)
    assert ran.code == 0 and "G_ema: Clouds, 16 px" in ran.stdout
    with pytest.raises(ValueError, match="G_ema is a Clouds, which the published code lacks"):
        save_state_dict(tmp_path / "x.pt", {"G_ema": load_network(snapshot, "G_ema")}, {})


REFUSED = {
    "a flag of tri-planes": ("--map-depth=2", "--map-depth=2: the networks of this --cfg have no such setting"),
    "a class of super-resolution": ("--sr-module=X", "--sr-module=X: the networks of this --cfg have no such setting"),
    "a camera for the mapping": ("--gen_pose_cond=True", "--gen_pose_cond=True: the networks of this --cfg have no"),
    "the density term": ("--density_reg=1", "asks for densities, which a Clouds lacks (sample_mixed); give --density_"),
    "frozen blocks": ("--freeze-g=1", "--freeze-g=1 must be from 0 to 0"),
    "mixed styles": ("--style_mixing_prob=0.5", "--style_mixing_prob mixes rows of ws, which here is [4, 12]"),
    "a region of the eyes": ("--gaze-weight=1 --l2cs-path=embedded --gaze-mask=True", "this Clouds lacks "),
    "more rays": ("--neural_rendering_resolution_initial=4", "this Clouds must draw an image_raw of 4 px"),
}


@pytest.mark.parametrize("flag, text", REFUSED.values(), ids=REFUSED)
def test_what_it_lacks_is_one_line_and_exit_code_2(flag, text, clouds, run_script, tmp_path):
    ran = run_script("eg3d/train.py", *clouds, f"--outdir={tmp_path / 'run'}", "--kimg=0.004", *flag.split())
    lines = ran.stderr.splitlines()
    errors = [line for line in lines if line and "img/s" not in line]  # a progress bar may have begun
    assert ran.code == 2 and len(errors) == 1 and errors[0].startswith("error: ") and text in errors[0], ran.stderr


class Rays(Clouds):
    """Clouds with a number of rays."""

    neural_rendering_resolution = 64

    def synthesis(self, ws, c, neural_rendering_resolution=None, *, draws=None, noise_mode="random"):
        drawn, side = super().synthesis(ws, c), neural_rendering_resolution or self.neural_rendering_resolution
        return drawn | {"image_raw": torch.nn.functional.interpolate(drawn["image"], size=(side, side))}


def test_a_number_of_rays_is_set_by_training_and_kept_in_files(clouds, run_script, monkeypatch, tmp_path):
    monkeypatch.delitem(GENERATORS, "Clouds")
    monkeypatch.setitem(GENERATORS, "Rays", Architecture(Rays, CloudsConfig))
    rays = "--neural_rendering_resolution"
    flags = [f"{rays}_initial=4", f"{rays}_final=8", f"{rays}_fade_kimg=0.004", "--kimg=0.008"]
    ran = run_script("eg3d/train.py", *clouds, *flags, f"--outdir={tmp_path / 'run'}")
    assert ran.code == 0, ran.stderr
    snapshot = tmp_path / "run" / "network-snapshot-000000.safetensors"
    G, G_ema = load_network(snapshot, "G"), load_generator(snapshot)
    assert isinstance(G_ema, Rays) and (G.neural_rendering_resolution, G_ema.neural_rendering_resolution) == (4, 8)


@dataclass(frozen=True, kw_only=True)
class CriticConfig(NetworkConfig):
    width: int = 5


class Critic(torch.nn.Module):
    """Judges both pictures by two layers."""

    def __init__(self, config: CriticConfig, img_resolution: int, c_dim: int):
        super().__init__()
        self.config, self.img_resolution, self.c_dim = config, img_resolution, c_dim
        self.first = torch.nn.Linear(6 + c_dim, config.width)
        self.last = torch.nn.Linear(config.width, 1)

    def forward(self, img, c, draws=None):
        means = [img[name].square().mean(dim=(2, 3)) for name in ("image", "image_raw")]
        return self.last(self.first(torch.cat([*means, c], dim=1)).relu())


def test_another_discriminator_trains_and_is_saved_too(clouds, run_script, monkeypatch, tmp_path):
    monkeypatch.setitem(DISCRIMINATORS, "Critic", Architecture(Critic, CriticConfig))
    run = dataclasses.replace(PRESETS["clouds"], discriminator=CriticConfig(width=6))
    monkeypatch.setitem(PRESETS, "clouds", run)
    outdir = tmp_path / "run"
    ran = run_script("eg3d/train.py", *clouds, f"--outdir={outdir}", "--kimg=0.004")
    assert ran.code == 0, ran.stderr
    D = load_discriminator(outdir / "network-snapshot-000000.safetensors")
    assert isinstance(D, Critic) and (D.config.width, D.img_resolution, D.c_dim) == (6, SIDE, 25)
    state = load_state(outdir / "training-state.pt")
    assert all(torch.equal(D.state_dict()[key], value) for key, value in state["networks"]["D"].items())
    ran = run_script("eg3d/train.py", *clouds, f"--outdir={tmp_path / 'other'}", "--cbase=512")
    assert ran.code == 2 and "--cbase=512: the networks of this --cfg have no such setting; drop --cbase" in ran.stderr


def test_what_has_no_row_cannot_be_stored():
    with pytest.raises(ValueError, match="Critic cannot be stored: add a row to eg3d/models/architectures.py"):
        file_arguments(Critic(CriticConfig(), 8, 25))


def test_the_page_of_help_shows_what_it_has(clouds, run_script):
    page = " ".join(run_script("eg3d/train.py", "--help").stdout.split())
    assert "clouds 12, discriminator 16]" in page  # --cmax
    assert "embedded, clouds 2; " not in page and "clouds none]" in page  # --map-depth


def test_a_configuration_names_its_class_unless_it_is_the_tri_planes(clouds):
    plain = json.loads(json.dumps(to_dict(PRESETS["clouds"])))
    assert plain["generator"]["class"] == "Clouds" and from_dict(plain) == PRESETS["clouds"]
    assert "class" not in plain["discriminator"] and "class" not in to_dict(PRESETS["ffhq"])["generator"]
    plain["generator"]["class"] = "Fog"
    with pytest.raises(ConfigError, match="is of the unknown class Fog; known: TriPlaneGenerator, .*EyeField, Clouds"):
        from_dict(plain)
