"""Writes network pickles in EG3D's published layout (spec section 11) from our networks, to test their reader.

The nesting is rebuilt with stub classes that bear the published names, and Python's own pickler writes it: what comes
out has the opcodes, the memo and the nested legacy torch.save blobs of a real snapshot. The stub modules are in
sys.modules only while a file is written. Where the spec is silent (names of instance attributes, names of source
files, order of children without tensors) the values are guesses; a reader must not depend on them.
"""

import contextlib
import copy
import io
import math
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eg3d import presets
from eg3d.models import backbone, blocks, decoder, discriminator, layers, mapping
from eg3d.models.generator import TriPlaneGenerator
from eg3d.models.superresolution import Superresolution
from eg3d.ops.bias_act import ACTIVATIONS
from eg3d.rendering.renderer import VolumeRenderer

# Where each persistent class was defined; all others share one file. Only "one text per file" matters, not its name.
SOURCE_FILES = {
    "TriPlaneGenerator": "training/triplane.py",
    "SynthesisBlockNoUp": "training/superresolution.py",
    "SingleDiscriminator": "training/dual_discriminator.py",
    "DualDiscriminator": "training/dual_discriminator.py",
    "DummyDualDiscriminator": "training/dual_discriminator.py",
    "AugmentPipe": "training/augment.py",
}
OTHER_SOURCE_FILE = "training/networks.py"

# Spec section 3.1: the three planes as published, and with the corrected third one.
PLANE_AXES = ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
PLANE_AXES_YZ = (*PLANE_AXES[:2], [[0, 0, 1], [0, 1, 0], [1, 0, 0]])

# Numbers that the published constructor does not take: left out of _init_kwargs where they have the published value.
HARD_WIRED = dict(plane_resolution=256, plane_channels=32, decoder_width=64)
AUGMENTATIONS = "xflip rotate90 xint scale rotate aniso xfrac brightness contrast lumaflip hue saturation".split()
OURS_ONLY = {"init_kwargs", "_cached", "plane_channels", "resolutions"}  # instance attributes without a counterpart
INTERNALS = frozenset(nn.Module().__dict__)
TORCH1_INTERNALS = (
    "training _parameters _buffers _backward_hooks _forward_hooks _forward_pre_hooks _state_dict_hooks "
    "_load_state_dict_pre_hooks _modules"
).split()


def write_published(
    path, G=None, D=None, G_ema=None, *, training_set_kwargs=None, augment_pipe=False, protocol=4,
    torch_spelling="modern", numpy_spelling="modern", cuda=False, module_src=None, class_names=None,
    rendering_kwargs=None, neural_rendering_resolution=None, plane_axes=None, dataset_label_std=True,
):  # fmt: skip
    """Writes the networks as one published-layout pickle; a network that is None is stored as None.

    Args:
        path: a file name, or an open binary file.
        torch_spelling: 'modern', or 'torch1': OrderedDict for _parameters, _buffers and _modules, fewer hook
            attributes, no _non_persistent_buffers_set (and no `builtins.set` with protocol 3).
        numpy_spelling: 'modern' (numpy._core.multiarray) or 'numpy1' (numpy.core.multiarray).
        cuda: the blobs of plane_axes, and of _last_planes where G has cached planes, say they are on cuda:0. With
            'torch1' their class is torch.cuda.FloatStorage: a stress spelling, real files have torch.FloatStorage.
        module_src: text of every embedded source file; by default it creates PATH.executed when run.
        class_names: other top class names, such as {"G_ema": "Generator"}.
        rendering_kwargs, neural_rendering_resolution: the *attributes* of G and G_ema; the constructor arguments stay.
        plane_axes: [3, 3, 3] instead of the matrices of spec 3.1.
        dataset_label_std: give every network the buffer that the published training loop registers.
    """
    if torch_spelling not in ("modern", "torch1") or numpy_spelling not in ("modern", "numpy1"):
        raise ValueError(f"unknown spelling: {torch_spelling!r}, {numpy_spelling!r}")
    if isinstance(path, str | Path):
        with open(path, "wb") as file:
            return write_published(
                file, G, D, G_ema, training_set_kwargs=training_set_kwargs, augment_pipe=augment_pipe,
                protocol=protocol, torch_spelling=torch_spelling, numpy_spelling=numpy_spelling, cuda=cuda,
                module_src=module_src or canary_source(f"{path}.executed"), class_names=class_names,
                rendering_kwargs=rendering_kwargs, neural_rendering_resolution=neural_rendering_resolution,
                plane_axes=plane_axes, dataset_label_std=dataset_label_std,
            )  # fmt: skip
    layout = _Layout(torch_spelling == "torch1", cuda, module_src or "raise AssertionError('this text was executed')\n")
    edits = (rendering_kwargs, neural_rendering_resolution, plane_axes)
    names = class_names or {}
    snapshot = dict(
        training_set_kwargs=training_set_kwargs,
        G=G and layout.generator(G, names.get("G"), dataset_label_std, *edits),
        D=D and layout.discriminator(D, names.get("D"), dataset_label_std),
        G_ema=G_ema and layout.generator(G_ema, names.get("G_ema"), dataset_label_std, *edits),
        augment_pipe=layout.augment_pipe(names.get("augment_pipe", "AugmentPipe")) if augment_pipe else None,
    )
    scalar = _stub_function(
        "numpy._core.multiarray" if numpy_spelling == "modern" else "numpy.core.multiarray", "scalar"
    )
    with _stubs_importable([*STUBS, scalar]):
        _Pickler(path, protocol, scalar).dump(snapshot)


