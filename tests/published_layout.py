"""Writes network pickles in EG3D's published layout from our networks, to test their reader.

The nesting is rebuilt with stub classes that bear the published names, and Python's own pickler writes it: what comes
out has the opcodes, the memo and the nested legacy torch.save blobs of a real snapshot. The stub modules are in
sys.modules only while a file is written. Some values are guesses, and no reader may depend on them: names of some
attributes and of source files, arguments of nested layers, and the order of children without tensors.
"""

import contextlib
import copy
import copyreg
import io
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eg3d.checkpoints.arguments import discriminator_arguments, file_arguments, generator_arguments
from eg3d.models.discriminator import DualDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from eg3d.ops.bias_act import ACTIVATIONS

# As the published command line writes them for ShapeNet.
SHAPENET_RENDERING = dict(
    image_resolution=128, disparity_space_sampling=False, clamp_mode="softplus",
    superresolution_module="training.superresolution.SuperresolutionHybrid2X", sr_antialias=True,
    superresolution_noise_mode="none", c_gen_conditioning_zero=True, gpc_reg_prob=None, c_scale=1.0, decoder_lr_mul=1.0,
    density_reg=0.25, density_reg_p_dist=0.004, reg_type="l1", depth_resolution=64, depth_resolution_importance=64,
    ray_start=0.1, ray_end=2.6, box_warp=1.6, white_back=True, avg_camera_radius=1.7, avg_camera_pivot=[0, 0, 0],
)  # fmt: skip

# What nn.Module itself keeps in its __dict__: in the PyTorch that is installed, and in an old one.
HOOKS = [f"_{kind}_hooks" for kind in ("backward", "forward", "forward_pre", "state_dict", "load_state_dict_pre")]
INTERNALS = {
    "modern": list(vars(nn.Module())),
    "torch1": ["training", "_parameters", "_buffers", *HOOKS, "_modules"],
}
NUMPY_MODULES = {"modern": "numpy._core.multiarray", "numpy1": "numpy.core.multiarray"}

# Source file of the classes whose name contains the key. Only "one text per file" matters, not the file names.
SOURCE_FILES = dict(
    TriPlane="triplane.py", Superresolution="superresolution.py", NoUp="superresolution.py", Augment="augment.py",
    DualDiscriminator="dual_discriminator.py", SingleDiscriminator="dual_discriminator.py",
)  # fmt: skip

# The rows of the unit matrix, for the planes as published and with the corrected third one.
PLANE_AXES = torch.eye(3)[torch.tensor([[0, 1, 2], [0, 2, 1], [2, 0, 1]])]
PLANE_AXES_YZ = torch.eye(3)[torch.tensor([[0, 1, 2], [0, 2, 1], [2, 1, 0]])]

OURS_ONLY = {"config", "_cached"}  # instance attributes that the published classes lack
POSITIONAL = "in_channels z_dim c_dim w_dim num_ws cmap_dim resolution".split()  # of nested modules other than layers
AUGMENTATIONS = "xflip rotate90 xint scale rotate aniso xfrac brightness contrast lumaflip hue saturation".split()


