import pytest
import torch
from torchvision.models import vgg16

from eg3d.metrics.vgg import load_vgg

pytestmark = pytest.mark.slow  # half a gigabyte of weights


@pytest.fixture(scope="module")
def whole():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return vgg16(weights=None).eval()


def test_features_are_those_of_torchvisions_second_wide_layer(whole, tmp_path):
    torch.save(whole.state_dict(), tmp_path / "vgg.pth")
    detector = load_vgg(tmp_path / "vgg.pth")
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    found = []
    whole.classifier[4].register_forward_hook(lambda module, inputs, output: found.append(output))
    x = (images / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        whole(x)
    torch.testing.assert_close(detector(images), found[0], rtol=1e-4, atol=1e-5)
    assert detector(images[:, :, :64, :64]).shape == (2, 4096) and "not NVIDIA's" in detector.facts()["note"]


def test_other_weights_are_one_line(tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="w.pth: 'features.0.bias' is missing; .* torchvision's VGG16"):
        load_vgg(tmp_path / "w.pth")
