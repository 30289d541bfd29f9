"""How strong augmentation is: fixed, or by how well D knows the training images (StyleGAN2-ADA, section 3.1)."""

import torch

from eg3d.config.augmentation import AugmentConfig


def count_signs(real_logits: torch.Tensor) -> torch.Tensor:
    """(sum of the signs, how many) of D(real), [2], float64: to be added up over micro-batches and processes.

    Whole numbers, so the order of adding does not matter. A NaN has no sign and is not counted.
    """
    logits = real_logits.detach()
    known = ~logits.isnan()
    return torch.stack([torch.where(known, logits, 0).sign().sum(dtype=torch.float64), known.sum(dtype=torch.float64)])


def adapted(p: float, mean_sign: float, target: float, images: float, kimg: float) -> float:
    """p, moved by images / (1000 kimg): up if D knows the training images too well, else down, toward 0.

    The published p has no upper limit; a probability has (docs/published_defects.md, D-22).
    """
    direction = (mean_sign > target) - (mean_sign < target)
    return min(max(p + direction * images / (1000 * kimg), 0.0), 1.0)


class AugmentStrength:
    """The strength `p` in the course of a run; equal in all processes if what they observe is."""

    def __init__(self, config: AugmentConfig):
        self.config = config
        self.p = config.p if config.mode == "fixed" else 0.0
        self._signs = torch.zeros(2, dtype=torch.float64)  # since p last changed

    def observe(self, signs: torch.Tensor) -> None:
        """Takes `count_signs`, added up over all processes; waits for no device."""
        if self.config.mode == "ada":
            self._signs = self._signs.to(signs.device) + signs

    def after_batch(self, batches: int) -> None:
        """Changes p if it is time; `batches`: how many the run has made, including this one.

        The step is as long as the images that were counted since the last one, whatever batches they came in.
        """
        if self.config.mode == "ada" and batches % self.config.interval == 0:
            total, count = self._signs.tolist()
            if count:
                self.p = adapted(self.p, total / count, self.config.target, count, self.config.kimg)
            self._signs = torch.zeros_like(self._signs)

    def state(self) -> dict[str, float]:
        """Plain numbers for the training state."""
        total, count = self._signs.tolist()
        return {"p": self.p, "sign_sum": total, "sign_count": count}

    def restore(self, state: dict[str, float]) -> None:
        self.p = state["p"]
        self._signs = torch.tensor([state["sign_sum"], state["sign_count"]], dtype=torch.float64)
