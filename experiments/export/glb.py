"""A rig as binary glTF 2.0: mesh, skin, joints and one animation in one file; metres, y up.

Source: the Khronos glTF 2.0 specification, sections 3.6 (buffers), 3.7.3 (skins), 3.11 (animations) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from experiments.export import rig as rig_lib
from experiments.export.animation import Animation
from experiments.export.rig import Rig

Array = np.ndarray
_UBYTE, _USHORT, _UINT, _FLOAT = 5121, 5123, 5125, 5126
_COMPONENT = {"uint8": _UBYTE, "uint16": _USHORT, "uint32": _UINT, "float32": _FLOAT}
_TYPE = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (16,): "MAT4"}
_VERTEX_DATA, _INDICES = 34962, 34963
_COLOUR = (0.55, 0.68, 0.78, 1.0)


def write(clip: Animation, path: Path) -> None:
    """Writes one clip."""
    path.write_bytes(encode(rig_lib.of_clip(clip), clip))


def encode(rig: Rig, clip: Animation) -> bytes:
    """The file of a rig, with the clip's names."""
    buffer = _Buffer()
    joints = range(len(rig.names))
    # Nodes: the joints with their own indices, then the mesh, which is moved only by its skin, not by its node.
    mesh_node = len(rig.names)
    roots = [int(joint) for joint in joints if rig.parents[joint] < 0]
    nodes: list[dict[str, Any]] = []
    for joint in joints:
        parent = rig.parents[joint]
        offset = rig.rest_joints[joint] - (rig.rest_joints[parent] if parent >= 0 else 0)
        children = [int(child) for child in np.flatnonzero(rig.parents == joint)]
        nodes.append(
            {
                "name": rig.names[joint],
                "translation": [float(value) for value in np.asarray(offset, np.float32)],
                **({"children": children} if children else {}),
            }
        )
    nodes.append({"name": clip.name, "mesh": 0, "skin": 0})
    index_type = np.uint16 if len(rig.vertices) <= np.iinfo(np.uint16).max else np.uint32
    primitive = {
        "attributes": {
            "POSITION": buffer.add(rig.vertices.astype(np.float32), _VERTEX_DATA, bounds=True),
            "NORMAL": buffer.add(rig.normals.astype(np.float32), _VERTEX_DATA),
            "JOINTS_0": buffer.add(rig.influences.astype(np.uint8), _VERTEX_DATA),
            "WEIGHTS_0": buffer.add(rig.weights.astype(np.float32), _VERTEX_DATA),
        },
        "indices": buffer.add(rig.faces.astype(index_type).reshape(-1), _INDICES),
        "material": 0,
    }
    skin = {
        "name": clip.name,
        "joints": list(joints),
        "skeleton": roots[0],
        "inverseBindMatrices": buffer.add(_inverse_binds(rig.rest_joints)),
    }
    contents = {
        "asset": {"version": "2.0", "generator": "nemo_jax", "extras": {"fps": clip.fps}},
        "scene": 0,
        "scenes": [{"name": clip.action, "nodes": [*roots, mesh_node]}],
        "nodes": nodes,
        "meshes": [{"name": clip.name, "primitives": [primitive]}],
        "materials": [
            {
                "name": "body",
                "pbrMetallicRoughness": {"baseColorFactor": _COLOUR, "metallicFactor": 0.0, "roughnessFactor": 0.8},
            }
        ],
        "skins": [skin],
        "animations": [_animation(rig, clip.name, buffer)],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(contents, separators=(",", ":"), allow_nan=False).encode()
    chunks = _chunk(b"JSON", text, b" ") + _chunk(b"BIN\0", bytes(buffer.data), b"\0")
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _animation(rig: Rig, name: str, buffer: _Buffer) -> dict[str, Any]:
    """Key frames of every joint's rotation and of one joint's position."""
    times = buffer.add(rig.times.astype(np.float32), bounds=True)
    turns = quaternions(rig.rotations).astype(np.float32)
    paths = [(joint, "rotation", turns[:, joint]) for joint in range(len(rig.names))]
    paths.append((rig.moving, "translation", rig.places.astype(np.float32)))
    return {
        "name": name,
        "samplers": [
            {"input": times, "interpolation": "LINEAR", "output": buffer.add(np.ascontiguousarray(values))}
            for _, _, values in paths
        ],
        "channels": [
            {"sampler": number, "target": {"node": joint, "path": path}}
            for number, (joint, path, _) in enumerate(paths)
        ],
    }


def quaternions(rotations: Array) -> Array:
    """Unit quaternions (T, J, 4), x y z w, of rotations (T, J, 3, 3); each with the sign nearer to the frame before."""
    frames, joints = rotations.shape[:2]
    turns = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_quat().reshape(frames, joints, 4)
    flips = np.where((turns[1:] * turns[:-1]).sum(-1) < 0, -1.0, 1.0)
    turns[1:] *= np.cumprod(flips, axis=0)[..., None]
    return turns


def _inverse_binds(rest_joints: Array) -> Array:
    """Matrices (J, 16), in column-major order, from the unposed mesh to each joint; unposed joints are not rotated."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(rest_joints), 1, 1))
    matrices[:, :3, 3] = -rest_joints
    return matrices.transpose(0, 2, 1).reshape(-1, 16)


class _Buffer:
    """The binary part of the file, to which arrays are appended; `accessors` and `views` describe their positions."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: Array, target: int | None = None, bounds: bool = False) -> int:
        """Appends rows (n, ...) and returns the index of their accessor."""
        self.data += bytes(-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += array.astype(array.dtype.newbyteorder("<")).tobytes()
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": _COMPONENT[array.dtype.name],
            "count": len(array),
            "type": _TYPE[array.shape[1:]],
        }
        if bounds:
            rows = array.reshape(len(array), -1)
            accessor |= {"min": rows.min(0).astype(float).tolist(), "max": rows.max(0).astype(float).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _chunk(kind: bytes, data: bytes, filler: bytes) -> bytes:
    data += filler * (-len(data) % 4)
    return struct.pack("<I", len(data)) + kind + data
