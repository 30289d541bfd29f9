"""Embree's library as the package `embreex` carries it, called directly.

The package's own classes copy a mesh number by number in Python, which takes longer than all that embree does with it.
"""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

_PTR, _INT, _UINT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
SIGNATURES = {  # name: result, arguments (Embree 4, rtcore_*.h)
    "rtcNewDevice": (_PTR, [ctypes.c_char_p]),
    "rtcGetDeviceProperty": (ctypes.c_ssize_t, [_PTR, _INT]),
    "rtcNewScene": (_PTR, [_PTR]),
    "rtcNewGeometry": (_PTR, [_PTR, _INT]),
    "rtcSetSharedGeometryBuffer": (None, [_PTR, _INT, _UINT, _INT, _PTR, _SIZE, _SIZE, _SIZE]),
    "rtcCommitGeometry": (None, [_PTR]),
    "rtcAttachGeometry": (_UINT, [_PTR, _PTR]),
    "rtcReleaseGeometry": (None, [_PTR]),
    "rtcCommitScene": (None, [_PTR]),
    "rtcReleaseScene": (None, [_PTR]),
    "rtcIntersect16": (None, [_PTR] * 4),
}
TRIANGLES, INDICES, VERTICES, UINT3, FLOAT3 = 0, 0, 1, 0x5003, 0x9003  # rtcore_geometry.h, _buffer.h, _common.h
LANES, ROWS = 16, 21  # rays of a packet; numbers of a ray and its hit: RTCRayHit16, with both levels of instances
ORIGIN, DIRECTION, FAR, MASK, U, V, TRIANGLE = slice(0, 3), slice(4, 7), 8, 9, 15, 16, 17  # some of these numbers
COHERENT, EVERYTHING = 1 << 16, 0xFFFFFFFF  # rays of a packet go much the same way; no feature is left out


class Arguments(ctypes.Structure):
    """RTCIntersectArguments."""

    _fields_ = [
        ("flags", _UINT),
        ("features", _UINT),
        *((name, _PTR) for name in ("context", "filter", "intersect", "spare")),
    ]


@cache
def library() -> tuple[ctypes.CDLL, int] | None:
    """The library and a device of it; None if the package is not there or carries another Embree than 4."""
    spec = find_spec("embreex")
    if spec is None or spec.origin is None:
        return None
    for file in sorted(Path(spec.origin).parent.with_name("embreex.libs").glob("libembree4*")):
        try:
            embree = ctypes.CDLL(str(file))
            for name, (result, arguments) in SIGNATURES.items():
                function = getattr(embree, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        device = embree.rtcNewDevice(b"threads=1")
        if device and embree.rtcGetDeviceProperty(device, 0) // 10000 == 4:  # its version
            return embree, device
    return None


class Mesh:
    """A triangle mesh that rays can be cast at; `library()` must be there."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray):
        """vertices float32 [V, 3], faces int32 [F, 3]."""
        self._embree, device = library()
        # Embree reads the arrays where they are, and one number beyond the last vertex.
        self._vertices = np.append(np.asarray(vertices, np.float32).ravel(), np.float32(0))
        self._faces = np.array(faces, np.int32, order="C")
        geometry = self._embree.rtcNewGeometry(device, TRIANGLES)
        for slot, kind, array, count in (
            (VERTICES, FLOAT3, self._vertices, len(vertices)),
            (INDICES, UINT3, self._faces, len(faces)),
        ):
            self._embree.rtcSetSharedGeometryBuffer(geometry, slot, 0, kind, array.ctypes.data, 0, 12, count)
        self._embree.rtcCommitGeometry(geometry)
        self._scene = self._embree.rtcNewScene(device)
        self._embree.rtcAttachGeometry(self._scene, geometry)
        self._embree.rtcReleaseGeometry(geometry)
        self._embree.rtcCommitScene(self._scene)

    def __del__(self):
        if hasattr(self, "_scene"):
            self._embree.rtcReleaseScene(self._scene)

    def first_hits(self, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Triangle int32 [P] (-1: none), distance [P] (inf: none) and the weights u, v [P] of its last two corners.

        origin [3], directions float32 [P, 3].
        """
        count = len(directions)
        packets = -(-count // LANES)
        whole = np.concatenate([directions, np.broadcast_to(directions[-1:], (packets * LANES - count, 3))])
        rays = _aligned(packets * ROWS * LANES).reshape(packets, ROWS, LANES)
        rays[:] = 0
        rays[:, ORIGIN] = np.asarray(origin, np.float32)[:, None]
        rays[:, DIRECTION] = whole.reshape(packets, LANES, 3).transpose(0, 2, 1)
        rays[:, FAR] = np.inf
        whole_numbers = rays.view(np.int32)
        whole_numbers[:, MASK] = -1
        whole_numbers[:, TRIANGLE:] = -1
        valid = _aligned(LANES).view(np.int32)
        valid[:] = -1
        cast, scene, first, step = self._embree.rtcIntersect16, self._scene, rays.ctypes.data, rays.strides[0]
        active, how = valid.ctypes.data, Arguments(COHERENT, EVERYTHING)
        how_at = ctypes.addressof(how)
        for packet in range(first, first + packets * step, step):
            cast(active, scene, packet, how_at)
        triangle = whole_numbers[:, TRIANGLE].ravel()[:count]
        return triangle, *(rays[:, row].ravel()[:count] for row in (FAR, U, V))


def _aligned(count: int) -> np.ndarray:
    """float32 [count] at a multiple of 64 bytes."""
    array = np.empty(count + 16, np.float32)
    start = -array.ctypes.data % 64 // 4
    return array[start : start + count]
