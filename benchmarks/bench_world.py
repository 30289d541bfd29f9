"""How many pictures a second the embedded worlds make, each of another person."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import time
from functools import partial

import click
import torch
from options import results_option
from timing import write_results

from eg3d.running.cli import Command, json_option, write_json
from eg3d.world.rendered_sets import make_sample
from eg3d.world.worlds import WORLDS
from groundwork.workers import in_processes

SIZES = (64, 128, 256)


def paces_of(world: str, count: int) -> dict[str, dict[str, float]]:
    return {str(size): pace(world, size, count) for size in SIZES}


def pace(world: str, size: int, count: int) -> dict[str, float]:
    """Pictures of a gaze set, each of another person: per second of this process's CPU time, and of the clock's."""
    make_sample(count, "gaze", "test", 0, size, world=world)  # what is read and worked out once
    cpu, clock = time.process_time(), time.perf_counter()
    for index in range(count):
        make_sample(index, "gaze", "test", 0, size, world=world)
    return {
        "per_cpu_second": count / (time.process_time() - cpu),
        "per_second": count / (time.perf_counter() - clock),
    }


@click.command(cls=Command)
@click.option("--count", type=click.IntRange(min=1), default=40, show_default=True, help="Pictures of each size.")
@json_option
@results_option
def main(count, json_path, results):
    """Pictures per second of one of the processes that render a data set, for each world and size."""
    # A process for each world: threads that one world has started would spin while the other is measured.
    measured = (next(in_processes(partial(paces_of, count=count), [world], 1)) for world in WORLDS)
    numbers = dict(zip(WORLDS, measured, strict=True))
    for world, sizes in numbers.items():
        for size, paces in sizes.items():
            click.echo(
                f"{world}, {size} px: {paces['per_cpu_second']:.1f} pictures per CPU second, "
                f"{paces['per_second']:.1f} per second"
            )
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'world', torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
