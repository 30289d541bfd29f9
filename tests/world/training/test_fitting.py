import dataclasses
import math

import numpy as np
import pytest
import torch

from eg3d.world.training.fit_identity import MARGIN, SCALE, MarginClassifier, area_under_curve
from eg3d.world.training.fitting import FitConfig, fit

CONFIG = FitConfig(name="line", epochs=4, batch_size=8, lr=0.5)


def line(config, folder, stop_after=None):
    torch.manual_seed(0)
    model, calls = torch.nn.Linear(1, 1), []
    x = torch.linspace(-1, 1, 32)[:, None]

    def loss_of(chosen, draws):
        calls.append(None)
        if stop_after is not None and len(calls) > stop_after:
            raise KeyboardInterrupt
        noise = 0.01 * torch.randn(len(chosen), 1, generator=draws)
        return (model(x[chosen]) - 3 * x[chosen] + noise).square().mean()

    loss = fit(model, loss_of, len(x), config, folder)
    return model, loss


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole, loss = line(CONFIG, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        line(CONFIG, tmp_path / "broken", stop_after=10)  # in the third epoch of 4 steps
    continued, again = line(CONFIG, tmp_path / "broken")
    assert torch.equal(whole.weight, continued.weight) and loss == again
    assert abs(whole.weight.item() - 3) < 1


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own(tmp_path):
    model, seen = torch.nn.Linear(1, 1), []

    def loss_of(chosen, draws):
        seen.append(chosen.tolist())
        return model(torch.ones(1, 1)).sum() ** 2

    fit(model, loss_of, 32, CONFIG, tmp_path)
    epochs = [sum(seen[i : i + 4], []) for i in range(0, 16, 4)]
    assert all(sorted(order) == list(range(32)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 4


def test_a_folder_of_another_training_is_refused(tmp_path):
    line(CONFIG, tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        line(dataclasses.replace(CONFIG, lr=0.1), tmp_path)


def test_margin_loss_is_arcfaces():
    # eq. 3 by hand: two classes along the axes, an embedding at angle a from its own
    classifier, a = MarginClassifier(2, 2), 0.8
    with torch.no_grad():
        classifier.weight.copy_(torch.eye(2) * 5)
    embedding = 7 * torch.tensor([[math.cos(a), math.sin(a)]])
    own, other = SCALE * math.cos(a + MARGIN), SCALE * math.cos(math.pi / 2 - a)
    expected = -math.log(math.exp(own) / (math.exp(own) + math.exp(other)))
    assert classifier(embedding, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-4)


def test_margin_loss_falls_toward_the_own_class_from_everywhere():
    classifier = MarginClassifier(2, 3)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]))
    angles = torch.linspace(0.6, math.pi - 0.01, 100)  # nearer, the loss is zero in float32
    embeddings = torch.stack([angles.cos(), angles.sin(), 0 * angles], dim=1)  # always at right angles to the other
    losses = [classifier(e[None], torch.tensor([0])).item() for e in embeddings]
    assert all(np.diff(losses) > 0)


def test_area_under_curve_by_hand():
    assert area_under_curve(np.array([0.9, 0.5]), np.array([0.1, 0.5, 0.7])) == pytest.approx((3 + 1.5) / 6)
    assert area_under_curve(np.array([2.0]), np.array([1.0])) == 1
