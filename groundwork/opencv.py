"""OpenCV, which is installed by an extra only: whoever needs it asks here, and gets one line if it is missing."""

import functools


@functools.cache
def opencv():
    """The module `cv2`. ValueError, one line, if it is not installed."""
    try:
        import cv2
    except ImportError:
        raise ValueError("this needs OpenCV; pip install 'gaze-corrected-eg3d[novel-views]'") from None
    return cv2
