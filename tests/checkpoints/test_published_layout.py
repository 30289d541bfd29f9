"""The writer of published-layout pickles, checked by reading opcodes: nothing here unpickles a file."""

import io
import pickletools
import sys

import pytest
import torch
from published_layout import (
    PLANE_AXES,
    _Layout,
    canary_source,
    published_bytes,
    smallest_networks,
    write_published,
)
from tiny_networks import tiny_generator

from eg3d.checkpoints.arguments import file_arguments
from eg3d.models.discriminator import DiscriminatorBlockConfig, DiscriminatorConfig, SingleDiscriminator

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")

TORCH1_NUMPY1 = dict(torch_spelling="torch1", numpy_spelling="numpy1")

PUBLISHED_GLOBALS = """
torch_utils.persistence _reconstruct_persistent_obj
training.triplane OSGDecoder
training.volumetric_rendering.renderer ImportanceRenderer
training.volumetric_rendering.ray_sampler RaySampler
training.volumetric_rendering.ray_marcher MipRayMarcher2
torch.nn.modules.container Sequential
torch.nn.modules.activation Softplus
torch._utils _rebuild_tensor_v2
torch._utils _rebuild_parameter
torch.storage _load_from_bytes
collections OrderedDict
dnnlib.util EasyDict
numpy dtype
numpy._core.multiarray scalar
""".strip().splitlines()  # all 14 that a published file names


@pytest.fixture(scope="module")
def networks():
    return smallest_networks()


def globals_of(data: bytes) -> set[str]:
    """'module name' of every global, following strings through the memo as the pickle machine does."""
    found, memo, recent = set(), {}, []
    for op, arg, _ in pickletools.genops(data):
        if op.name == "GLOBAL":
            found.add(arg)
        elif op.name == "STACK_GLOBAL":
            found.add(" ".join(recent[-2:]))
        elif op.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if arg is None else arg] = recent[-1]
            continue
        recent.append(memo[arg] if op.name in ("BINGET", "LONG_BINGET") else arg)
        if op.name == "STACK_GLOBAL":
            recent[-1] = None
    return found


def strings_of(data: bytes) -> list[str]:
    """Every text written out in full (not taken from the memo)."""
    return [arg for op, arg, _ in pickletools.genops(data) if "UNICODE" in op.name]


def blobs_of(data: bytes) -> list[bytes]:
    """The nested legacy torch.save streams; each begins with PyTorch's magic number."""
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    return [arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, bytes) and arg.startswith(magic)]


def storage_of(blob: bytes) -> torch.Tensor:
    storage = torch.load(io.BytesIO(blob), weights_only=True, map_location="cpu")
    return torch.tensor([], dtype=storage.dtype).set_(storage.untyped())


def stored(data: bytes) -> list[tuple]:
    """Contents of all blobs, in an order that does not depend on the file."""
    return sorted(tuple(storage_of(blob).tolist()) for blob in blobs_of(data))


def test_globals_are_the_fourteen_of_the_published_layout(networks):
    G, D = networks
    data = published_bytes(G, D, G, augment_pipe=True, training_set_kwargs=dict(path="x.zip", resolution=128))
    assert globals_of(data) == set(PUBLISHED_GLOBALS) and len(PUBLISHED_GLOBALS) == 14


def test_no_network_no_global():
    assert globals_of(published_bytes()) == set()


def test_top_level_keys_are_in_the_published_order():
    assert strings_of(published_bytes()) == ["training_set_kwargs", "G", "D", "G_ema", "augment_pipe"]


def test_each_source_file_is_written_once(networks):
    G, D = networks
    sources = [s for s in strings_of(published_bytes(G, D, G, augment_pipe=True)) if s.startswith("# training/")]
    assert len(sources) == len(set(sources)) == 5  # generator, layers, super-resolution, discriminator, augmentation


def test_every_tensor_is_in_a_blob_of_its_own(networks):
    G, D = networks
    data = published_bytes(G, D)
    extra = [torch.linspace(0.1, 1, 25)] * 2 + [PLANE_AXES]  # dataset_label_std twice
    tensors = [*G.state_dict().values(), *D.state_dict().values(), *extra]
    assert stored(data) == sorted(tuple(t.flatten().tolist()) for t in tensors)


def test_a_published_generator_has_178_state_dict_entries(networks):
    assert len(blobs_of(published_bytes(networks[0]))) == 178 + 1  # and plane_axes


