"""Measures gaze redirectors on people they never saw: where the eyes look after it, and what else has changed."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from groundwork.command import Command, device_option, json_option, pick_device, seed_option, tell, write_json
from groundwork.places import EITHER, INPUT_FOLDER, OUTPUT_FILE, NamedInput
from redirection.attributes import NO_LABELS
from redirection.judge_fitting import errors
from redirection.methods import NAMES, NOTHING, open_redirector
from redirection.patch_judge import JUDGES, Judge
from redirection.patch_sets import read_patches
from redirection.redirection_pairs import draw_pairs
from redirection.redirection_report import write_redirection_report
from redirection.redirection_scores import TRUTH, Measuring
from redirection.redirection_table import table_of


@click.command(cls=Command)
@click.option("--data", type=INPUT_FOLDER, required=True, help="Set of crop_eyes.py; its test list is measured.")
@click.option("--redirector", "redirectors", multiple=True,
              help=f"{', '.join(NAMES)}, or METHOD:PATH of weights; several are compared.")  # fmt: skip
@click.option("--references", type=INPUT_FOLDER,
              help="Set whose train list gives InterpGaze its references.  [default: its embedded ones]")  # fmt: skip
@click.option("--judge", type=NamedInput(EITHER, list(JUDGES)), default="embedded", show_default=True,
              help="Who reads the eyes: embedded (people), or weights of train_judge.py.")  # fmt: skip
@click.option("--pairs", type=click.IntRange(20), default=2000, show_default=True, help="Pairs of source and target.")
@click.option("--turn", type=click.FloatRange(0, 90), default=3.0, show_default=True,
              help="Degrees by which the head poses of a pair may differ.")  # fmt: skip
@click.option("--report", type=OUTPUT_FILE, help="Also write an HTML page with a slider.")
@device_option
@seed_option
@json_option
def main(data, redirectors, references, judge, pairs, turn, report, device, seed, json_path):
    """Prints one table: a row for each redirector, one for doing nothing, and one for the true pictures."""
    device = pick_device(device)
    judge = Judge.load(judge, device)
    patches = read_patches(data, "test", NO_LABELS)
    chosen = draw_pairs(patches, pairs, seed, turn)
    gallery = None if references is None else read_patches(references, "train", NO_LABELS)
    specs = [NOTHING, *(spec for spec in redirectors if spec != NOTHING)]
    methods = [open_redirector(spec, device, patches.size, gallery) for spec in specs]
    measuring = Measuring(patches, chosen, judge, seed)
    rows, sweeps = {TRUTH: measuring.of_pictures(measuring.targets)[0]}, {}
    for spec, method in zip(specs, methods, strict=True):
        name = method.name if method.name not in rows else spec
        rows[name], sweeps[name] = measuring.of_redirector(method)
    own = errors(judge.network, patches)
    numbers = {
        "judge": {"name": judge.name, "sha256": judge.sha256, "own_error": own},
        "pairs": len(chosen), "people": len(patches.person.unique()), "seed": seed, "turn_deg": turn,
        "identity_threshold": measuring.threshold, "redirectors": specs, "rows": rows,
    }  # fmt: skip
    tell([f"the set has {len(chosen)} such pairs, not {pairs}"] if len(chosen) < pairs else [])
    click.echo("\n".join(table_of(numbers)))
    if report is not None:
        write_redirection_report(report, numbers, measuring, sweeps)
    write_json(json_path, numbers)


if __name__ == "__main__":
    main()
