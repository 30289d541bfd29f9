"""Generator and discriminator in the order of the published code, in plain PyTorch: the twin of `eg3d.models`.

The modules of `eg3d.models` only hold the tensors here, whose names and shapes are the published ones; every operation
is written below, for float32 training of networks with the published architectures ('skip' for G, 'resnet' for D).
Rays are rendered by `eg3d/rendering/definition.py`, which sorts colours as the published order does, and is as fast.
The layers are those of StyleGAN2 (section 2 and appendix B) and EG3D (section 4):

* activations lie NCHW; bias, activation, gain and clamp are operations of their own;
* `upfirdn2d` stuffs zeros, pads, filters depthwise and then drops samples; an enlarging 3 x 3 convolution is a
  transposed convolution and then the filter with gain 4, a shrinking one is the filter and then a strided convolution;
* fused_modconv_default='inference_only': in training activations are scaled before and after a shared convolution; the
  demodulation is computed from per-sample weights [N, O, I, k, k];
* the planes' image is enlarged and added to block by block.

If two ways compute the same, the quicker one is taken: `addcmul` for x * d + noise, and the image is added to in place
if the block has just made it.
"""

import math

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label
from eg3d.geometry.rays import camera_rays
from eg3d.rendering import definition

# ---------------------------------------------------------------- layers


def bias_act(x, b, act="linear", gain=None, clamp=None):
    if b is not None:
        x = x + b.reshape(1, -1, *[1] * (x.ndim - 2))
    if act == "lrelu":
        x = F.leaky_relu(x, 0.2)
    gain = (math.sqrt(2) if act == "lrelu" else 1) if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def upfirdn2d(x, f, up=1, down=1, padding=(0, 0, 0, 0), gain=1.0):
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, c, h, 1, w, 1), [0, up - 1, 0, 0, 0, up - 1]).reshape(n, c, h * up, w * up)
    x = F.pad(x, padding)
    kernel = (f * gain).to(x.dtype).flip(0, 1).expand(c, 1, *f.shape)
    x = F.conv2d(x, kernel, groups=c)
    return x if down == 1 else x[:, :, ::down, ::down]