def published_bytes(*networks, **options) -> bytes:
    """As `write_published`, without a file; the embedded source then raises by default."""
    file = io.BytesIO()
    write_published(file, *networks, **options)
    return file.getvalue()


def canary_source(path) -> str:
    """Python source that leaves an empty file at `path` when somebody executes it."""
    return f"import pathlib\npathlib.Path({str(path)!r}).touch()\n"


def smallest_networks(seed: int = 0):
    """(G, D) of 128 px: about the smallest that the published constructors can express (spec appendix A)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        common = dict(c_dim=25, img_resolution=128, img_channels=3, channel_base=512, channel_max=16, conv_clamp=None)
        G = TriPlaneGenerator(
            z_dim=32, w_dim=512, mapping_kwargs=dict(num_layers=2), num_fp16_res=0, sr_num_fp16_res=4,
            rendering_kwargs=presets.SHAPENET.generator["rendering_kwargs"], **common,
        )  # fmt: skip
        D = discriminator.DualDiscriminator(**common, epilogue_kwargs=dict(mbstd_group_size=4))
    return G.eval().requires_grad_(False), D.eval().requires_grad_(False)


def full_size_networks(seed: int = 0):
    """(G, D) of the published FFHQ model, 512 px, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        G = TriPlaneGenerator(**presets.FFHQ.generator)
        D = discriminator.DualDiscriminator(**presets.FFHQ.discriminator)
    return G.eval().requires_grad_(False), D.eval().requires_grad_(False)


