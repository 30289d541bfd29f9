"""How long the pieces take: each fast path against its definition, and kernels against plain PyTorch.

The floor of what kernels do is memory traffic: the bytes that must be read and written, over the bandwidth of a copy.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch
import torch.nn.functional as F
from options import shared
from timing import alternate, seconds, timed, write_results

from eg3d.ops.bias_act import bias_act, modulated_act
from eg3d.ops.kernels.backend import kernels_for, using
from eg3d.ops.upfirdn2d import setup_filter, upfirdn2d
from eg3d.rendering.planes import PlaneTable, mean_features
from eg3d.running.cli import Command, pick_device, write_json


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


def activations(device, *shape):
    """As the networks have them: float16 on a GPU, float32 and channels last on a CPU."""
    x = torch.randn(shape, device=device)
    return x.half() if device.type == "cuda" else x.contiguous(memory_format=torch.channels_last)


def demodulated_end(device):
    """Demodulation, noise, bias, activation, gain and clamp of 128 channels at 512 px: one reading, one writing."""
    x, tensors = activations(device, 1, 128, 512, 512), layer_tensors(device, 1, 128, 512)
    return lambda: modulated_act(x, *tensors, "lrelu", clamp=256), 2 * x.nbytes


def trained_end(device):
    """The same forward and backward, batch 4 at 256 px: x, y; dy, y, x, dx."""
    x, tensors = activations(device, 4, 128, 256, 256).requires_grad_(), layer_tensors(device, 4, 128, 256)
    inputs, dy = [x, *(t.requires_grad_() for t in tensors)], torch.randn_like(x)
    return lambda: torch.autograd.grad(modulated_act(x, *tensors, "lrelu", clamp=256), inputs, dy), 6 * x.nbytes


def layer_tensors(device, n, c, side):
    return (
        torch.rand(n, c, device=device) + 0.5,
        torch.randn(n, 1, side, side, device=device),
        torch.randn(c, device=device),
    )


def smoothing(device):
    """4 x 4 filter over 128 channels at 512 px, after a transposed convolution."""
    x, f = activations(device, 1, 128, 513, 513), setup_filter().to(device)
    return lambda: upfirdn2d(x, f, padding=1, gain=4), 2 * x.nbytes


def trained_smoothing(device):
    """The same forward and backward, batch 4 at 256 px."""
    x, f = activations(device, 4, 128, 257, 257).requires_grad_(), setup_filter().to(device)
    dy = torch.randn_like(x[:, :, 1:, 1:])
    return lambda: torch.autograd.grad(upfirdn2d(x, f, padding=1, gain=4), x, dy), 4 * x.nbytes


def enlarging(device):
    """96 channels of tri-planes from 128 to 256 px."""
    x, f = activations(device, 4, 96, 128, 128).float(), setup_filter().to(device)
    return lambda: upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1), gain=4), 5 * x.nbytes


def bandwidth(device) -> float:
    """Bytes per second of a copy, those read and those written."""
    x = torch.empty(2**28 if device.type == "cuda" else 2**26, device=device)
    y = torch.empty_like(x)
    return 2 * x.nbytes / seconds(lambda: y.copy_(x), device, repeats=5)


def kernels_against_torch(case, device, repeats, per_second) -> dict:
    """Seconds of one call with plain PyTorch and with kernels, and of its memory traffic."""
    call, traffic = case(device)
    times = 20 if device.type == "cuda" else 1  # in a row, so that starting them hides behind the work

    def run(choice):
        with using(choice):
            for _ in range(times):
                call()

    pair = alternate(timed(lambda: run("torch"), device), timed(lambda: run("kernels"), device), repeats)
    pair["seconds"] = [value / times for value in pair["seconds"]]
    return pair | {"floor_seconds": traffic / per_second, "over_floor": pair["seconds"][1] / (traffic / per_second)}


@click.command(cls=Command)
@shared
def main(repeats, device, json_path, results):
    """Seconds of single operations."""
    device = pick_device(device)
    with using("kernels"):
        kernels, per_second = kernels_for(torch.zeros(1, device=device)), bandwidth(device)
    numbers = {"kernels": kernels.__name__, "copy_bytes_per_second": per_second}
    with torch.no_grad():
        for case in (demodulated_end, smoothing, enlarging):
            report(numbers, case, kernels_against_torch(case, device, repeats, per_second))
    for case in (trained_end, trained_smoothing):
        report(numbers, case, kernels_against_torch(case, device, repeats, per_second))
    with torch.inference_mode():
        for case in (look_up, end_of_layer, convolution):
            report(numbers, case, alternate(*(timed(call, device) for call in case(device)), repeats))
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'ops', device, numbers)}")


def report(numbers, case, pair):
    """Keeps and prints what was measured of a case."""
    numbers[case.__name__] = pair
    plain, fast = (1000 * value for value in pair["seconds"])
    floor = f", {pair['over_floor']:.2f} of its memory traffic" if "over_floor" in pair else ""
    click.echo(f"{case.__name__}: {plain:.3f} ms plain, {fast:.3f} ms fast, {pair['ratio']:.2f} x{floor}")


if __name__ == "__main__":
    main()
