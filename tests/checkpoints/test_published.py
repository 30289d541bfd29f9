"""Published files: what is read is what was written, they draw the same pictures, and nothing in them runs."""

import copy
import http.server
import threading
import warnings
from dataclasses import replace

import pytest
import torch
from published_layout import canary_source, smallest_networks, write_published
from tiny_networks import generator_of

from eg3d.checkpoints import loading as checkpoint
from eg3d.checkpoints.arguments import file_arguments
from eg3d.checkpoints.loading import CheckpointError
from eg3d.checkpoints.published import save_state_dict
from eg3d.checkpoints.stored import digest
from eg3d.config import presets
from eg3d.models.generator import TriPlaneGenerator
from eg3d.rendering.planes import AXES, PLANE_MATRICES

pytestmark = pytest.mark.filterwarnings("ignore:.*fixed_triplanes looks the same")
SPELLINGS = {
    "today": {},
    "PyTorch 1": dict(torch_spelling="torch1"),
    "NumPy 1": dict(numpy_spelling="numpy1"),
    "protocol 3": dict(protocol=3),
    "protocol 5": dict(protocol=5),
    "all that is old": dict(protocol=3, torch_spelling="torch1", numpy_spelling="numpy1", cuda=True),
    "from a GPU": dict(cuda=True),
}


@pytest.fixture(scope="module")
def networks():
    G, D = smallest_networks()
    G_ema = smallest_networks(seed=1)[0]
    return {"G": G, "D": D, "G_ema": G_ema}


@pytest.fixture
def published(tmp_path, networks):
    """published(**options) writes the three networks -> path; the test fails if the stored source was executed."""
    canary = tmp_path / "canary"

    def write(**options):
        options = {**networks, "module_src": canary_source(canary), **options}
        write_published(tmp_path / "net.pkl", **options)
        return tmp_path / "net.pkl"

    yield write
    assert not canary.exists(), "the source stored in the file was executed"


def pictures(G):
    """What G draws for two latents, without any randomness."""
    z = torch.linspace(-1, 1, 2 * G.z_dim).reshape(2, -1)
    label = torch.zeros(2, 25)
    label[:, [0, 5, 10, 15]], label[:, 11] = torch.tensor([1.0, -1, -1, 1]), 1.7
    label[:, 16], label[:, 20], label[:, 18], label[:, 21], label[:, 24] = 1.7, 1.7, 0.5, 0.5, 1
    torch.manual_seed(0)
    with torch.no_grad():
        return G(z, label, noise_mode="const", neural_rendering_resolution=16)["image"]


def rendering_of(G) -> dict:
    return file_arguments(G)["rendering_kwargs"]


def assert_same(network, other):
    mine, theirs = network.state_dict(), other.state_dict()
    assert list(mine) == list(theirs)
    for name in mine:
        assert mine[name].dtype == torch.float32 and torch.equal(mine[name], theirs[name]), name


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_tensor_of_a_published_file_is_read_exactly(published, networks, spelling):
    path = published(**SPELLINGS[spelling])
    assert checkpoint.open_checkpoint(path).kind == "published pickle"
    for name, network in networks.items():
        assert_same(checkpoint.load_network(path, name), network)


def test_a_generator_from_a_published_file_draws_the_same_picture(published, networks):
    G = checkpoint.load_generator(published())
    assert torch.equal(pictures(G), pictures(networks["G_ema"]))
    assert not G.training and not any(p.requires_grad for p in G.parameters())


def test_conversions_there_and_back_change_no_bit(published, networks, tmp_path, run_script):
    names = [published(), *(tmp_path / name for name in ("a.safetensors", "b.pt", "c.safetensors"))]
    for source, dest in zip(names, names[1:], strict=False):
        code, _, err = run_script("eg3d/convert.py", f"--source={source}", f"--dest={dest}")
        assert code == 0 and "cannot build" not in err, err
    digests = {
        name: {digest(checkpoint.open_checkpoint(path).network(name).read()) for path in names} for name in networks
    }
    assert all(len(found) == 1 for found in digests.values())
    G = checkpoint.load_generator(names[-1])
    assert_same(G, networks["G_ema"])
    assert torch.equal(pictures(G), pictures(networks["G_ema"]))
    facts = checkpoint.open_checkpoint(names[-1]).facts
    assert facts["converted_from"]["file"] == "b.pt" and "published" in facts


