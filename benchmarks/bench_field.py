"""How long the tri-plane field takes, look-up to summed colours: compiled kernels against plain PyTorch."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from typing import NamedTuple

import click
import torch
from cases import RAYS, cameras, generator
from options import shared
from timing import alternate, seconds, timed, write_results

from eg3d.geometry.cameras import split_label
from eg3d.geometry.rays import camera_rays
from eg3d.ops.kernels.backend import using
from eg3d.ops.kernels.field import CompiledField
from eg3d.rendering.planes import mean_features
from eg3d.running.cli import Command, pick_device, write_json
from groundwork.draws import Midpoints


class Scene:
    """One pass over every sample of a picture's rays, with random planes, sample weights and gradients."""

    def __init__(self, preset: str, batch: int, device):
        G, c = generator(preset, device), cameras(1, device).expand(batch, -1)
        self.decoder, self.options = G.decoder.requires_grad_(True), G.options
        with torch.no_grad():
            self.planes = G.planes(G.mapping(torch.randn(batch, G.z_dim, device=device), c), "const")
        origins, directions = camera_rays(*split_label(c), RAYS[preset])
        depths, _ = G.renderer.coarse_depths(origins, directions, self.options, Midpoints())
        self.points = torch.addcmul(origins[:, :, None], directions[:, :, None], depths[..., None]).flatten(1, 2)
        self.weights = torch.rand_like(depths).requires_grad_()
        self.inputs = [self.planes.requires_grad_(), self.weights, *self.decoder.parameters()]
        self.gradients = [torch.randn_like(t) for t in self.plain()]

    def plain(self):
        """sigma [N, P], pixels [N, M, K] by grid_sample and matrix products."""
        features = mean_features(self.planes, self.points, self.options.box_warp, self.options.plane_axes)
        colours, sigma = self.decoder(features)
        return sigma, (colours.unflatten(2, self.weights.shape[1:]) * self.weights[:, None]).sum(dim=-1).mT

    def compiled(self):
        """The same by kernels."""
        with using("kernels"):
            field = CompiledField.of(self.planes, self.decoder, self.options)
        if field is None:
            raise ValueError("no kernel serves this field; see what `eg3d doctor` says")
        samples, sigma = field.density(self.points, self.weights.shape[-1])
        pixels = field.pixels(samples, self.weights)
        return sigma, self.decoder.with_margins(pixels, self.weights.sum(dim=-1)[..., None])

    def forward(self, variant):
        with torch.no_grad():
            return variant()

    def both(self, variant):
        return torch.autograd.grad(variant(), self.inputs, self.gradients)


class Work(NamedTuple):
    """The least that has to be done: nothing computed twice, every tensor read or written once."""

    flops: float
    bytes: float

    @classmethod
    def of(cls, scene: Scene) -> tuple["Work", "Work"]:
        """Of the forward pass; of both passes."""
        first, _, last = scene.decoder.net
        (hidden, c), outputs, planes = first.weight.shape, len(last.weight), len(scene.options.plane_axes)
        points, layers = scene.weights.numel(), hidden * c + hidden * outputs
        forward = 2 * points * (4 * planes * c + layers + outputs - 1)
        backward = 2 * points * (4 * planes * c + 2 * layers + 2 * (outputs - 1))
        pixels = scene.gradients[1].numel()
        read = scene.planes.numel() + scene.points.numel() + scene.weights.numel()
        once = 4 * (read + points + pixels)  # and sigma and pixels are written
        again = 4 * (read + points + pixels + scene.planes.numel() + scene.weights.numel())
        return cls(forward, once), cls(forward + backward, once + again)

    def floor(self, flops_per_second: float, bytes_per_second: float) -> float:
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


def rates(device, repeats: int) -> tuple[float, float]:
    """Measured: operations a second of a large float32 product without TF32, bytes a second of a large copy."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device)
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    product = seconds(lambda: a @ b, device, repeats)
    torch.backends.cuda.matmul.allow_tf32 = before
    source = torch.zeros(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * side**3 / product, 2 * source.nbytes / seconds(lambda: target.copy_(source), device, repeats)


def differences(scene: Scene) -> list[float]:
    """Relative, of sigma, pixels and every gradient: nothing is fast because it is something else."""
    sides = [[*scene.forward(v), *scene.both(v)] for v in (scene.plain, scene.compiled)]
    return [((a - b).norm() / a.norm()).item() for a, b in zip(*sides, strict=True)]


@click.command(cls=Command)
@click.option("--cfg", "preset", default="ffhq", show_default=True, help="Preset whose planes and rays are taken.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Pictures at a time.")
@shared
def main(preset, batch, repeats, device, json_path, results):
    """Seconds of one pass over the field with all rays of the preset, and with its gradients."""
    device = pick_device(device)
    scene = Scene(preset, batch, device)
    flops, copied = rates(device, repeats)
    numbers = {"points": scene.weights.numel(), "flops_per_second": flops, "bytes_per_second": copied}
    numbers["differences"] = differences(scene)
    click.echo(f"{numbers['points']} points; kernels differ from plain PyTorch by {max(numbers['differences']):.1e}")
    for name, run, work in zip(("forward", "both"), (scene.forward, scene.both), Work.of(scene), strict=True):
        pair = alternate(*(timed(lambda v=v, run=run: run(v), device) for v in (scene.plain, scene.compiled)), repeats)
        floor = work.floor(flops, copied)
        numbers[name] = pair | work._asdict() | {"floor_seconds": floor, "over_floor": pair["seconds"][1] / floor}
        click.echo(
            f"{name}: {pair['seconds'][0]:.4f} s plain, {pair['seconds'][1]:.4f} s kernels, {pair['ratio']:.2f} x; "
            f"{numbers[name]['over_floor']:.2f} x its floor"
        )
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'field', device, numbers)}")


if __name__ == "__main__":
    main()
