"""Memory that PyTorch frees on a CPU is kept by the process, for the next tensor."""

import ctypes

# <malloc.h> of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Whether the C library now keeps freed memory instead of giving it back to the system page by page.

    A training step frees and asks for the same hundreds of megabytes again and again, and the system hands out every
    page anew, zeroed: a tenth of a step of the embedded preset. The most that was in use at a time stays the process's.
    Other C libraries than glibc have no such switch; then nothing happens.
    """
    try:
        library = ctypes.CDLL(None)
        kept = library.mallopt(_TRIM_THRESHOLD, _NEVER) == 1
        # Older ones refuse thresholds above 32 MiB, but all can do without mappings of their own for large tensors.
        return (library.mallopt(_MMAP_THRESHOLD, _NEVER) == 1 or library.mallopt(_MMAP_MAX, 0) == 1) and kept
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library without a name
        return False
