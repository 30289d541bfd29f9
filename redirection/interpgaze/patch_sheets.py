"""Sheets of what a redirector does with patches that it was not trained on, while it trains."""

import numpy as np
import torch

from redirection.interpgaze.redirector import InterpGaze, network_input, picture
from redirection.patch_sets import PatchSet

ROWS = 10


def sheet_rows(patches: PatchSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources and references [R]: of each of the first people two pictures of one eye, as different as there are."""
    sources, references = [], []
    for person in patches.person.unique().tolist()[:ROWS]:
        rows = torch.nonzero((patches.person == person) & (patches.eye == 0))[:, 0]
        rows = rows if len(rows) > 1 else torch.nonzero(patches.person == person)[:, 0]
        apart = torch.cdist(patches.angles[rows], patches.angles[rows]).flatten().argmax().item()
        sources.append(rows[apart // len(rows)])
        references.append(rows[apart % len(rows)])
    return torch.stack(sources), torch.stack(references)


@torch.no_grad()
def draw_sheet(redirector: InterpGaze, patches: PatchSet, device) -> np.ndarray:
    """uint8 [H, W, 3]: a row for each source: source, v = 0, each branch at 0.5 and 1, all at 1, reference."""
    was_training = redirector.training
    redirector.eval()
    sources, references = sheet_rows(patches)
    x, r = (network_input(patches.images[rows], redirector.config).to(device) for rows in (sources, references))
    of_x, of_r = redirector.encoder(x), redirector.encoder(r)
    branches = redirector.config.groups.branches
    controls = [torch.zeros(branches)]
    for k in range(branches):
        controls += [strength * torch.eye(branches)[k] for strength in (0.5, 1.0)]
    controls.append(torch.ones(branches))
    columns = [x]
    for v in controls:
        moved = redirector.controller(of_x, of_r, v.to(device).expand(len(x), -1))
        columns.append(redirector.draw(x, of_x, moved))
    columns.append(r)
    redirector.train(was_training)
    drawn = torch.stack([picture(column, redirector.config) for column in columns])  # [columns, R, 3, S, S]
    rows = drawn.permute(1, 3, 0, 4, 2).flatten(0, 1).flatten(1, 2)
    return (rows * 255).round().byte().cpu().numpy()
