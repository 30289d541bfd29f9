"""What more processes bring: the same training by one process with all cores (or one GPU), and by several.

Each measurement starts its processes anew, warms up by one cycle of the lazy regularisers and times the next ones; the
variants take turns. A process of several on a CPU gets its share of the cores. For the embedded preset as it is, the
twin of the published step takes part too, one process with all cores, see bench_train_step.py.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import click
import torch
from cases import training
from options import shared
from timing import Elsewhere, compared, in_turn, synchronise, write_results

from eg3d.running import distributed
from eg3d.running.cli import Command, pick_device, write_json
from eg3d.training.loop import set_numerics
from groundwork.files import REPOSITORY


def measure(preset: str, flags: dict, device: torch.device, cycles: int, out: Path) -> int:
    """What each process does; rank 0 writes the images per second of all together."""
    set_numerics(True)
    device = distributed.device_of(device)
    call = training(preset, device, gpus=distributed.size(), **flags)
    times = []
    for _ in range(1 + cycles):
        distributed.largest(0)  # all start together
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        distributed.largest(0)
        times.append(time.perf_counter() - start)
    if distributed.rank() == 0:
        seconds = statistics.median(times[1:])
        threads = torch.get_num_threads()
        out.write_text(json.dumps({"images_per_second": call.images / seconds, "threads": threads, "seconds": seconds}))
    return 0


@click.command(cls=Command)
@click.option("--cfg", "preset", default="embedded", show_default=True, help="Preset to train.")
@click.option("--gpus", type=click.IntRange(min=2), default=2, show_default=True, help="Processes to compare with one.")
@click.option("--batch", type=click.IntRange(min=1), help="Images per step, over all.  [default: the preset's]")
@click.option("--batch-gpu", type=click.IntRange(min=1), help="Images at once.  [default: all of a process]")
@click.option("--cycles", type=click.IntRange(min=1), default=1, show_default=True, help="Timed, of 16 steps each.")
@shared
def main(preset, gpus, batch, batch_gpu, cycles, repeats, device, json_path, results):
    """Images a second of several processes against one."""
    device, seen = pick_device(device), {1: [], gpus: []}
    flags = dict(batch=batch, batch_gpu=batch_gpu)

    def seconds(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "measured.json"
            code = distributed.launch(measure, (preset, flags, device, cycles, out), count, device, wait_minutes=30)
            if code:
                raise ValueError(f"{count} processes ended with exit code {code}, see above")
            seen[count].append(json.loads(out.read_text()))
        return seen[count][-1]["seconds"]

    variants = [lambda: seconds(1), lambda: seconds(gpus)]
    with contextlib.ExitStack() as processes:
        if device.type == "cpu" and preset == "embedded" and not (batch or batch_gpu):
            variants.append(processes.enter_context(Elsewhere(REPOSITORY, "published-training-embedded", device)))
        rounds = in_turn(variants, repeats)
    pair = compared([times[:2] for times in rounds])
    speed = {n: statistics.median(m["images_per_second"] for m in measured[1:]) for n, measured in seen.items()}
    numbers = pair | {f"images_per_second_{n}": value for n, value in speed.items()}
    numbers |= {f"threads_of_each_of_{n}": measured[0]["threads"] for n, measured in seen.items()}
    click.echo(f"{preset}: {speed[1]:.1f} images/s by one process, {speed[gpus]:.1f} by {gpus}: {pair['ratio']:.2f} x")
    if len(variants) > 2:
        twin = numbers["published_to_several"] = compared([(times[2], times[1]) for times in rounds])
        click.echo(f"  the published step takes {twin['ratio']:.2f} x as long as {gpus} processes")
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'ranks-{preset}', device, numbers)}")


if __name__ == "__main__":
    main()
