import math

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_preprocessing.ffhq.fitted_cameras import fitted_labels, lookat_labels
from dataset_preprocessing.ffhq.pos import Placement, crop, frontal_points, place
from dataset_preprocessing.ffhq.recon_net import ReconNet, load_recon
from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.geometry.landmarks import STANDARD_DM
from eg3d.metrics.pose import angles_of_label


@pytest.fixture(scope="module")
def published_file(tmp_path_factory):
    """A file in the published layout with random weights, beside an optimiser as the real one has."""
    torch.manual_seed(0)
    network = ReconNet().eval()
    path = tmp_path_factory.mktemp("recon") / "epoch_20.pth"
    torch.save({"net_recon": network.state_dict(), "opt_00": {"state": {}, "lr": 1e-4}}, path)
    return path, network


def test_layout_is_the_published_one():
    network = ReconNet()
    state = network.state_dict()
    assert len(state) == 332 and sum(p.numel() for p in network.parameters()) == 24_034_625
    assert state["final_layers.3.weight"].shape == (3, 2048, 1, 1)
    assert not any(name.startswith("backbone.fc") for name in state)


def test_weights_load_give_257_numbers_and_slice_as_published(published_file):
    path, network = published_file
    loaded, digest = load_recon(path)
    crops = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        coefficients = network(crops)
        fit = loaded.fit(crops)
    assert coefficients.shape == (1, 257) and len(digest) == 64
    assert torch.allclose(fit.angles, coefficients[:, 224:227]) and torch.allclose(
        fit.translation, coefficients[:, 254:257]
    )


def test_the_variant_with_one_last_layer_is_refused(tmp_path):
    torch.save({"net_recon": {"backbone.fc.weight": torch.zeros(257, 8)}}, tmp_path / "fc.pth")
    with pytest.raises(ValueError, match="fc.pth.*one last layer"):
        load_recon(tmp_path / "fc.pth")


def test_placing_recovers_scale_and_shift():
    u, v = 180 * STANDARD_DM.numpy()[:, 0] + 400, 180 * STANDARD_DM.numpy()[:, 1] + 310
    at = place(np.stack([u, 599 - v], axis=1).astype(float), 600)
    assert at == pytest.approx(Placement(180, 400, 310), abs=1e-4)


def test_regressor_crop_puts_the_face_where_published():
    # a dot at each point of a frontal face of another scale and place, and where they are in the 224 crop
    u, v = 60 * STANDARD_DM.numpy()[:, 0] + 170, 60 * STANDARD_DM.numpy()[:, 1] + 150
    rows = 299 - v
    crops = []
    for x, y in zip(u, rows, strict=True):
        picture = np.zeros((300, 320, 3), np.float32)
        yy, xx = np.mgrid[:300, :320]
        picture += 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 18)[..., None]
        image = Image.fromarray(picture.astype(np.uint8))
        crops.append(np.asarray(crop(image, place(np.stack([u, rows], axis=1), 300)))[..., 0].astype(float))
    found = [[(c * np.arange(224)).sum() / c.sum(), (c.T * np.arange(224)).sum() / c.sum()] for c in crops]
    expected = [[80.2, 82.4], [143.6, 82.4], [112.3, 116.7], [86.3, 150.9], [137.3, 150.9]]
    assert np.abs(np.array(found) - expected).max() < 1.0


def test_frontal_points_are_the_specs_and_give_the_constant_crop():
    expected = [[187.7, 192.3], [324.0, 192.4], [256.7, 266.1], [200.7, 339.7], [310.5, 339.7]]
    assert np.abs(frontal_points(512) + 0.5 - expected).max() < 0.1
    at = place(frontal_points(512), 512)
    assert at == pytest.approx((300 / 700 * 512, 255.5, 255.5), abs=1e-3)


def test_points_in_one_place_are_refused_before_memory_is_asked_for():
    points = np.full((5, 2), 30.0) + np.eye(5)[:, :2] * 1e-4
    with pytest.raises(ValueError, match="px per decimetre"):
        crop(Image.new("RGB", (64, 64)), place(points, 64))


@pytest.mark.parametrize(
    "angles, position, direction",  # measured
    [
        ((0, 0, 0), (0, 0.006, 2.700), (0, 0)),
        ((0.2, 0, 0), (0, 0.512, 2.651), (-0.2, 0)),
        ((0, 0.4, 0), (-0.996, 0.006, 2.509), (0, -0.4)),
        ((0, -0.4, 0), (0.996, 0.006, 2.509), (0, 0.4)),
        ((0, 0, 0.1), (0, 0.006, 2.700), (0, 0)),
    ],
)
def test_cameras_of_coefficients_are_the_specs(angles, position, direction):
    label = fitted_labels(torch.tensor([angles], dtype=torch.float64), torch.zeros(1, 3))
    assert label[0, [3, 7, 11]].tolist() == pytest.approx(position, abs=1e-3)
    target = gaze_target(label)
    assert (target.pitch.item(), target.yaw.item()) == pytest.approx(direction, abs=1e-3)
    assert label[0, 16].item() == pytest.approx(4.2647, abs=1e-4)


def test_head_centred_cameras_keep_the_rotation_and_the_distance_from_the_head():
    angles, shift = torch.tensor([[0.1, 0.3, 0.05]]), torch.tensor([[0.2, -0.1, 0.4]])
    orig, cor = (fitted_labels(angles, shift, mode) for mode in ("orig", "cor"))
    assert torch.equal(orig[:, [0, 1, 2, 4, 5, 6]], cor[:, [0, 1, 2, 4, 5, 6]])
    assert orig[0, [3, 7, 11]].norm().item() == pytest.approx(2.7, abs=1e-5)
    assert (cor[0, [3, 7, 11]] - torch.tensor([0, 0, 0.175])).norm().item() == pytest.approx(2.7, abs=1e-5)


def test_lookat_labels_rebuild_the_embedded_worlds_cameras():
    yaws, pitches = torch.tensor([0.0, 0.5, -0.8]), torch.tensor([0.0, -0.3, 0.4])
    labels = make_label(lookat_pose(yaws, pitches), intrinsics_matrix(FFHQ_FOCAL))
    assert (lookat_labels(angles_of_label(labels)) - labels).abs().max() < 1e-5
    assert math.isclose(FFHQ_FOCAL, 1015 / 102 * 300 / 700, rel_tol=1e-4)