def write_published(
    path, G=None, D=None, G_ema=None, *, training_set_kwargs=None, augment_pipe=False, protocol=4,
    torch_spelling="modern", numpy_spelling="modern", cuda=False, module_src=None, class_names=None,
    rendering_kwargs=None, neural_rendering_resolution=None, plane_axes=None, dataset_label_std=True, init_kwargs=None,
):  # fmt: skip
    """Writes the networks as one published-layout pickle; a network that is None is stored as None.

    Args:
        path: a file name, or an open binary file.
        torch_spelling: 'modern', or 'torch1': OrderedDict for _parameters, _buffers and _modules, fewer hook
            attributes, no _non_persistent_buffers_set (which protocol 3 spells with the global builtins.set).
        numpy_spelling: 'modern' (numpy._core.multiarray) or 'numpy1' (numpy.core.multiarray).
        cuda: the blobs of plane_axes, and of _last_planes where G has cached planes, say they are on cuda:0. With
            'torch1' their class is torch.cuda.FloatStorage: a stress spelling, real files have torch.FloatStorage.
        module_src: text of every embedded source file; by default it creates PATH.executed when run.
        class_names: other class names of the top modules, such as {"G_ema": "Generator"}.
        rendering_kwargs, neural_rendering_resolution: the *attributes* of G and G_ema; constructor arguments stay.
        init_kwargs: what is different in the constructor arguments of G and G_ema.
        plane_axes: [3, 3, 3] instead of PLANE_AXES.
        dataset_label_std: give every network the buffer that the published training loop registers.
    """
    named = isinstance(path, str | Path)
    if module_src is None:
        module_src = canary_source(f"{path}.executed") if named else "raise AssertionError('somebody ran this')\n"
    layout = _Layout(torch_spelling, cuda, module_src, class_names or {}, dataset_label_std)
    edits = (rendering_kwargs, neural_rendering_resolution, plane_axes, init_kwargs)
    snapshot = dict(
        training_set_kwargs=training_set_kwargs,
        G=G and layout.generator("G", G, *edits),
        D=D and layout.discriminator("D", D),
        G_ema=G_ema and layout.generator("G_ema", G_ema, *edits),
        augment_pipe=layout.augment_pipe() if augment_pipe else None,
    )
    scalar = _stub(NUMPY_MODULES[numpy_spelling], "scalar")
    with open(path, "wb") if named else contextlib.nullcontext(path) as file, _importable([*STUBS, scalar]):
        pickler = pickle.Pickler(file, protocol)
        pickler.dispatch_table = {np.float64: lambda value: (scalar, value.__reduce__()[1])}
        pickler.dump(snapshot)


def published_bytes(*networks, **options) -> bytes:
    """As `write_published`, without a file; the embedded source then raises by default."""
    file = io.BytesIO()
    write_published(file, *networks, **options)
    return file.getvalue()


def save_whole(path, wrap, G, legacy=False, canary="raise SystemExit\n"):
    """torch.save of a module of the published classes; wrap(module) is what is saved."""
    scalar = _stub(NUMPY_MODULES["modern"], "scalar")

    class Pickler(pickle.Pickler):
        dispatch_table = {
            **copyreg.dispatch_table,
            **{kind: lambda value: (scalar, value.__reduce__()[1]) for kind in (np.float64, np.float32, np.int64)},
        }

    module = types.ModuleType("pickle_for_torch")
    module.__dict__.update({name: getattr(pickle, name) for name in dir(pickle)}, Pickler=Pickler)
    made = _Layout("modern", False, canary, {}, True)
    with _importable([*STUBS, scalar]):
        whole = wrap(made.generator("G_ema", G))
        torch.save(whole, path, pickle_module=module, _use_new_zipfile_serialization=not legacy)


def canary_source(path) -> str:
    """Python source that leaves an empty file at `path` when somebody executes it."""
    return f"import pathlib\npathlib.Path({str(path)!r}).touch()\n"


def smallest_networks(seed: int = 0):
    """(G, D) of 128 px: about the smallest that the published constructors can express."""
    common = dict(c_dim=25, img_resolution=128, img_channels=3, channel_base=512, channel_max=16, conv_clamp=None)
    own = dict(z_dim=32, w_dim=512, mapping_kwargs=dict(num_layers=2), num_fp16_res=0, sr_num_fp16_res=4)
    G = generator_arguments(common | own | {"rendering_kwargs": SHAPENET_RENDERING})
    return _networks(seed, G["config"], discriminator_arguments(common)["config"])


def _networks(seed, generator_config, discriminator_config):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        networks = (
            TriPlaneGenerator(generator_config),
            DualDiscriminator(discriminator_config, generator_config.resolution),
        )
    return tuple(network.eval().requires_grad_(False) for network in networks)


