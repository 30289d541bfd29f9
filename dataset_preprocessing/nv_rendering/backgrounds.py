"""What stands behind the face in a novel view: black, a colour, or a blurred picture of a folder."""

from pathlib import Path

import numpy as np

from groundwork.archive import Folder, read_file
from groundwork.images import read_picture, silence_pillow
from groundwork.opencv import opencv

BLUR, BLURRED_SIZE = 20, 448  # px: the side of the box that a picture of this size is blurred by, as published
PUBLISHED_BLACK = (1.0, 1.0, 1.0)  # what the published program draws for black, of 255


class Backgrounds:
    """The pictures of a folder, sorted by name; stored numbers of backgrounds count in this order.

    The folder is listed at once; a picture is read when it is asked for. ValueError if there is none.
    """

    def __init__(self, folder: Path):
        silence_pillow()
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder of background pictures; name one in the settings as "
                             "data.background_path, or leave it out")  # fmt: skip
        self._folder = Folder(folder)
        self.names = sorted(self._folder.pictures)
        if not self.names:
            raise ValueError(f"{folder}: no background pictures in this folder{self._folder.why_empty()}; name another "
                             "one in the settings as data.background_path, or leave it out")  # fmt: skip

    def picture(self, number: int, size: int) -> np.ndarray:
        """A picture brought to [size, size, 3] whatever its shape, and blurred; float32 RGB, 0 to 255."""
        if number >= len(self.names):
            raise ValueError(f"{self._folder.path}: background {number} is asked for, and there are "
                             f"{len(self.names)}; the stored numbers belong to another folder")  # fmt: skip
        path, cv2 = self._folder.file(self.names[number]), opencv()
        picture = np.asarray(read_picture(read_file(path), f"{path}:"), np.float32)
        blur = max(1, round(BLUR * size / BLURRED_SIZE))
        return cv2.blur(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), (blur, blur))