def conv2d_resample(x, weight, f, up=1, down=1):
    k = weight.shape[-1]
    if down == 2 and k == 1:
        return F.conv2d(upfirdn2d(x, f, down=2, padding=(1, 1, 1, 1)), weight)
    if down == 2:
        return F.conv2d(upfirdn2d(x, f, padding=(2, 2, 2, 2)), weight, stride=2)
    if up == 2:
        return upfirdn2d(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), f, padding=(1, 1, 1, 1), gain=4)
    return F.conv2d(x, weight, padding=k // 2)


def modulated_conv2d(x, weight, styles, noise=None, f=None, up=1, demodulate=True):
    d = None
    if demodulate:
        per_sample = weight[None] * styles[:, None, :, None, None]
        d = (per_sample.square().sum(dim=(2, 3, 4)) + 1e-8).rsqrt()[:, :, None, None]
    x = conv2d_resample(x * styles[:, :, None, None], weight, f, up)
    if d is None:
        return x
    return x * d if noise is None else torch.addcmul(noise, x, d)


def fully_connected(layer, x):
    weight = layer.weight * layer.weight_gain
    bias = layer.bias if layer.bias_gain == 1 else layer.bias * layer.bias_gain
    if layer.activation == "linear":
        return torch.addmm(bias[None], x, weight.t())
    return bias_act(x @ weight.t(), bias, layer.activation)


def mapping(m, z, c):
    """[N, w_dim], before it is repeated for every layer."""
    parts = [] if m.z_dim == 0 else [_normalised(z)]
    x = torch.cat([*parts, _normalised(fully_connected(m.embed, c))], dim=1)
    for i in range(m.num_layers):
        x = fully_connected(getattr(m, f"fc{i}"), x)
    return x


def _normalised(x):
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def conv_layer(layer, x, gain=1.0):
    x = conv2d_resample(x, layer.weight * layer.weight_gain, layer.resample_filter, down=layer.down)
    clamp = None if layer.conv_clamp is None else layer.conv_clamp * gain
    return bias_act(x, layer.bias, layer.activation, layer.act_gain * gain, clamp)


# ---------------------------------------------------------------- generator


def synthesis_layer(layer, x, w, draws):
    """draws None: no noise."""
    styles, noise = fully_connected(layer.affine, w), None
    if draws is not None:
        noise = draws.normal((len(x), 1, layer.resolution, layer.resolution), x.device) * layer.noise_strength
    x = modulated_conv2d(x, layer.weight, styles, noise, layer.resample_filter, layer.up)
    return bias_act(x, layer.bias, layer.activation, clamp=layer.conv_clamp)


def to_rgb(layer, x, w):
    styles = fully_connected(layer.affine, w) * layer.weight_gain
    return bias_act(modulated_conv2d(x, layer.weight, styles, demodulate=False), layer.bias, clamp=layer.conv_clamp)


def synthesis_block(block, x, img, ws, draws):
    assert block.architecture == "skip"
    rows = iter(ws.unbind(dim=1))
    if block.in_channels == 0:
        x = block.const[None].repeat(len(ws), 1, 1, 1)
    else:
        x = synthesis_layer(block.conv0, x, next(rows), draws)
    x = synthesis_layer(block.conv1, x, next(rows), draws)
    rgb = to_rgb(block.torgb, x, next(rows))
    if img is None:
        return x, rgb
    if block.up == 2:
        return x, upfirdn2d(img, block.resample_filter, up=2, padding=(2, 1, 2, 1), gain=4).add_(rgb)
    return x, img + rgb  # published in place, into a view of the raw image: D-02, whose backward pass fails in float32


def styles_of(G, z, conditioning):
    """[N, num_ws, w_dim]."""
    c = conditioning if G.config.pose_cond else torch.zeros_like(conditioning)
    w = mapping(G.backbone.mapping, z, c * G.config.c_scale)
    return w[:, None].repeat(1, G.num_ws, 1)


def planes(G, ws, draws):
    """[N, 3, C, H, W]."""
    x = img = None
    first = 0
    for r in G.backbone.synthesis.resolutions:
        block = getattr(G.backbone.synthesis, f"b{r}")
        x, img = synthesis_block(block, x, img, ws[:, first : first + block.num_conv + 1], draws)
        first += block.num_conv
    return img.reshape(len(img), 3, -1, *img.shape[2:])


def superresolution(m, rgb, x, ws):
    ws = ws[:, -1:].repeat(1, 3, 1)
    if x.shape[-1] != m.input_resolution:
        x, rgb = (_resized(t, m.input_resolution, m.sr_antialias) for t in (x, rgb))
    for block in (m.block0, m.block1):
        x, rgb = synthesis_block(block, x, rgb, ws, draws=None)
    return rgb


def synthesis(G, ws, c, side, draws):
    """image [N, 3, S, S] and image_raw [N, 3, R, R]; super-resolution without noise, as every preset has it."""
    assert G.config.superresolution.noise_mode == "none"
    options = G.options
    origins, directions = camera_rays(*split_label(c), side)
    features, _ = definition.render(planes(G, ws, draws), G.decoder, origins, directions, options, draws)
    features = features.reshape(len(ws), -1, side, side).contiguous()
    raw = features[:, :3]
    return {"image": superresolution(G.superresolution, raw, features, ws), "image_raw": raw}


def density(G, ws, points, draws):
    """Raw sigma [N, P] at points [N, P, 3]."""
    return definition.field(planes(G, ws, draws), G.decoder, points, G.options, draws)[1]


# ---------------------------------------------------------------- discriminator


def discriminator_block(block, x, img):
    assert block.architecture == "resnet"
    if hasattr(block, "fromrgb"):
        x = conv_layer(block.fromrgb, img)
    skip = conv_layer(block.skip, x, gain=math.sqrt(0.5))
    return skip.add_(conv_layer(block.conv1, conv_layer(block.conv0, x), gain=math.sqrt(0.5)))


def minibatch_std(x, group_size):
    n, c, h, w = x.shape
    group = min(group_size, n)
    y = x.reshape(group, n // group, 1, c, h, w)
    y = y - y.mean(dim=0)
    y = (y.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    return torch.cat([x, y.reshape(-1, 1, 1, 1).repeat(group, 1, h, w)], dim=1)


def judge(D, pair, c):
    """Logits [N, 1] of image and image_raw at cameras c [N, 25]."""
    x, img = None, torch.cat([pair["image"], _resized(pair["image_raw"], D.img_resolution)], dim=1)
    for r in D.resolutions:
        x = discriminator_block(getattr(D, f"b{r}"), x, img)
    cmap, end = mapping(D.mapping, None, c), D.b4
    x = conv_layer(end.conv, minibatch_std(x, end.mbstd_group_size))
    x = fully_connected(end.out, fully_connected(end.fc, x.flatten(1)))
    return (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(end.cmap_dim)


def real_pair(images, side):
    """Real images [N, 3, S, S] and the same at the rays' resolution."""
    return {"image": images, "image_raw": _resized(images, side)}


def _resized(x, side, antialias=True):
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False, antialias=antialias)
