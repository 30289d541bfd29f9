"""The published networks: same names, shapes and order; same numbers for the golden weights."""

import golden
import pytest
import torch
from tiny_networks import discriminator_of, generator_of

from eg3d.ops.resize import filtered_resizing
from eg3d.rendering import definition


def golden_generator(name):
    facts, arrays = golden.load(name)
    k = facts["kwargs"]
    G = generator_of(
        z_dim=k["z_dim"], c_dim=25, w_dim=512, img_resolution=k["img_resolution"], img_channels=3, sr_num_fp16_res=0,
        mapping_kwargs={"num_layers": k["mapping_layers"]}, channel_base=k["channel_base"], num_fp16_res=0,
        channel_max=k["channel_max"], conv_clamp=None, fused_modconv_default="inference_only",
        rendering_kwargs=k["rendering_kwargs"]
        | {"superresolution_module": f"training.superresolution.{k['superresolution']}"},
        neural_rendering_resolution=k["neural_rendering_resolution"],
    ).eval()  # fmt: skip
    golden.fill_gan(G, facts["seed"])
    return G, facts, arrays


def names_and_shapes(module):
    return {name: list(value.shape) for name, value in module.state_dict().items()}


@pytest.mark.parametrize("name", ["generator_2x_128", "generator_8xdc_512"])
def test_generator_matches_the_published_network(name):
    G, facts, expected = golden_generator(name)
    assert list(names_and_shapes(G).items()) == list(facts["state_dict"].items())
    assert sorted(n for n, _ in G.named_parameters()) == facts["parameters"]
    c, c_cond = expected["c"], expected["c_cond"]
    z = golden.draw("z", (len(c), G.z_dim), facts["seed"])
    deterministic = dict(noise_mode="const", draws=golden.Constant())
    k = facts["kwargs"]
    with torch.no_grad():
        ws = G.mapping(z, c_cond, k["truncation_psi"], k["truncation_cutoff"])
        planes = G.planes(ws, **deterministic).flatten(1, 2)
        out = G.synthesis(ws, c, **deterministic)
        points = 0.3 * golden.draw("points", expected["sample_points"].shape, facts["seed"])
        field = G.sample(points[: len(ws)], None, z, c_cond, **deterministic)  # without truncation
    assert ws.shape[1] == int(expected["num_ws"])
    golden.assert_golden(ws[:, 0], expected["ws0"])
    golden.assert_golden(ws[:, -1], expected["ws_last"])
    golden.assert_golden(golden.every_kth(planes, 16), expected["planes"], of=planes)
    golden.assert_golden(golden.stats(planes), expected["planes_stats"], of=planes)
    for key, value in out.items():
        golden.assert_golden(golden.every_kth(value), expected[key], of=value)
        golden.assert_golden(golden.stats(value), expected[f"{key}_stats"], of=value)
    golden.assert_golden(points, expected["sample_points"])
    golden.assert_golden(field["sigma"], expected["sample_sigma"])
    golden.assert_golden(field["rgb"], expected["sample_rgb"])


def test_the_definition_of_the_renderer_draws_the_published_raw_picture():
    G, facts, expected = golden_generator("generator_2x_128")
    k, deterministic = facts["kwargs"], dict(noise_mode="const", draws=golden.Constant())
    z = golden.draw("z", (len(expected["c"]), G.z_dim), facts["seed"])
    G.renderer.forward = definition.render
    with torch.no_grad():
        ws = G.mapping(z, expected["c_cond"], k["truncation_psi"], k["truncation_cutoff"])
        out = G.synthesis(ws, expected["c"], **deterministic)
    for key in ("image_raw", "image_depth"):
        golden.assert_golden(golden.every_kth(out[key]), expected[key], of=out[key])


def test_dual_discriminator_matches_logits_r1_and_every_gradient():
    facts, expected = golden.load("dual_discriminator_128")
    k, seed = facts["kwargs"], facts["seed"]
    D = discriminator_of(
        c_dim=k["c_dim"], img_resolution=k["img_resolution"], img_channels=3, channel_base=k["channel_base"],
        channel_max=k["channel_max"], num_fp16_res=0, conv_clamp=None,
        epilogue_kwargs={"mbstd_group_size": k["mbstd_group_size"]},
    )  # fmt: skip
    assert list(names_and_shapes(D).items()) == list(facts["state_dict"].items())
    assert sorted(n for n, _ in D.named_parameters()) == facts["parameters"]
    golden.fill_gan(D, seed)
    image = (0.5 * golden.draw("image", (k["batch"], 3, 128, 128), seed)).requires_grad_()
    side = k["image_raw_resolution"]
    raw = (0.5 * golden.draw("image_raw", (k["batch"], 3, side, side), seed)).requires_grad_()
    logits = D({"image": image, "image_raw": raw}, expected["c"])
    grads = torch.autograd.grad(logits.sum(), [image, raw], create_graph=True)
    r1 = sum(g.square().sum(dim=(1, 2, 3)) for g in grads)
    golden.assert_golden(logits, expected["logits"])
    golden.assert_golden(r1, expected["r1_penalty"])
    golden.assert_golden(golden.every_kth(grads[0]), expected["grad_image"], of=grads[0])
    golden.assert_golden(golden.every_kth(grads[1]), expected["grad_image_raw"], of=grads[1])
    golden.assert_golden(golden.every_kth(filtered_resizing(raw, 128)), expected["resized_raw"])
    (torch.nn.functional.softplus(-logits) + 0.5 * r1[:, None]).mean().backward()
    for name, norm in facts["grad_norms_of_softplus_neg_logits_plus_half_r1"].items():
        assert D.get_parameter(name).grad.norm().item() == pytest.approx(norm, rel=2e-4, abs=1e-6), name