def test_a_state_dict_has_the_published_names_and_arguments_only(networks, tmp_path):
    assert save_state_dict(tmp_path / "net.pt", networks, {}) == []
    plain = torch.load(tmp_path / "net.pt", weights_only=True)
    entry = plain["G_ema"]
    # of the published constructor; our own have the values that are wired in there
    assert set(entry["init_kwargs"]) == {
        "z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "sr_num_fp16_res", "mapping_kwargs",
        "rendering_kwargs", "sr_kwargs", "channel_base", "channel_max", "num_fp16_res", "conv_clamp",
    }  # fmt: skip
    assert set(entry["state_dict"]) == set(networks["G_ema"].state_dict())
    rebuilt = generator_of(**entry["init_kwargs"])
    rebuilt.load_state_dict(entry["state_dict"])
    assert_same(rebuilt, networks["G_ema"])


def test_what_the_published_code_cannot_build_is_said(tmp_path, tiny_generator):
    obstacles = save_state_dict(tmp_path / "net.pt", {"G_ema": tiny_generator}, {})
    assert any("plane_resolution=16" in line for line in obstacles) and any("w_dim=32" in line for line in obstacles)
    assert_same(checkpoint.load_generator(tmp_path / "net.pt"), tiny_generator)


def test_one_network_saved_by_hand_is_a_checkpoint(networks, tmp_path):
    G = networks["G"]
    torch.save({"init_kwargs": file_arguments(G), "state_dict": G.state_dict()}, tmp_path / "mine.pt")
    assert_same(checkpoint.load_generator(tmp_path / "mine.pt"), G)
    torch.save(
        {"init_kwargs": file_arguments(G), "state_dict": G.state_dict()},
        tmp_path / "old.pt",
        _use_new_zipfile_serialization=False,
    )
    assert_same(checkpoint.load_generator(tmp_path / "old.pt"), G)
    torch.save(G.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match="without their network's arguments"):
        checkpoint.load_generator(tmp_path / "bare.pt")


def test_the_attributes_win_over_the_constructor_s_arguments(published, networks):
    rendering = rendering_of(networks["G"]) | {"depth_resolution": 7, "box_warp": 1.25}
    G = checkpoint.load_generator(published(rendering_kwargs=rendering, neural_rendering_resolution=32))
    assert (G.options.depth_resolution, G.options.box_warp) == (7, 1.25)
    assert G.neural_rendering_resolution == 32


def test_a_missing_c_scale_is_zero_as_in_the_published_code(published, networks):
    """There, conditioning without the key was silently off (published_defects.md, D-18); equal pictures need it."""
    rendering = {k: v for k, v in rendering_of(networks["G"]).items() if k != "c_scale"}
    rendering["c_gen_conditioning_zero"] = False
    path = published(rendering_kwargs=rendering)
    assert any("no c_scale" in note for note in checkpoint.open_checkpoint(path).notes)
    G = checkpoint.load_generator(path)
    assert G.config.pose_cond and G.config.c_scale == 0


def test_a_setting_nobody_knows_is_left_out_and_said(published, networks):
    path = published(rendering_kwargs=rendering_of(networks["G"]) | {"colour": 3})
    assert any("'colour'" in note for note in checkpoint.open_checkpoint(path).notes)
    assert checkpoint.load_generator(path).config == networks["G"].config


def test_a_setting_nobody_knows_is_refused_in_a_file_that_is_not_the_published_code_s(networks, tmp_path):
    path = hand_made(tmp_path / "x.pt", networks["G"], whiteback=True)
    with pytest.raises(CheckpointError, match="rendering_kwargs has unknown keys: whiteback"):
        checkpoint.load_generator(path)


