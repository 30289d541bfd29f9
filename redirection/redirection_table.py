"""The table of evaluate.py: one row a method, what each column means below it."""

COLUMNS = (  # heading, where it is in the numbers of a row, digits, what it means
    ("label", ("to_label_deg",), 2, "degrees between the gaze that the judge reads and the wanted one"),
    ("truth", ("to_judged_truth_deg",), 2, "degrees to what the judge reads from the true picture"),
    ("grid", ("to_label_bins", "by_grid", "on the grid", "mean"), 2, "label, at gazes that training has"),
    ("between", ("to_label_bins", "by_grid", "between", "mean"), 2, "label, at gazes between these"),
    ("1.5x", ("extrapolated", "direction_right"), 3, "share that goes the right way if 1.5 times as far is asked"),
    ("PSNR", ("psnr_db",), 2, "dB to the true picture"),
    ("SSIM", ("ssim",), 3, "to the true picture"),
    ("same", ("reconstruction_db",), 1, "dB to the source if nothing is to move"),
    ("Frechet", ("frechet",), 3, "distance of the judge's features from those of the true pictures"),
    ("ident", ("identity_above_threshold",), 3, "share as like the source as 95 % of true pairs"),
    ("yaw", ("head_yaw_change_deg",), 2, "degrees by which the reading of the head's yaw changes"),
    ("iris", ("iris_colour_off",), 1, "of 255, the iris's mean colour against the source's"),
    ("outside", ("outside_lids",), 2, "of 255, mean change outside the lids after pasting"),
    ("mono", ("continuity", "monotone"), 3, "share whose nine steps all go the right way"),
    ("R2", ("continuity", "r2"), 3, "of a straight line through the nine gazes read"),
    ("line", ("continuity", "line_rmse_deg"), 2, "degrees RMS about that line"),
    ("asked", ("continuity", "asked_rmse_deg"), 2, "degrees RMS about the asked gaze"),
    ("jump", ("continuity", "largest_jump_deg"), 2, "degrees, largest step read; 3.75 are asked"),
)


def value_of(row: dict, path: tuple[str, ...]) -> float | None:
    """The number at a path, or None if the row has none."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row


def cells_of(row: dict) -> list[str]:
    values = [(value_of(row, path), digits) for _, path, digits, _ in COLUMNS]
    return ["-" if value is None else f"{value:.{digits}f}" for value, digits in values]


def table_of(numbers: dict) -> list[str]:
    """Lines for a terminal."""
    rows = {name: cells_of(row) for name, row in numbers["rows"].items()}
    wide, own = max(map(len, rows)), numbers["judge"]["own_error"]
    widths = [max(len(column[0]), *(len(cells[k]) for cells in rows.values())) for k, column in enumerate(COLUMNS)]
    heading = "  ".join(f"{column[0]:>{width}}" for column, width in zip(COLUMNS, widths, strict=True))
    lines = [f"{'':<{wide}}  {heading}"]
    for name, cells in rows.items():
        lines.append(f"{name:<{wide}}  " + "  ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
    lines += ["", *(f"{name:>8}  {meaning}" for name, _, _, meaning in COLUMNS), ""]
    return [
        *lines,
        f"{numbers['pairs']} pairs of {numbers['people']} people; the judge {numbers['judge']['name']} "
        f"({numbers['judge']['sha256'][:12]}) errs by {own['gaze_error_deg']:.2f} degrees on their true pictures",
    ]
