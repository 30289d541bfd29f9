"""All numbers about one redirector, read by one judge from the same pairs as every other redirector."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from eg3d.metrics.fid import frechet_distance
from eg3d.metrics.moments import FeatureStatistics
from redirection.gaze_errors import binned, bins_of, gaze_error
from redirection.methods import Redirector
from redirection.patch_judge import Judge, Reading
from redirection.patch_sets import PatchSet
from redirection.picture_scores import change_outside_lids, iris_colours, psnr, ssim
from redirection.redirection_pairs import Pairs, beyond, one_of_each

CHANGE_EDGES, YAW_EDGES = (2.5, 5, 10, 15, 20, 25, 45), (0, 7.5, 22.5, 90)
EXTRAPOLATION = 1.5
RIGHT_WITHIN_DEG = 45.0  # in the plane of V and H: between the way that is asked and the way that is read
SAME_PERSON = 0.05  # quantile
SWEEP = tuple(15 * (k / 4 - 1) for k in range(9))  # H in degrees
MOST_PASTED, MOST_SWEPT = 400, 128
TRUTH = "true picture"


@dataclass(frozen=True)
class Sweep:
    """Patches [M, 9, 3, S, S] of M sources at the horizontal gazes of SWEEP, and what is read from them, [M, 9, 3]."""

    patches: torch.Tensor
    read: torch.Tensor


class Measuring:
    """What all redirectors have in common: the pairs, what the judge reads from sources and targets."""

    def __init__(self, patches: PatchSet, pairs: Pairs, judge: Judge, seed: int):
        self.patches, self.pairs, self.judge = patches, pairs, judge
        self.sources, self.targets = patches.images[pairs.source], patches.images[pairs.target]
        self.shown = patches.angles[pairs.source]
        self.of_source, self.of_target = judge.read(self.sources), judge.read(self.targets)
        likeness = (self.of_source.identity * self.of_target.identity).sum(1)
        self.threshold = likeness.quantile(SAME_PERSON).item()
        change = gaze_error(self.shown, pairs.wanted)
        self.bins = {
            "by_change": bins_of(change, CHANGE_EDGES),
            "by_head_yaw": bins_of(self.shown[:, 0].abs(), YAW_EDGES),
            "by_grid": [("on the grid", pairs.on_grid), ("between", ~pairs.on_grid)],
        }
        self.swept = one_of_each(patches, MOST_SWEPT, seed)

    def of_pictures(self, drawn: torch.Tensor) -> tuple[dict, Reading]:
        """Numbers about pictures [N, 3, S, S] that should be the targets."""
        reading = self.judge.read(drawn)
        to_label = gaze_error(reading.angles, self.pairs.wanted)
        to_truth = gaze_error(reading.angles, self.of_target.angles)
        likeness = (reading.identity * self.of_source.identity).sum(1)
        real, made = (FeatureStatistics.of(x.features) for x in (self.of_target, reading))
        return {
            "to_label_deg": to_label.mean().item(),
            "to_judged_truth_deg": to_truth.mean().item(),
            "to_label_bins": {name: binned(to_label, bins) for name, bins in self.bins.items()},
            "to_judged_truth_bins": {name: binned(to_truth, bins) for name, bins in self.bins.items()},
            "psnr_db": psnr(drawn, self.targets).mean().item(),
            "ssim": ssim(drawn, self.targets).mean().item(),
            "identity": likeness.mean().item(),
            "identity_above_threshold": (likeness >= self.threshold).float().mean().item(),
            "frechet": frechet_distance(real, made),
            "head_yaw_change_deg": (reading.angles - self.of_source.angles)[:, 0].abs().mean().item(),
            "iris_colour_off": (iris_colours(drawn) - iris_colours(self.sources)).abs().mean().item(),
        }, reading

    def of_redirector(self, redirector: Redirector) -> tuple[dict, Sweep]:
        """All numbers; and the sweep, for a report."""
        drawn = redirected(redirector, self.sources, self.shown, self.pairs.wanted)
        numbers, reading = self.of_pictures(drawn)
        still = redirected(redirector, self.sources, self.shown, self.shown)
        first = slice(0, MOST_PASTED)
        numbers["reconstruction_db"] = psnr(still, self.sources).mean().item()
        numbers["outside_lids"] = change_outside_lids(self.sources[first], still[first], drawn[first]).mean().item()
        numbers["extrapolated"] = self._extrapolated(redirector)
        sweep = self.sweep(redirector)
        return numbers | {"continuity": continuity(sweep.read[..., 2])}, sweep

    def _extrapolated(self, redirector: Redirector) -> dict:
        rows, wanted = beyond(self.patches, self.pairs, EXTRAPOLATION)
        if not len(rows):
            return {"pairs": 0, "direction_right": None}
        drawn = redirected(redirector, self.sources[rows], self.shown[rows], wanted)
        went = (self.judge.read(drawn).angles - self.of_source.angles[rows])[:, 1:]
        cosine = F.cosine_similarity(went, (wanted - self.shown[rows])[:, 1:], dim=1)
        right = cosine > torch.tensor(RIGHT_WITHIN_DEG).deg2rad().cos()
        return {"pairs": len(rows), "direction_right": right.float().mean().item()}

    def sweep(self, redirector: Redirector) -> Sweep:
        rows, steps = self.swept.repeat_interleave(len(SWEEP)), torch.tensor(SWEEP).repeat(len(self.swept))
        shown = self.patches.angles[rows]
        wanted = torch.cat([shown[:, :2], steps[:, None]], 1)
        drawn = redirected(redirector, self.patches.images[rows], shown, wanted)
        shape = (len(self.swept), len(SWEEP))
        return Sweep(drawn.unflatten(0, shape), self.judge.read(drawn).angles.unflatten(0, shape))


def redirected(redirector: Redirector, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor):
    """uint8 [N, 3, S, S] -> the same size, whatever size the redirector works at."""
    size = patches.shape[-1]
    return resized(redirector.redirect(resized(patches, redirector.size), shown, wanted), size)


def resized(patches: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [N, 3, s, s] -> uint8 [N, 3, size, size]."""
    if patches.shape[-1] == size:
        return patches
    x = F.interpolate(patches.float(), (size, size), mode="bilinear", antialias=True)
    return x.round().clamp(0, 255).byte()


def continuity(read: torch.Tensor) -> dict:
    """Of horizontal gazes read [M, 9] where SWEEP was asked: how evenly the eyes follow.

    monotone: share of sources of which every step goes the right way. r2, line_rmse_deg: about the straight line that
    fits a source best. asked_rmse_deg: about the asked angle itself. largest_jump_deg: mean over sources.
    """
    asked, read = torch.tensor(SWEEP, dtype=torch.float64), read.double()
    x, y = asked - asked.mean(), read - read.mean(1, keepdim=True)
    slope = (y * x).sum(1) / x.square().sum()
    left = (y - slope[:, None] * x).square().sum(1)
    total, steps = y.square().sum(1), read.diff(dim=1)
    return {
        "sources": len(read),
        "monotone": (steps > 0).all(1).float().mean().item(),
        "slope": slope.mean().item(),
        "r2": torch.where(total > 1e-6, 1 - left / total.clamp(min=1e-6), 0.0).mean().item(),
        "line_rmse_deg": (left / len(asked)).sqrt().mean().item(),
        "asked_rmse_deg": (read - asked).square().mean(1).sqrt().mean().item(),
        "largest_jump_deg": steps.abs().amax(1).mean().item(),
    }
