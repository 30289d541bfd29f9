"""The shipped redirector: what it reads, where it leads, several references together; and scripts without a set."""

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.attributes import Attributes
from redirection.eye_reader import angles_shown
from redirection.interpgaze.gallery import load_gallery
from redirection.interpgaze.redirecting import leading, open_interpgaze
from redirection.interpgaze.redirector import network_input, picture
from redirection.patch_judge import Judge

GROUPS = Attributes.parse("0P@15P,0V@10V,0H@15H")
REDIRECT = "redirection/interpgaze/redirect.py"


@pytest.fixture(scope="module")
def gallery():
    return load_gallery()


@pytest.fixture(scope="module")
def front(gallery):
    """Two patches of different people that look to one side: images, angles."""
    rows = torch.nonzero((gallery.angles == torch.tensor([0.0, 0, -15])).all(dim=1))[:, 0]
    return gallery.images[rows], gallery.angles[rows]


def test_the_eye_reader_reads_patches_and_is_not_the_judge(gallery):
    assert (angles_shown(gallery.images) - gallery.angles).abs().mean(0).max() < 2.5
    assert not torch.equal(angles_shown(gallery.images), Judge.load("embedded").read(gallery.images).angles)


@pytest.fixture(scope="module")
def redirector():
    return open_interpgaze(None, "cpu", None)


def test_eyes_go_where_they_are_asked_to_and_stay_when_they_are(front, redirector):
    images, shown = front
    stays = redirector.redirect(images, shown, shown)
    assert (stays.float() - images.float()).abs().mean() < 2
    wanted = (shown + torch.tensor([0.0, 8, 22])).double()  # as numbers of NumPy come
    read = Judge.load("embedded").read(redirector.redirect(images, shown, wanted)).angles
    assert (read - wanted)[:, 1:].abs().max() < 5  # swapped branches would be off by 14


def test_a_small_move_is_seen(front, redirector):
    images, shown = front
    for way in (2.0, -2.0):  # without `prolonged` the picture stays as it is
        wanted = shown + torch.tensor([0.0, 0, way])
        change = redirector.redirect(images, shown, wanted).float() - redirector.redirect(images, shown, shown).float()
        assert change.abs().amax(dim=(1, 2, 3)).min() > 20, way


def test_factors_change_evenly_as_the_wanted_gaze_moves(gallery):
    shown = torch.tensor([[0.0, 0, 3]]).expand(601, 3)
    wanted = torch.zeros(601, 3)
    wanted[:, 2] = torch.linspace(-15, 15, 601)  # steps of 0.05 degrees
    factors = leading(gallery.angles, GROUPS, shown, wanted)[..., 2]
    assert factors.diff(dim=0).abs().sum(1).max() < 0.02  # a reference that comes at once would be a jump
    reached = (factors * (gallery.angles[:, 2] - 3)).sum(1)
    assert (reached - (wanted[:, 2] - 3)).abs().max() < 1e-3


def test_eyes_that_stay_are_the_reconstruction_bit_for_bit(front, redirector):
    images, shown = front
    network = redirector.network
    x = network_input(images, network.config)
    with torch.no_grad():
        features = network.encoder(x)
        again = (picture(network.draw(x, features, features), network.config) * 255).round().byte()
    assert torch.equal(redirector.redirect(images, shown, shown), again)


def horizontal(picture: np.ndarray) -> float:
    """What the judge reads, of the patch itself."""
    return Judge.load("embedded").read(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]).angles[0, 2].item()


def test_a_patch_without_a_set_and_without_angles_is_redirected(tmp_path, run_script_in, front):
    Image.fromarray(front[0][0].permute(1, 2, 0).numpy()).save(tmp_path / "eye.png")
    flags = ["--source=eye.png", "--face=False", "--steps=2", "--device=cpu"]
    ran = run_script_in(tmp_path, REDIRECT, *flags, "--target=,,10", "--out=a.png")
    assert ran.code == 0, ran.stderr
    still, moved = np.split(np.asarray(Image.open(tmp_path / "a.png")), 2, axis=1)
    assert horizontal(still) == pytest.approx(-15, abs=5) and horizontal(moved) == pytest.approx(10, abs=5)
    assert run_script_in(tmp_path, REDIRECT, *flags[:2], "--target=,,0", "--out=c.png").code == 0
    assert horizontal(np.asarray(Image.open(tmp_path / "c.png"))) == pytest.approx(0, abs=5)
    assert (
        run_script_in(tmp_path, REDIRECT, *flags, "--target=0,5,-17", "--out=b.png").code == 0
    )  # beyond all references


def test_degrees_of_a_right_eye_are_those_of_its_photo(tmp_path, run_script_in, front):
    name = "0001_2m_0P_0V_15H_R.png"  # its patch is mirrored and shows -15
    Image.fromarray(front[0][0].permute(1, 2, 0).numpy()).save(tmp_path / name)
    assert run_script_in(tmp_path, REDIRECT, f"--source={name}", "--target=,,-10", "--out=a.png").code == 0
    assert horizontal(np.asarray(Image.open(tmp_path / "a.png"))) == pytest.approx(10, abs=5)
