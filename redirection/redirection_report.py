"""The page of evaluate.py: one HTML file without network, eyes that follow a slider, and the table."""

import base64
import json
from pathlib import Path

import numpy as np
import torch

from eg3d.pictures.report import DATA_SLOT, webp
from groundwork.files import atomic_write
from redirection.redirection_scores import SWEEP, Measuring, Sweep
from redirection.redirection_table import COLUMNS, cells_of

PAGE = Path(__file__).with_name("redirection_report.html")
SHOWN = 10  # sources


def write_redirection_report(path: Path, numbers: dict, measuring: Measuring, sweeps: dict[str, Sweep]) -> None:
    """The page as one file, written atomically. numbers: as evaluate.py writes them; sweeps: of each redirector."""
    chosen = np.linspace(0, len(measuring.swept) - 1, min(SHOWN, len(measuring.swept))).round().astype(int).tolist()
    sources = [
        {
            "picture": picture_of(measuring.patches.images[row][None]),
            "angles": "{:.0f}P {:.0f}V {:.0f}H".format(*measuring.patches.angles[row].tolist()),
            "strips": [
                {"picture": picture_of(sweep.patches[k]), "read": [round(h, 2) for h in sweep.read[k, :, 2].tolist()]}
                for sweep in sweeps.values()
            ],
        }
        for k, row in zip(chosen, measuring.swept[chosen].tolist(), strict=True)
    ]
    data = {
        "lead": "Move the slider: each method is asked for this horizontal gaze, positive toward the left of the "
        f"patch, and below stands what the judge reads. {numbers['pairs']} pairs of {numbers['people']} people that no "
        f"method was trained on; seed {numbers['seed']}.",
        "asked": SWEEP,
        "methods": list(sweeps),
        "sources": sources,
        "columns": [column[0] for column in COLUMNS],
        "meanings": [f"{column[0]}: {column[3]}" for column in COLUMNS],
        "rows": [[name, cells_of(row)] for name, row in numbers["rows"].items()],
    }
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    template = PAGE.read_text(encoding="utf-8")
    assert template.count(DATA_SLOT) == 1
    atomic_write(path, template.replace(DATA_SLOT, DATA_SLOT.replace("{}", text)).encode())


def picture_of(patches: torch.Tensor) -> str:
    """uint8 [K, 3, S, S] side by side, as an address that a page can hold."""
    strip = np.concatenate(list(patches.permute(0, 2, 3, 1).numpy()), axis=1)
    return "data:image/webp;base64," + base64.b64encode(webp(strip)).decode()