class _Layout:
    """Turns our modules into objects that pickle as the published ones."""

    def __init__(self, torch_spelling, cuda, module_src, class_names, label_std):
        self.torch1, self.internals = torch_spelling == "torch1", INTERNALS[torch_spelling]
        self.cuda, self.module_src, self.class_names, self.label_std = cuda, module_src, class_names, label_std
        self.sources = {}  # file -> text: one object per file, which the pickler's memo then shares

    def generator(self, key, G, rendering_kwargs=None, resolution=None, plane_axes=None, init_kwargs=None):
        init = file_arguments(G)
        init["rendering_kwargs"].pop("planes", None)  # ours alone
        rendering_kwargs = rendering_kwargs or copy.deepcopy(init["rendering_kwargs"])
        init |= init_kwargs or {}
        if plane_axes is None:
            plane_axes = PLANE_AXES_YZ if G.options.planes == "yz" else PLANE_AXES
        state = self.state(G)
        vars(state["_modules"]["renderer"])["plane_axes"] = self.stray_tensor(torch.as_tensor(plane_axes).float())
        state |= {name: init[name] for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")}
        state["neural_rendering_resolution"] = resolution or G.neural_rendering_resolution
        state["rendering_kwargs"] = rendering_kwargs
        state["_last_planes"] = None if G._cached is None else self.stray_tensor(G._cached[2])
        return self.top(key, "TriPlaneGenerator", state, init)

    def discriminator(self, key, D):
        class_name = self.class_names.get(key, type(D).__name__)
        init, state = file_arguments(D), self.state(D)
        # picture and raw picture side by side; the constructor argument stays 3
        state["img_channels"] = 3 if class_name == "SingleDiscriminator" else 6
        if class_name == "DualDiscriminator":
            init["disc_c_noise"] = state["disc_c_noise"] = D.config.disc_c_noise
        if class_name == "DummyDualDiscriminator":
            state["raw_fade"] = 1
        return self.top(key, class_name, state, init)

    def top(self, key, class_name, state, init):
        if self.label_std:
            state["_buffers"]["dataset_label_std"] = torch.linspace(0.1, 1, init["c_dim"])
        for name in {"mapping_kwargs", "sr_kwargs", "block_kwargs", "epilogue_kwargs"} & set(init):
            init[name] = EasyDict(init[name])
        return self.persistent(self.class_names.get(key, class_name), state, **init)

    def augment_pipe(self):
        multipliers = dict.fromkeys(AUGMENTATIONS, 1)
        state = self.state(**{k: float(v) for k, v in multipliers.items()}, imgfilter=0.0, noise=0.0, cutout=0.0)
        state["_buffers"].update(p=torch.tensor(0.25), Hz_geom=torch.rand(12), Hz_fbank=torch.rand(4, 43))
        return self.persistent(self.class_names.get("augment_pipe", "AugmentPipe"), state, **multipliers)

    def nested(self, m):
        name, state = type(m).__name__, self.state(m)
        if name in PLAIN:
            return self.plain(PLAIN[name], state)
        if "weight" in state["_parameters"] | state["_buffers"]:
            n_out, n_in = m.weight.shape[:2]
            gain = getattr(m, "weight_gain", m.weight[0].numel() ** -0.5)
            state["weight_gain"] = np.float64(gain)
            state["act_gain"] = np.float64(ACTIVATIONS[getattr(m, "activation", "linear")].gain)
            return self.persistent(name, state, n_in, n_out, activation=state.get("activation", "linear"))
        if name == "Backbone":
            name = "Generator"
        elif name == "SynthesisBlock" and m.up == 1:
            name = "SynthesisBlockNoUp"
        elif getattr(m, "mbstd_num_channels", 0) > 0:
            settings = dict(group_size=m.mbstd_group_size, num_channels=m.mbstd_num_channels)
            state["_modules"]["mbstd"] = self.persistent("MinibatchStdLayer", self.state(**settings), **settings)
        return self.persistent(name, state, *(state[k] for k in POSITIONAL if k in state))

    def state(self, m=None, **attributes) -> dict:
        """The `__dict__` of a published module in eval mode, with the tensors, children and attributes of ours."""
        m = m or nn.Module()
        state = {name: OrderedDict() for name in self.internals} | dict(training=False)
        if not self.torch1:
            state.update(_parameters={}, _buffers={}, _modules={}, _non_persistent_buffers_set=set())
            state["_is_full_backward_hook"] = None
        for name, p in m._parameters.items():
            state["_parameters"][name] = nn.Parameter(p.detach().cpu(), requires_grad=False)
        for name, b in m._buffers.items():
            if name not in m._non_persistent_buffers_set:
                state["_buffers"][name] = None if b is None else b.detach().cpu()
        for name, child in m.named_children():
            state["_modules"][name] = self.nested(child)
            if name == "renderer":
                vars(state["_modules"][name])["_modules"]["ray_marcher"] = self.plain(MipRayMarcher2, self.state())
                five = {f"unset{i}": None for i in range(5)}
                state["_modules"]["ray_sampler"] = self.plain(RaySampler, self.state(**five))
        own = {k: v for k, v in vars(m).items() if k not in OURS_ONLY and k not in vars(nn.Module())}
        return state | own | attributes

    def persistent(self, class_name, state, *init_args, **init_kwargs):
        file = next((file for part, file in SOURCE_FILES.items() if part in class_name), "networks.py")
        source = self.sources.setdefault(file, f"# training/{file}\n{self.module_src}")
        state = state | dict(_init_args=init_args, _init_kwargs=init_kwargs)
        meta = dict(type="class", version=6, module_src=source, class_name=class_name, state=state)
        return _Call(Reconstruct, meta)

    def plain(self, cls, state):
        """An object that pickles as NEWOBJ without arguments and BUILD with the state."""
        thing = cls.__new__(cls)
        vars(thing).update(state)
        return thing

    def stray_tensor(self, value):
        """A tensor that is no buffer, so that `.cpu()` left it on the GPU when the snapshot was written."""
        value = value.detach().cpu().clone()
        if not self.cuda:
            return value
        load, (blob,) = value._typed_storage().__reduce__()
        blob = blob.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0", 1)
        blob = blob.replace(b"ctorch\n", b"ctorch.cuda\n", 1) if self.torch1 else blob
        place = (0, tuple(value.shape), value.stride(), False, OrderedDict())
        return _Call(torch._utils._rebuild_tensor_v2, _Call(load, blob), *place)


class _Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@contextlib.contextmanager
def _importable(stubs):
    """Lets the pickler find `stubs` under their names; afterwards sys.modules is as before."""
    modules = {}
    for stub in stubs:
        top = stub.__module__.split(".")[0]
        modules.setdefault(top, sys.modules.get(top, types.ModuleType(top)))
        setattr(modules.setdefault(stub.__module__, types.ModuleType(stub.__module__)), stub.__name__, stub)
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)


def _stub(module, name, base=object):
    return type(name, (base,), {"__module__": module})


OSGDecoder = _stub("training.triplane", "OSGDecoder")
ImportanceRenderer = _stub("training.volumetric_rendering.renderer", "ImportanceRenderer")
RaySampler = _stub("training.volumetric_rendering.ray_sampler", "RaySampler")
MipRayMarcher2 = _stub("training.volumetric_rendering.ray_marcher", "MipRayMarcher2")
EasyDict = _stub("dnnlib.util", "EasyDict", dict)
Reconstruct = _stub("torch_utils.persistence", "_reconstruct_persistent_obj")
STUBS = [OSGDecoder, ImportanceRenderer, RaySampler, MipRayMarcher2, EasyDict, Reconstruct]
# Not persistent in the published code: our class name -> theirs.
PLAIN = {c.__name__: c for c in (OSGDecoder, nn.Sequential, nn.Softplus)} | dict(VolumeRenderer=ImportanceRenderer)
