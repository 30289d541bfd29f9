"""The painters and the boxes: what must hold whatever the weights."""

import torch

from redirection.gaze_animation.eye_boxes import boxes_around, eye_crops, mask_of
from redirection.gaze_animation.face_critic import FaceCritic
from redirection.gaze_animation.face_painter import FacePainter
from redirection.gaze_animation.gaze_animator import AnimatorConfig, GazeAnimator
from redirection.gaze_animation.level_faces import mirrored
from redirection.gaze_animation.row_spectral import FORMS, SpectralConv, SpectralDeconv, SpectralLinear

NARROW = AnimatorConfig(size=32, ngf=2, nef=2, ndf=2, n_layers_g=2, n_layers_e=1, n_layers_r=1, n_layers_d=3,
                        widest=2, own=4, content=4, hidden=8)  # fmt: skip


def eyes_at(*places):
    return torch.tensor([places]).float().view(1, 2, 2)


def test_the_gradient_of_the_first_transposed_convolution_agrees_with_differences():
    torch.manual_seed(0)
    painter = FacePainter(8, (2, 2, 3), 3, 2).double()
    blanked, mask, codes = torch.rand(2, 3, 8, 8).double(), torch.ones(2, 1, 8, 8).double(), torch.rand(2, 2).double()

    def loss(weight):
        named = {"deconv0.weight": weight}
        return torch.func.functional_call(painter, named, (blanked, mask, codes)).square().sum()

    weight = painter.deconv0.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, weight, eps=1e-7, atol=1e-4, fast_mode=True)


def test_a_box_covers_its_pixels_and_nothing_beyond_the_picture():
    boxes = boxes_around(eyes_at(3, 10, 20, 31), (10, 6))
    assert boxes.tolist() == [[[-2, 7, 8, 13], [15, 28, 25, 34]]]
    mask = mask_of(boxes, 32)[0, 0]
    assert mask[7:13, :8].all() and mask[28:, 15:25].all() and mask.sum() == 6 * 8 + 4 * 10


def test_without_a_size_the_box_of_a_face_follows_the_distance_of_its_eyes():
    boxes = boxes_around(torch.cat([eyes_at(12, 14, 20, 14), eyes_at(8, 14, 24, 14)]), None, 32)
    small, large = mask_of(boxes, 32).sum((1, 2, 3)).tolist()
    assert 3 * small < large < 6 * small


def test_a_crop_holds_the_pixels_of_the_box_and_zero_beyond_the_picture():
    columns = torch.arange(32.0).expand(1, 3, 32, 32)
    crops = eye_crops(columns, torch.tensor([[[8.0, 8, 16, 16], [-8, -8, 8, 8]]]))
    start, end = 8 / 32 * 31, 16 / 32 * 31
    assert torch.allclose(crops[0, 0, 3], torch.linspace(start, end, 8), atol=1e-4)
    assert (crops[0, 3:, :4] == 0).all() and (crops[0, 3:, 4:, :4] == 0).all() and (crops[0, 3, 4:, 5:] > 0).all()


def test_boxes_of_a_mirrored_picture_cover_the_mirrored_pixels_left_and_right_exchanged():
    picture, eyes = torch.rand(1, 3, 32, 32), eyes_at(9, 12, 22, 14)
    turned, its = mirrored(picture, eyes)
    boxes, new = boxes_around(eyes, (6, 4), 32), boxes_around(its, (6, 4), 32)
    assert torch.equal(mask_of(new, 32), mask_of(boxes, 32).flip(3))
    crops, of_turned = eye_crops(picture, boxes), eye_crops(turned, new)
    assert (of_turned[:, :3] - crops[:, 3:].flip(3)).abs().mean() < 0.1 < (of_turned[:, :3] - crops[:, :3]).abs().mean()


def test_a_narrow_network_of_any_depth_keeps_what_lies_outside_the_boxes():
    torch.manual_seed(0)
    nets, faces = GazeAnimator(NARROW), torch.rand(2, 3, 32, 32)
    boxes = boxes_around(eyes_at(8, 12, 24, 12).repeat(2, 1, 1), (8, 6))
    inside = mask_of(boxes, 32).expand_as(faces) == 1
    for drawn in (nets.correct(faces, boxes), nets.frame(faces, boxes, 1.4)):
        assert torch.equal(drawn[~inside], faces[~inside]) and not torch.equal(drawn[inside], faces[inside])


def test_a_painter_never_sees_the_eyes_that_it_paints():
    torch.manual_seed(0)
    nets, faces = GazeAnimator(NARROW), torch.rand(1, 3, 32, 32)
    boxes = boxes_around(eyes_at(8, 12, 24, 12), (8, 6))
    content, gaze = torch.rand(1, 8), torch.rand(1, 2)
    other = torch.where(mask_of(boxes, 32) == 1, torch.rand(1, 3, 32, 32), faces)
    for paint in (lambda x: nets.correct(x, boxes, content), lambda x: nets.paint(x, boxes, gaze, content)):
        assert torch.equal(paint(faces), paint(other))


def test_alpha_0_and_1_show_the_codes_of_the_face_and_of_its_correction():
    torch.manual_seed(0)
    nets, faces = GazeAnimator(NARROW), torch.rand(1, 3, 32, 32)
    boxes = boxes_around(eyes_at(8, 12, 24, 12), (8, 6))
    for alpha, codes in zip((0, 1), nets.ends(faces, boxes), strict=True):
        wanted = nets.paint(faces, boxes, codes.gaze, codes.content)
        assert torch.allclose(nets.frame(faces, boxes, alpha), wanted, atol=1e-6)
    assert not torch.equal(nets.frame(faces, boxes, 0), nets.frame(faces, boxes, 1))


def test_with_one_vector_each_layer_reaches_singular_value_one():
    torch.manual_seed(0)
    for layer, x, matrix in (
        (SpectralConv(3, 5, "vector"), torch.rand(1, 3, 8, 8), lambda w: w.permute(2, 3, 1, 0).flatten(0, 2)),
        (SpectralDeconv(5, 3, "vector"), torch.rand(1, 5, 8, 8), lambda w: w.permute(2, 3, 1, 0).flatten(0, 2)),
        (SpectralLinear(7, 5, "vector"), torch.rand(1, 7), lambda w: w.T),
    ):
        for _ in range(300):
            layer(x)
        assert abs(torch.linalg.matrix_norm(matrix(layer._divided().detach()), 2).item() - 1) < 1e-3
        assert torch.allclose(layer(2 * x) - layer(x), layer(x) - layer(0 * x), atol=1e-4)  # still linear


def test_only_calls_in_training_mode_iterate():
    torch.manual_seed(0)
    for form in FORMS:
        critic = FaceCritic(32, (2, 2), (2, 2), 4, form)
        before = critic.fc1.sn_u.clone()
        arguments = torch.rand(1, 3, 32, 32), boxes_around(eyes_at(8, 12, 24, 12), (8, 6))
        critic.eval()(*arguments)
        assert torch.equal(critic.fc1.sn_u, before)
        critic.train()(*arguments)
        assert not torch.equal(critic.fc1.sn_u, before)