class _Layout:
    """Turns our modules into objects that pickle as the published ones."""

    def __init__(self, torch1: bool, cuda: bool, module_src: str):
        self.torch1, self.cuda, self.module_src = torch1, cuda, module_src
        self.sources = {}  # file -> text: one object per file, so that the pickler's memo shares it

    def generator(self, G, class_name, label_std, rendering_kwargs, resolution, plane_axes):
        init = copy.deepcopy(G.init_kwargs)
        init = {k: v for k, v in init.items() if k != "neural_rendering_resolution" and HARD_WIRED.get(k) != v}
        for key in ("mapping_kwargs", "sr_kwargs"):
            init[key] = EasyDict(init[key])
        init["rendering_kwargs"] = _published_rendering_kwargs(init["rendering_kwargs"])
        yz = G.rendering_kwargs.get("planes") == "yz"
        self.plane_axes = torch.as_tensor(
            (PLANE_AXES_YZ if yz else PLANE_AXES) if plane_axes is None else plane_axes, dtype=torch.float32
        )
        state = self.state(G)
        children = state["_modules"]
        children["ray_sampler"] = self.plain(RaySampler, nn.Module(), **{f"unset{i}": None for i in range(5)})
        for name in ("backbone", "superresolution", "decoder"):
            children[name] = children.pop(name)
        if label_std:
            state["_buffers"]["dataset_label_std"] = torch.linspace(0.1, 1, G.c_dim)
        state["neural_rendering_resolution"] = resolution or G.neural_rendering_resolution
        state["rendering_kwargs"] = _published_rendering_kwargs(rendering_kwargs or G.rendering_kwargs)
        state["_last_planes"] = None if G._cached is None else self.stray_tensor(G._cached[2])
        return self.persistent(class_name or "TriPlaneGenerator", state, **init)

    def discriminator(self, D, class_name, label_std):
        class_name = class_name or type(D).__name__
        init = copy.deepcopy(D.init_kwargs)
        for key in ("block_kwargs", "mapping_kwargs", "epilogue_kwargs"):
            init[key] = EasyDict(init[key])
        state = self.state(D, block_resolutions=list(D.resolutions))
        if class_name != "DualDiscriminator":
            del init["disc_c_noise"], state["disc_c_noise"]
        if class_name == "DummyDualDiscriminator":
            state["raw_fade"] = 1
        if class_name != "SingleDiscriminator":
            state["img_channels"] *= 2  # picture and raw picture side by side; the constructor argument stays 3
        if label_std:
            state["_buffers"]["dataset_label_std"] = torch.linspace(0.1, 1, D.c_dim)
        return self.persistent(class_name, state, **init)

    def augment_pipe(self, class_name):
        multipliers = dict.fromkeys(AUGMENTATIONS, 1)
        state = self.state(nn.Module(), **{k: float(v) for k, v in multipliers.items()}, imgfilter=0.0, noise=0.0)
        state["_buffers"] |= dict(p=torch.tensor(0.25), Hz_geom=torch.rand(12), Hz_fbank=torch.rand(4, 43))
        return self.persistent(class_name, state, **multipliers)

    def child(self, m):
        """A nested module; layers and blocks have positional arguments, the others were made by keyword."""
        if isinstance(m, VolumeRenderer):
            axes = self.stray_tensor(self.plane_axes)
            renderer = self.plain(ImportanceRenderer, m, plane_axes=axes)
            renderer._modules["ray_marcher"] = self.plain(MipRayMarcher2, nn.Module())
            return renderer
        if isinstance(m, decoder.OSGDecoder):
            return self.plain(OSGDecoder, m, hidden_dim=m.net[0].weight.shape[0])
        if isinstance(m, nn.Sequential | nn.Softplus):
            return self.plain(type(m), m)
        state, name = self.state(m), type(m).__name__
        if isinstance(m, layers.FullyConnectedLayer):
            n_out, n_in = m.weight.shape
            state |= dict(in_features=n_in, out_features=n_out, weight_gain=np.float64(m.weight_gain))
            return self.persistent(name, state, n_in, n_out, activation=m.activation, lr_multiplier=m.bias_gain)
        if isinstance(m, layers.Conv2dLayer | layers.SynthesisLayer | layers.ToRGBLayer):
            n_out, n_in, size, _ = m.weight.shape
            activation = ACTIVATIONS[getattr(m, "activation", "linear")]
            state |= dict(in_channels=n_in, out_channels=n_out, padding=size // 2)
            state |= dict(weight_gain=np.float64(1 / math.sqrt(n_in * size**2)), act_gain=np.float64(activation.gain))
            args = [n_in, n_out] if isinstance(m, layers.Conv2dLayer) else [n_in, n_out, m.affine.weight.shape[1]]
            return self.persistent(name, state, *args, kernel_size=size, conv_clamp=m.conv_clamp)
        if isinstance(m, blocks.SynthesisBlock):
            name = "SynthesisBlockNoUp" if m.up == 1 else "SynthesisBlock"
            args = (m.in_channels, m.conv1.weight.shape[0])
            return self.persistent(name, state, *args, resolution=m.resolution, use_fp16=m.use_fp16)
        if isinstance(m, discriminator.DiscriminatorBlock):
            n_out, n_mid = m.conv1.weight.shape[:2]
            return self.persistent(name, state, 0 if hasattr(m, "fromrgb") else n_mid, n_mid, n_out)
        if isinstance(m, discriminator.DiscriminatorEpilogue):
            if m.mbstd_num_channels > 0:
                settings = dict(group_size=m.mbstd_group_size, num_channels=m.mbstd_num_channels)
                mbstd = self.state(nn.Module(), **settings)
                state["_modules"]["mbstd"] = self.persistent("MinibatchStdLayer", mbstd, **settings)
            return self.persistent(name, state, m.conv.weight.shape[0], cmap_dim=m.cmap_dim, resolution=4)
        if isinstance(m, backbone.SynthesisNetwork):
            return self.persistent(name, state | dict(block_resolutions=list(m.resolutions)), w_dim=m.b4.const.shape[0])
        if isinstance(m, backbone.Backbone):
            own = {k: getattr(m.mapping, k) for k in ("z_dim", "c_dim", "w_dim")}
            kwargs = dict(own, mapping_kwargs=EasyDict(num_layers=m.mapping.num_layers))
            return self.persistent("Generator", state | own, **kwargs)
        if isinstance(m, mapping.MappingNetwork):
            return self.persistent(name, state, **{k: getattr(m, k) for k in ("z_dim", "c_dim", "w_dim", "num_ws")})
        if isinstance(m, Superresolution):
            return self.persistent(name, state, channels=m.block0.in_channels, sr_antialias=m.sr_antialias)
        raise TypeError(f"{name} has no place in the published layout")

    def state(self, m, **attributes) -> dict:
        """The `__dict__` of a published module in eval mode with the tensors, children and attributes of ours."""
        state = {k: False if k == "training" else None if k == "_is_full_backward_hook" else OrderedDict() for k in
                 (TORCH1_INTERNALS if self.torch1 else nn.Module().__dict__)}  # fmt: skip
        if not self.torch1:
            state |= dict(_parameters={}, _buffers={}, _modules={}, _non_persistent_buffers_set=set())
        for name, p in m._parameters.items():
            state["_parameters"][name] = None if p is None else nn.Parameter(p.detach().cpu(), requires_grad=False)
        for name, b in m._buffers.items():
            if name not in m._non_persistent_buffers_set:
                state["_buffers"][name] = None if b is None else b.detach().cpu()
        for name, child in m.named_children():
            state["_modules"][name] = self.child(child)
        own = {k: v for k, v in vars(m).items() if k not in INTERNALS | OURS_ONLY}
        return state | own | attributes

    def persistent(self, class_name, state, *init_args, **init_kwargs):
        file = SOURCE_FILES.get(class_name, OTHER_SOURCE_FILE)
        if class_name.startswith("Superresolution"):
            file = SOURCE_FILES["SynthesisBlockNoUp"]
        text = self.sources.setdefault(file, f"# {file}\n{self.module_src}")
        state = state | dict(_init_args=init_args, _init_kwargs=init_kwargs)
        return _Persistent(dict(type="class", version=6, module_src=text, class_name=class_name, state=state))

    def plain(self, cls, m, **attributes):
        """An object that pickles as NEWOBJ without arguments and BUILD with the state."""
        thing = cls.__new__(cls)
        thing.__dict__.update(self.state(m, **attributes))
        return thing

    def stray_tensor(self, value):
        """A tensor that is no buffer: `.cpu()` missed it when the published loop wrote a snapshot (D-32)."""
        value = value.detach().cpu().contiguous()
        return _CudaTensor(value, self.torch1) if self.cuda else value


def _published_rendering_kwargs(kwargs) -> dict:
    kwargs = {k: copy.deepcopy(v) for k, v in kwargs.items() if k != "planes"}
    short = kwargs["superresolution_module"].rsplit(".", 1)[-1]
    return kwargs | dict(superresolution_module=f"training.superresolution.{short}")


class _CudaTensor:
    """Pickles as a float32 tensor whose storage blob says cuda:0."""

    def __init__(self, value, torch1):
        self.value, self.storage = value, _CudaStorage(value, torch1)

    def __reduce__(self):
        layout = (self.storage, 0, tuple(self.value.shape), self.value.stride(), False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, layout


class _CudaStorage:
    def __init__(self, value, torch1):
        _, (blob,) = value.clone()._typed_storage().__reduce__()
        blob = blob.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0", 1)
        self.blob = blob.replace(b"ctorch\n", b"ctorch.cuda\n", 1) if torch1 else blob

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.blob,)


class _Persistent:
    def __init__(self, meta):
        self.meta = meta

    def __reduce__(self):
        return _reconstruct_persistent_obj, (self.meta,)


class _Pickler(pickle.Pickler):
    def __init__(self, file, protocol, scalar):
        super().__init__(file, protocol)
        self.scalar = scalar

    def reducer_override(self, obj):
        return (self.scalar, obj.__reduce__()[1]) if type(obj) is np.float64 else NotImplemented


def _stub_class(module, name, base=object):
    return type(name, (base,), {"__module__": module})


def _stub_function(module, name):
    def stub(*args):
        raise AssertionError(f"{module}.{name} is only a name")

    stub.__module__, stub.__name__, stub.__qualname__ = module, name, name
    return stub


@contextlib.contextmanager
def _stubs_importable(stubs):
    """Makes `stubs` importable by their names, as the pickler demands, and restores sys.modules afterwards."""
    modules = {}
    for stub in stubs:
        parts = stub.__module__.split(".")
        for i in range(1, len(parts)):
            name = ".".join(parts[:i])
            if name not in sys.modules:
                modules.setdefault(name, types.ModuleType(name))
        setattr(modules.setdefault(stub.__module__, types.ModuleType(stub.__module__)), stub.__name__, stub)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


OSGDecoder = _stub_class("training.triplane", "OSGDecoder")
ImportanceRenderer = _stub_class("training.volumetric_rendering.renderer", "ImportanceRenderer")
RaySampler = _stub_class("training.volumetric_rendering.ray_sampler", "RaySampler")
MipRayMarcher2 = _stub_class("training.volumetric_rendering.ray_marcher", "MipRayMarcher2")
EasyDict = _stub_class("dnnlib.util", "EasyDict", dict)
_reconstruct_persistent_obj = _stub_function("torch_utils.persistence", "_reconstruct_persistent_obj")
STUBS = [OSGDecoder, ImportanceRenderer, RaySampler, MipRayMarcher2, EasyDict, _reconstruct_persistent_obj]
