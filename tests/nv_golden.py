"""The golden case of novel views: one head in one photo, by the published program in double precision."""

from pathlib import Path

import numpy as np

from dataset_preprocessing.nv_rendering.head_pose import HeadPose
from l2cs.normalization import rotation_matrix

DATA = Path(__file__).parent / "data"
GOLDEN = dict(np.load(DATA / "nv_rendering.npz"))
EXACT = dict(rtol=1e-9, atol=1e-9)


def true_pose() -> HeadPose:
    return HeadPose(rotation_matrix(GOLDEN["true_rvec"]), GOLDEN["true_tvec"])
