"""How many pictures a second the embedded worlds make, each of another person."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import os
import time
from functools import partial

import click
import torch
from options import results_option
from timing import write_results

from eg3d.running.cli import Command, json_option, write_json
from eg3d.world.rendered_sets import make_sample, samples
from eg3d.world.worlds import WORLDS
from groundwork.workers import in_processes

SIZES = (64, 128, 256)
BEFORE = 64  # pictures of a set: what its processes work out once, and their first share


def paces_of(world: str, sizes: tuple[int, ...], count: int) -> dict[str, dict[str, float]]:
    return {str(size): pace(world, size, count) for size in sizes}


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


def pace_of_set(world: str, size: int, count: int) -> float:
    """Pictures per second of the clock while a set is rendered as data sets are: by a process for each core."""
    rendered = samples("gaze", "test", BEFORE + count, 0, size, world=world)
    for _ in range(BEFORE):
        next(rendered)
    start = time.perf_counter()
    return sum(1 for _ in rendered) / (time.perf_counter() - start)


@click.command(cls=Command)
@click.option("--world", "worlds", type=click.Choice(list(WORLDS)), multiple=True, help="Of these.  [default: all]")
@click.option("--size", "sizes", type=click.IntRange(16, 1024), multiple=True, default=SIZES, show_default=True,
              help="Pixels per side.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), default=40, show_default=True, help="Pictures of each size.")
@click.option("--of-set", type=click.IntRange(min=500), help="Also of a set of so many, rendered by all cores.")
@json_option
@results_option
def main(worlds, sizes, count, of_set, json_path, results):
    """Pictures per second of one of the processes that render a data set, for each world and size."""
    worlds, numbers = worlds or tuple(WORLDS), {"load_average_before": os.getloadavg()[0]}
    for world in worlds:
        # A process for each world: threads that one world has started would spin while the other is measured.
        numbers[world] = next(in_processes(partial(paces_of, sizes=sizes, count=count), [world], 1))
        for size, paces in numbers[world].items():
            line = (f"{world}, {size} px: {paces['per_cpu_second']:.1f} pictures per CPU second, "
                    f"{paces['per_second']:.1f} per second")  # fmt: skip
            if of_set:
                paces["of_set_per_second"] = pace_of_set(world, int(size), of_set)
                line += f"; {paces['of_set_per_second']:.1f} of a set"
            click.echo(line)
    write_json(json_path, numbers)
    what = "-".join(["world", *(worlds if len(worlds) < len(WORLDS) else ())])
    click.echo(f"written to {write_results(results, what, torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
