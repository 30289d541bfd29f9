"""How long the pieces take, each fast path against its definition."""

import click
import torch
import torch.nn.functional as F
from options import shared
from timing import alternate, timed, write_results

from eg3d.cli import Command, pick_device, write_json
from eg3d.ops.bias_act import bias_act, modulated_act
from eg3d.rendering.planes import PlaneTable, mean_features


def look_up(device):
    """32 features of 98,304 points on 256 x 256 planes."""
    planes = torch.randn(1, 3, 32, 256, 256, device=device)
    points = (torch.rand(1, 98304, 3, device=device) - 0.5).sort(dim=1)[0]
    table = PlaneTable(planes)
    return lambda: mean_features(planes, points, 1.0), lambda: table.sum_features(points, 1.0)


def end_of_layer(device):
    """Noise, bias, activation, gain and clamp of 128 channels at 512 px."""
    x = torch.randn(1, 128, 512, 512, device=device)
    b, noise = torch.randn(128, device=device), torch.randn(1, 1, 512, 512, device=device)
    last = x.contiguous(memory_format=torch.channels_last)
    return (
        lambda: bias_act(x + noise, b, "lrelu", clamp=256),
        lambda: modulated_act(last, None, noise, b, "lrelu", clamp=256),
    )


def convolution(device):
    """3 x 3, 128 channels, 512 px: channels first and last."""
    x, w = torch.randn(1, 128, 512, 512, device=device), torch.randn(128, 128, 3, 3, device=device)
    last = x.contiguous(memory_format=torch.channels_last)
    return lambda: F.conv2d(x, w, padding=1), lambda: F.conv2d(last, w, padding=1)


@click.command(cls=Command)
@shared
def main(repeats, device, json_path, results):
    """Seconds of single operations."""
    device = pick_device(device)
    numbers = {}
    with torch.inference_mode():
        for case in (look_up, end_of_layer, convolution):
            pair = alternate(*(timed(call, device) for call in case(device)), repeats)
            numbers[case.__name__] = pair
            plain, fast = pair["seconds"]
            click.echo(f"{case.__name__}: {plain:.4f} s plain, {fast:.4f} s fast, {pair['ratio']:.2f} x")
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'ops', device, numbers)}")


if __name__ == "__main__":
    main()
