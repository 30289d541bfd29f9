"""Memory that PyTorch frees on a CPU is kept by the process, for the next tensor."""

import ctypes

# <malloc.h> of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Whether the C library now keeps freed memory instead of giving it back to the system page by page.

    A training step frees and asks for the same hundreds of megabytes again and again, and the system hands out every
    page anew, zeroed: a tenth of a step of the embedded preset. The most that was in use at a time stays the process's.
    Other C libraries than glibc have no such switch; then nothing happens.
    """
    try:
        library = ctypes.CDLL(None)
        return all(library.mallopt(which, _NEVER) == 1 for which in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library without a name
        return False
