"""What is in HDF5 files of views: numbers of rows, a check, samples, a sheet and histograms."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np

from dataset_preprocessing.nv_rendering.view_checks import faults
from dataset_preprocessing.nv_rendering.view_sheets import plot_angles, rows_of_sheet, sheet, write_samples
from eg3d.pictures.layout import stack, write_png
from groundwork.command import Command, json_option, tell, write_json
from groundwork.places import EITHER, FOLDER, Input, Output
from l2cs.view_files import ViewFile, view_files

OUTDIR = Output(
    FOLDER, ("image_*.jpg", "mask_*.jpg", "sheet.png", "histograms.png"), shares=["data_dir"],
    at=lambda value, given: value or _samples(given["data_dir"]),
)  # fmt: skip
SHEET_FILES = 8  # rows of the sheet, each of another person


def _samples(data_dir):
    return (data_dir.parent if data_dir.is_file() else data_dir) / "samples"


@click.command(cls=Command)
@click.option("--data_dir", type=Input(EITHER), required=True,
              help="Folder of .h5 files, or the one above its folder full, or one file.")  # fmt: skip
@click.option("--outdir", type=OUTDIR, help="Folder for pictures.  [default: samples in DATA_DIR]")
@click.option("--samples", type=click.IntRange(min=0), default=36, show_default=True,
              help="Single pictures of each file, the first rows.")  # fmt: skip
@json_option
def main(data_dir, outdir, samples, json_path):
    """Says how many rows each key has, checks every number, and draws: single pictures with the arrow of the gaze and
    their masks, a sheet with arrows of gaze (red) and head (blue), and histograms of both.

    Reads our files, the published ones, and ETH-XGaze's. Yaw is positive toward the picture's left.
    """
    outdir = outdir or _samples(data_dir)
    report, wrong, sheets, angles = {}, [], [], {"head": [], "gaze": []}
    for path in view_files(data_dir):
        with ViewFile(path) as file:
            click.echo(f"{path.name}: {file.person}, {file.side} px, {file.facts.get('made_by', 'published layout')}")
            for name in file.keys:
                click.echo(f"number of {name}:  {len(file)}")
            found = list(faults(file))
            wrong += [f"{path}: {line}" for line in found]
            report[path.name] = {"rows": len(file), "keys": list(file.keys), "side": file.side, "faults": found}
            if "face_gaze" not in file.keys:
                tell([f"{path.name} has no gaze, so nothing is drawn of it"])
                continue
            write_samples(file, outdir, samples)
            if len(sheets) < SHEET_FILES:
                sheets.append(sheet(file, rows_of_sheet(len(file), 8)))
            angles["gaze"].append(file.gaze())
            if (head := file.head_pose()) is not None:
                angles["head"].append(head)
    if sheets:
        write_png(outdir / "sheet.png", stack(sheets))
        shown = {name: parts for name, parts in angles.items() if parts}
        beyond = plot_angles(outdir / "histograms.png", shown)
        for name, parts in shown.items():
            report[name] = _spread(np.degrees(np.concatenate(parts)), name) | {"beyond_90": beyond[name]}
        tell([f"the {name} of {count} rows is turned beyond 90 degrees, which the histograms do not show"
              for name, count in beyond.items() if count])  # fmt: skip
    write_json(json_path, report)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"{wrong[0]}{more}; make these rows again")
    click.echo(f"{sum(of['rows'] for of in report.values() if 'rows' in of)} rows are whole; pictures in {outdir}")


def _spread(angles: np.ndarray, name: str) -> dict[str, list[float]]:
    """Mean, deviation and range of (pitch, yaw) in degrees; prints them too."""
    facts = {"mean": angles.mean(axis=0), "std": angles.std(axis=0), "min": angles.min(axis=0),
             "max": angles.max(axis=0)}  # fmt: skip
    plain = {key: [round(float(value), 2) for value in values] for key, values in facts.items()}
    click.echo(f"{name}, pitch and yaw in degrees: mean {plain['mean']}, deviation {plain['std']}, from {plain['min']} "
               f"to {plain['max']}")  # fmt: skip
    return plain


if __name__ == "__main__":
    main()
