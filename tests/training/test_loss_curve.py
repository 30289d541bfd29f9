"""The mathematics of training, held still: losses and weights of five steps in float64, stored.

A refactor keeps these numbers to 1e-6. A change of the mathematics changes them on purpose: store the new ones with
`python tests/training/test_loss_curve.py` and say in the commit why. First stored at commit 49b7483, before the trainer
learned to share its work among processes.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from tiny_networks import tiny_estimator
from tiny_run import everything_in_float64, tiny_config, write_images

from eg3d.data.dataset import ImageDataset
from eg3d.training.trainer import Trainer

STORED = Path(__file__).with_name("loss_curve.json")


def run_five_steps(folder: Path) -> dict[str, list]:
    """Every term on: R1, density, gaze with its warm-up, swap, blur, mixing, label noise, growing resolution."""
    dataset = ImageDataset(write_images(folder))
    plain = tiny_config(dataset.path, gaze_weight=2.0)
    config = dataclasses.replace(
        plain,
        loss=dataclasses.replace(plain.loss, style_mixing_prob=0.5),
        schedule=dataclasses.replace(plain.schedule, raw_resolution_final=12, raw_resolution_fade_kimg=0.016),
        discriminator=dataclasses.replace(plain.discriminator, disc_c_noise=0.5),
        gaze=dataclasses.replace(plain.gaze, warmup_kimg=0.01),
        batch=4,
        batch_gpu=2,
    )
    trainer = Trainer(config, dataset, "cpu", gaze_estimator=tiny_estimator())
    curve: dict[str, list] = {}
    for _ in range(5):
        trainer.step()
        for name, value in trainer.stats.line().items():
            curve.setdefault(name, []).append(value["mean"])
    for name, network in trainer.networks().items():
        curve[f"{name} norm"] = [sum(p.square().sum() for p in network.parameters()).sqrt().item()]
    return curve


def measured() -> dict[str, list]:
    with everything_in_float64(), tempfile.TemporaryDirectory() as folder:
        return run_five_steps(Path(folder))


def test_five_steps_give_the_stored_losses():
    stored, curve = json.loads(STORED.read_text()), measured()
    assert {"Loss/D/reg", "Loss/G/gaze_loss", "Loss/G/density_reg"} <= stored.keys() <= curve.keys()
    for name, values in stored.items():
        assert curve[name] == pytest.approx(values, rel=1e-6, abs=1e-9), name


if __name__ == "__main__":
    STORED.write_text(json.dumps(measured(), indent=1) + "\n")