def test_the_planes_of_the_file_are_honoured(published):
    yz = checkpoint.load_generator(published(plane_axes=PLANE_MATRICES["yz"]))
    assert yz.options.planes == "yz"
    with pytest.raises(CheckpointError, match="axes that the renderer does not know"):
        checkpoint.load_generator(published(plane_axes=torch.zeros(3, 3, 3)))


def test_files_of_the_branch_fixed_triplanes_draw_its_heads(published, networks, tmp_path, run_script):
    """That branch changed the code of the projection; its files carry the published matrices and look published."""
    path, right = published(), copy.deepcopy(networks["G_ema"])
    right.config = replace(right.config, rendering=replace(right.config.rendering, planes="fixed_triplanes"))
    right = pictures(right)
    with pytest.warns(UserWarning, match="fixed_triplanes looks the same"):
        assert not torch.allclose(pictures(checkpoint.load_generator(path)), right, atol=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        G = checkpoint.load_generator(path, planes="fixed_triplanes")
        assert torch.equal(pictures(G), right)
        names = [path, "a.safetensors", "b.pt", "c.safetensors"]
        for source, dest in zip(names, names[1:], strict=False):
            flags = ["--planes=fixed_triplanes"] if source == path else []
            code, _, err = run_script("eg3d/convert.py", f"--source={source}", f"--dest={dest}", *flags)
            assert code == 0 and "looks the same" not in err, err
            assert checkpoint.load_generator(tmp_path / dest).options == G.options
    _, out, _ = run_script("eg3d/inspect_checkpoint.py", path)
    assert out.count("note: planes: published; a file of EG3D's branch fixed_triplanes") == 1
    _, out, _ = run_script("eg3d/inspect_checkpoint.py", path, "--planes=fixed_triplanes")
    assert "planes fixed_triplanes" in out and "note:" not in out
    _, out, _ = run_script("eg3d/inspect_checkpoint.py", "c.safetensors")
    assert "planes fixed_triplanes" in out and "note:" not in out


def test_plane_matrices_project_as_the_plane_axes_say():
    point = torch.tensor([[2.0, 3.0, 5.0]])
    assert set(AXES) == set(PLANE_MATRICES)
    for name, axes in AXES.items():
        for matrix, (width, height) in zip(PLANE_MATRICES[name], axes, strict=True):
            projected = point @ torch.linalg.inv(torch.tensor(matrix).float())
            assert projected[0, :2].tolist() == [point[0, width], point[0, height]]


def test_facts_about_the_data_set_travel_along(published):
    path = published(training_set_kwargs={"path": "faces.zip", "resolution": 128}, augment_pipe=True)
    facts = checkpoint.open_checkpoint(path).facts["published"]
    assert facts == {"training_set_kwargs": {"path": "faces.zip", "resolution": 128}, "augment_pipe": "AugmentPipe"}


def test_networks_may_be_absent(published, networks):
    path = published(G=None, D=None)
    assert list(checkpoint.open_checkpoint(path).networks) == ["G_ema"]
    with pytest.raises(CheckpointError, match="holds no network D"):
        checkpoint.load_discriminator(path)


def test_discriminators_of_all_published_kinds_are_built(published, networks):
    assert_same(checkpoint.load_discriminator(published(class_names={"D": "DummyDualDiscriminator"})), networks["D"])
    with pytest.raises(CheckpointError, match="D is a StarDiscriminator"):
        checkpoint.load_discriminator(published(class_names={"D": "StarDiscriminator"}))


def test_a_stylegan_file_is_refused_clearly(published):
    with pytest.raises(CheckpointError, match="a Generator, no tri-plane generator: a StyleGAN file cannot"):
        checkpoint.load_generator(published(class_names={"G_ema": "Generator", "G": "Generator", "D": "Discriminator"}))


def test_the_faded_discriminator_fades_its_raw_input(networks):
    from eg3d.models.discriminator import DummyDualDiscriminator

    D = DummyDualDiscriminator(networks["D"].config, 128, raw_fade=0.25).eval()
    D.load_state_dict(networks["D"].state_dict())
    generator = torch.Generator().manual_seed(0)
    images = {"image": torch.randn(2, 3, 128, 128, generator=generator), "image_raw": torch.randn(2, 3, 64, 64)}
    faded = images | {"image_raw": images["image_raw"] * 0.25}
    c = torch.ones(2, 25)
    assert torch.equal(D(images, c), networks["D"](faded, c))
    assert not torch.equal(D(images, c), networks["D"](images, c))


def test_every_loader_of_a_generator_takes_the_same_names(published, networks, tmp_path, run_script):
    address = published().as_uri()
    assert_same(checkpoint.load_generator(address), networks["G_ema"])
    options = ("--seeds=0", "--outdir=out", "--trunc=1")
    code, _, err = run_script("eg3d/gen_samples.py", f"--network={address}", *options)
    assert code == 0 and (tmp_path / "out" / "seed0000.png").exists(), err


def test_the_presets_build_what_published_files_hold():
    """The fine-tuning command matches tensors by name and shape with the networks of its preset."""
    for preset, tensors in ((presets.FFHQ, 176), (presets.AFHQ, 176)):
        with torch.device("meta"):
            G = TriPlaneGenerator(preset.generator)
        assert len(G.state_dict()) == tensors


# ------------------------------------------------------------------ found by a reviewer


def hand_made(path, G, facts="{}", **settings):
    """A state-dict file of one network, its settings changed."""
    arguments = file_arguments(G) | {"rendering_kwargs": rendering_of(G) | settings}
    torch.save({"init_kwargs": arguments, "state_dict": G.state_dict(), "facts": facts}, path)
    return path


WRONG_SETTINGS = {
    "box_warp": 0, "avg_camera_pivot": "x", "avg_camera_radius": -1, "c_scale": "x", "depth_resolution": 10**6,
    "depth_resolution_importance": 1.5, "ray_start": None, "density_noise": "much",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_settings_that_cannot_be_drawn_with_are_refused_by_name(networks, tmp_path, name):
    path = hand_made(tmp_path / "x.pt", networks["G"], **{name: WRONG_SETTINGS[name]})
    with pytest.raises(CheckpointError, match=rf"x\.pt: its arguments build no .*{name.removeprefix('avg_camera_')}="):
        checkpoint.load_generator(path)


@pytest.mark.parametrize("facts", ['{"gaze": 3}', '{"a": NaN}', "[1]", "{"])
def test_damaged_facts_are_one_line_that_names_the_file(networks, tmp_path, facts):
    with pytest.raises(CheckpointError, match=r"x\.pt: its .* damaged"):
        checkpoint.open_checkpoint(hand_made(tmp_path / "x.pt", networks["G"], facts))


def test_no_checkpoint_is_lost_under_its_own_conversion_or_description(published, run_script):
    path = published()
    before = path.read_bytes()
    copy = path.with_suffix(".safetensors")
    copy.write_bytes(before)
    for script, *arguments in (
        ("eg3d/inspect_checkpoint.py", path, f"--json={path}"),
        ("eg3d/convert.py", f"--source={copy}", f"--dest={copy}", "--half"),
    ):
        code, _, err = run_script(script, *arguments)
        assert code == 2 and "which would be lost" in err and err.count("\n") == 1
    assert path.read_bytes() == before == copy.read_bytes()


def test_folders_and_empty_names_are_told_apart_from_missing_files(tmp_path):
    for name, message in ((tmp_path, "is a folder"), ("", "is empty"), (tmp_path / "x.pkl", "no such file")):
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load_generator(name)


def test_a_wrong_download_names_its_address_and_is_asked_for_again(published, networks, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    contents = [b"no checkpoint at all, but it came with status 200", published().read_bytes()]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = contents.pop(0)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/net.pkl"
        with pytest.raises(CheckpointError, match=rf"^{address}: what came from there cannot be used"):
            checkpoint.load_generator(address)
        assert_same(checkpoint.load_generator(address), networks["G_ema"])
        server.shutdown()
    assert not contents
