"""Tri-plane look-up: 3D points -> features (EG3D, section 3 and figure 2).

An edit of this file changes pictures only with `--ops=torch`: else kernels look the planes up (`ops/kernels/field.py`).
`sample_planes` is the definition; `mean_features` (in training) and `PlaneTable` (in pictures) compute the same faster.
"""

import torch
import torch.nn.functional as F

# Each pair names the coordinates that index a plane's width and height. Released EG3D weights were trained with XY, XZ
# and ZX: the third plane is the transposed second, and no plane resolves (y, z) (NVlabs/eg3d issue 67, and
# docs/published_defects.md, D-01). A correction would break every public checkpoint, so it is an option for new models.
# EG3D's own branch `fixed_triplanes` has a third order, for the weights that were trained there.
PLANE_AXES = ((0, 1), (0, 2), (2, 0))
PLANE_AXES_YZ = ((0, 1), (0, 2), (2, 1))
PLANE_AXES_FIXED = ((0, 1), (1, 2), (2, 0))
AXES = {"published": PLANE_AXES, "yz": PLANE_AXES_YZ, "fixed_triplanes": PLANE_AXES_FIXED}

# The same as the axis matrices A that published files carry: a point p lies at the first two entries of p A^-1. That
# branch changed its code and not this attribute: its files carry the published matrices.
_XY, _XZ, _ZX = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
PLANE_MATRICES = {
    "published": [_XY, _XZ, _ZX],
    "yz": [_XY, _XZ, [[0, 0, 1], [0, 1, 0], [1, 0, 0]]],
    "fixed_triplanes": [_XY, [[0, 1, 0], [0, 0, 1], [1, 0, 0]], _ZX],
}


def plane_coordinates(points, box_warp: float, axes=PLANE_AXES):
    """points [N, P, 3] in world units -> grid coordinates [N, 3, P, 2], in [-1, 1] inside the box."""
    x = (points * (2 / box_warp)).unbind(dim=-1)
    return torch.stack([torch.stack([x[a], x[b]], dim=-1) for a, b in axes], dim=1)


def sample_planes(planes, points, box_warp: float, axes=PLANE_AXES):
    """Bilinear features of every plane: planes [N, 3, C, H, W], points [N, P, 3] -> [N, 3, P, C].

    Zero padding, so a plane contributes nothing half a texel and more outside the box.
    """
    n, count, c, h, w = planes.shape
    grid = plane_coordinates(points, box_warp, axes).reshape(n * count, 1, -1, 2)
    features = F.grid_sample(
        planes.reshape(n * count, c, h, w), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return features.reshape(n, count, c, -1).transpose(2, 3)


def mean_features(planes, points, box_warp: float, axes=PLANE_AXES):
    """Mean over the planes, channels first: planes [N, 3, C, H, W], points [N, P, 3] -> [N, C, P].

    The same numbers as `sample_planes(...).mean(1).mT`, without the transposed copy.
    """
    n, count, c, h, w = planes.shape
    grid = plane_coordinates(points, box_warp, axes).reshape(n * count, 1, -1, 2)
    # Dividing the planes instead of the features touches far fewer numbers, and a sum's gradient is a mere view.
    features = F.grid_sample(
        (planes / count).reshape(n * count, c, h, w), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return features.reshape(n, count, c, -1).sum(dim=1)


class PlaneTable:
    """Planes laid out for look-ups without gradients: one row of C numbers per texel, square planes, a border of zeros.

    Twelve rows (three planes, four neighbours) are gathered, weighted and summed by one embedding bag, which moves each
    number once; `grid_sample` reads channel by channel and stores the three planes apart.
    """

    def __init__(self, planes):
        n, count, c, h, w = planes.shape
        assert h == w
        self.shape, self.side = (n, count), h + 2
        self.rows = F.pad(planes.reshape(n * count, c, h, h), (1, 1, 1, 1)).permute(0, 2, 3, 1).reshape(-1, c)

    def sum_features(self, points, box_warp: float, axes=PLANE_AXES):
        """Sum over the planes: points [N, P, 3] -> [N P, C], three times the rows of `mean_features`."""
        (n, count), side, size = self.shape, self.side, self.side - 2
        # Texel centres lie at (i + 1/2) / size of the box; one more for the border, in which everything outside ends.
        at = (points.movedim(-1, 0) * (size / box_warp) + (size + 1) / 2).clamp_(0, side - 1)  # [3, N, P]
        low = at.floor().clamp_(max=side - 2)
        high_weight = at.sub_(low)
        # A point that is not a number reads some texel, and its weights are not numbers: the picture shows it.
        low_weight, low = 1 - high_weight, low.nan_to_num_(nan=0.0).int()
        texels, weights = [], []
        for plane, (x, y) in enumerate(axes):
            first = torch.arange(plane, n * count, count, dtype=torch.int32, device=low.device) * side**2
            texels.append(torch.add(low[x], low[y], alpha=side) + first[:, None])
            weights += [a[x] * b[y] for b in (low_weight, high_weight) for a in (low_weight, high_weight)]
        near = torch.tensor([0, 1, side, side + 1], dtype=torch.int32, device=low.device)
        return F.embedding_bag(
            (torch.stack(texels, dim=-1)[..., None] + near).view(-1, 4 * count), self.rows, mode="sum",
            per_sample_weights=torch.stack(weights, dim=-1).view(-1, 4 * count).to(self.rows.dtype),
        )  # fmt: skip