def test_parameters_and_buffers_have_the_names_of_the_state_dict(networks):
    G, _ = networks
    parts = {part for name in G.state_dict() for part in name.split(".")}
    assert parts <= set(strings_of(published_bytes(G)))


def test_constructor_arguments_are_complete_and_the_published_ones(networks):
    def written(call):
        (meta,) = call.reduced[1]
        assert meta["state"]["_init_args"] == ()
        return meta["state"]["_init_kwargs"]

    layout = _Layout("modern", False, "", {}, True)
    for G in (networks[0], tiny_generator()):  # the tiny one has sizes that the published constructor does not take
        assert written(layout.generator("G", G)) == file_arguments(G)
    assert written(layout.discriminator("D", networks[1])) == file_arguments(networks[1]) | {"disc_c_noise": 0.0}


def test_label_std_and_frozen_single_discriminators_are_written():
    D = SingleDiscriminator(
        DiscriminatorConfig(channel_base=64, channel_max=8, blocks=DiscriminatorBlockConfig(freeze_layers=4)), 32
    )
    with_std, without = (published_bytes(None, D, dataset_label_std=flag) for flag in (True, False))
    assert len(blobs_of(without)) == len(D.state_dict()) == len(blobs_of(with_std)) - 1
    assert "SingleDiscriminator" in strings_of(without) and "disc_c_noise" not in strings_of(without)


def test_writing_leaves_sys_modules_and_the_canary_alone(tmp_path):
    before = dict(sys.modules)
    write_published(tmp_path / "net.pkl", tiny_generator(), **TORCH1_NUMPY1)
    assert sys.modules == before and not {"training", "dnnlib", "torch_utils"} & set(sys.modules)
    assert [p.name for p in tmp_path.iterdir()] == ["net.pkl"]
    assert canary_source(tmp_path / "net.pkl.executed") in "".join(strings_of((tmp_path / "net.pkl").read_bytes()))


def test_sys_modules_are_restored_after_a_failure():
    before = dict(sys.modules)
    with pytest.raises(AttributeError):
        published_bytes(training_set_kwargs=lambda: None)
    assert sys.modules == before


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_protocols(protocol):
    data = published_bytes(tiny_generator(), protocol=protocol)
    assert data[:2] == bytes([0x80, protocol])
    assert globals_of(data) == set(PUBLISHED_GLOBALS) | ({"builtins set"} if protocol == 3 else set())


def test_old_spellings():
    data = published_bytes(tiny_generator(), protocol=3, **TORCH1_NUMPY1)
    expected = {g.replace("numpy._core", "numpy.core") for g in PUBLISHED_GLOBALS}
    assert globals_of(data) == expected
    assert "_non_persistent_buffers_set" not in strings_of(data)
    modern = published_bytes(tiny_generator())
    assert {"_non_persistent_buffers_set", "_forward_hooks_with_kwargs"} <= set(strings_of(modern)) - set(
        strings_of(data)
    )
    assert stored(data) == stored(modern)


@pytest.mark.parametrize("spelling, storage", [("modern", b"ctorch\n"), ("torch1", b"ctorch.cuda\n")])
def test_plane_axes_and_cached_planes_may_lie_on_a_gpu(spelling, storage):
    G = tiny_generator()
    G._cached = (None, None, torch.rand(1, 3, 16, 4, 4))
    data = published_bytes(G, cuda=True, torch_spelling=spelling)
    blobs = [blob for blob in blobs_of(data) if b"cuda:0" in blob]
    assert len(blobs) == 2 and all(storage + b"FloatStorage\n" in blob for blob in blobs)
    axes, planes = (storage_of(blob) for blob in blobs)
    assert axes.tolist() == PLANE_AXES.flatten().tolist() and torch.equal(planes, G._cached[2].flatten())
    assert stored(data) == stored(published_bytes(G))


def test_names_and_attributes_can_be_replaced():
    data = published_bytes(
        tiny_generator(),
        class_names={"G": "StyleGenerator"},
        rendering_kwargs=dict(ray_start="from the attribute"),
        plane_axes=torch.full((3, 3, 3), 7.0),
        module_src="pass",
    )
    texts = strings_of(data)
    assert {"StyleGenerator", "from the attribute"} < set(texts) and "TriPlaneGenerator" not in texts
    assert "training.superresolution.SuperresolutionHybrid2X" in texts  # still a constructor argument
    assert (7.0,) * 27 in stored(data)
    assert all(s.endswith("\npass") for s in texts if s.startswith("# training/"))
