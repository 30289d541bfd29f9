from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from eg3d.metrics.align import TEMPLATE
from eg3d.metrics.identity import IdentityNetwork, IdentityTally


def views(images, seeds):
    return SimpleNamespace(
        images=images, labels=torch.zeros(len(images), 25), seeds=[s for s in seeds for _ in range(2)],
        camera=[0, 1] * len(seeds),
    )  # fmt: skip


class Points:
    """The template in every picture but those named."""

    name = "given"

    def __init__(self, without=()):
        self.without = without

    def __call__(self, images, labels, names):
        points = TEMPLATE.repeat(len(images), 1, 1)
        points[[name in self.without for name in names]] = torch.nan
        return points


def colour_network():
    """Embedding = mean colour, so that similarities can be worked out by hand."""
    return IdentityNetwork(lambda crops: crops.mean(dim=(2, 3)), 112, "colour", "0" * 64)


def plain(*colours):
    return torch.tensor(colours).reshape(-1, 3, 1, 1).expand(-1, -1, 112, 112)


def identity_score(batches, network, landmarks):
    tally = IdentityTally(network, landmarks)
    for batch in batches:
        tally.take(tally.read(batch))
    return tally.report()


PAIRS = [(1.0, 0, 0), (1.0, 0, 0), (1.0, 0, 0), (0, 1.0, 0), (1.0, 1, 0), (1.0, 0, 0)]  # cosines 1, 0, 0.7071


def test_similarity_is_the_mean_cosine_of_the_pairs():
    report = identity_score([views(plain(*PAIRS), [4, 5, 6])], colour_network(), Points())
    assert report.per_seed == pytest.approx({4: 1, 5: 0, 6: 0.5**0.5}, abs=1e-4)
    assert report.id_similarity_mean == pytest.approx(1.7071 / 3, abs=1e-4)
    assert report.id_similarity_std == pytest.approx(0.51310, abs=1e-3)  # of 1, 0 and 0.7071 with n - 1
    assert report.id_similarity_se == pytest.approx(report.id_similarity_std / 3**0.5)
    assert (report.id_pairs, report.id_failed, report.landmarks) == (3, 0, "given")


def test_networks_see_red_green_and_blue_in_this_order():
    embedding = colour_network().embed(plain((0.9, 0.1, 0.2)), TEMPLATE[None])
    assert (embedding[0] * torch.tensor([0.9, 0.1, 0.2]).norm()).tolist() == pytest.approx([0.9, 0.1, 0.2], abs=1e-3)


def test_published_number_is_the_distance_under_its_own_name():
    report = identity_score([views(plain(*PAIRS), [4, 5, 6])], colour_network(), Points())
    assert report.id_distance_mean == pytest.approx(1 - report.id_similarity_mean)
    assert any("distance" in line and "published" in line for line in report.lines())


def test_a_pair_without_a_face_in_one_view_is_counted_and_left_out():
    report = identity_score([views(plain(*PAIRS), [4, 5, 6])], colour_network(), Points({"sample0005_1.png"}))
    assert set(report.per_seed) == {4, 6} and (report.id_pairs, report.id_failed) == (2, 1)
    assert report.id_similarity_mean == pytest.approx((1 + 0.5**0.5) / 2, abs=1e-4)


def test_no_face_at_all_is_an_error():
    names = {f"sample000{seed}_{view}.png" for seed in (4, 5, 6) for view in (0, 1)}
    with pytest.raises(ValueError, match="no pair of views has a usable face .3 failed."):
        identity_score([views(plain(*PAIRS), [4, 5, 6])], colour_network(), Points(names))


def test_batches_change_nothing():
    together = identity_score([views(plain(*PAIRS), [4, 5, 6])], colour_network(), Points())
    apart = identity_score(
        [views(plain(*PAIRS[:2]), [4]), views(plain(*PAIRS[2:]), [5, 6])], colour_network(), Points()
    )
    assert apart == together


def test_a_single_pair_has_no_standard_error():
    report = identity_score([views(plain(*PAIRS[:2]), [1])], colour_network(), Points())
    assert report.id_similarity_se is None and "+-" not in report.lines()[0]


def test_embeddings_have_unit_length():
    embedded = colour_network().embed(plain(*PAIRS), TEMPLATE.repeat(6, 1, 1))
    assert torch.allclose(embedded.norm(dim=1), torch.ones(6)) and torch.allclose(embedded, F.normalize(embedded))
