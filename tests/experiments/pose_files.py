"""Writes the outputs of methods of human mesh recovery in exactly their published shapes, for tests."""

import collections
import io
import struct

import joblib
import numpy as np

from tests.experiments import prior_formats
from tests.experiments.prior_formats import Called, Storage, TorchPickler, function_named, row_major, tensor

_CODES = {"float32": "f4", "float64": "f8", "int64": "i8"}


def vibe_person(pose, frames, joints=None, boxes=None):
    """One entry of `vibe_output.pkl`: pose (M, 72), joints (M, 25, 2) in BODY_25, boxes (M, 4) x1 y1 x2 y2."""
    count = len(frames)
    zeros = np.zeros((count, 49, 2), np.float32)
    if joints is not None:
        zeros[:, :25] = joints
    if boxes is None:
        boxes = np.tile([0.0, 0, 200, 200], (count, 1))
    boxes = np.asarray(boxes, float)
    return {
        "pred_cam": np.ones((count, 3), np.float32),
        "orig_cam": np.ones((count, 4), np.float32),
        "verts": np.zeros((count, 6, 3), np.float32),
        "pose": np.asarray(pose, np.float32).reshape(count, 72),
        "betas": np.zeros((count, 10), np.float32),
        "joints3d": np.zeros((count, 49, 3), np.float32),
        "joints2d": None,
        **({} if joints is None else {"joints2d_img_coord": zeros}),
        "bboxes": np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1),
        "frame_ids": np.asarray(frames),
    }


def vibe(path, people, **kwargs):
    """`vibe_output.pkl` of {person: (pose, frames, joints, boxes)}."""
    joblib.dump({person: vibe_person(*arguments) for person, arguments in people.items()}, path, **kwargs)
    return path


def pare(path, matrices, frames, joints):
    person = vibe_person(np.zeros((len(frames), 72)), frames, joints)
    person["smpl_joints2d"] = person.pop("joints2d_img_coord")
    joblib.dump({7: {**person, "pose": np.asarray(matrices, np.float32)}}, path)
    return path


def phalp(path, num_frames, seen):
    """4D-Humans: seen is a list of (frame, person, matrices (24, 3, 3), box x1 y1 x2 y2, tracked_time)."""
    keys = ("tracked_ids", "tracked_bbox", "tid", "bbox", "tracked_time", "smpl", "camera", "conf", "mask", "2d_joints")
    pictures = {}
    for frame in range(num_frames):
        name = f"outputs/_DEMO/clip/img/{frame + 1:06d}.jpg"
        pictures[name] = {"time": frame, "shot": 0, "frame_path": name, **{key: [] for key in keys}}
        for at, person, matrices, box, age in seen:
            if at == frame:
                x1, y1, x2, y2 = map(float, box)
                rotations = np.asarray(matrices, np.float32)
                smpl = {"global_orient": rotations[:1], "body_pose": rotations[1:], "betas": np.zeros(10, np.float32)}
                found = {
                    "tid": person,
                    "bbox": np.array([x1, y1, x2 - x1, y2 - y1]),
                    "tracked_time": age,
                    "smpl": smpl,
                    "camera": np.ones(3, np.float32),
                    "conf": np.float32(0.9),
                    "mask": [{"size": [480, 640], "counts": "abc"}],
                    "2d_joints": np.zeros(90, np.float32),
                }
                for key, value in found.items():
                    pictures[name][key].append(value)
    joblib.dump(pictures, path, compress=3)
    return path


def wham(path, people):
    """`wham_output.pkl` of {person: (pose, frames, trans (M, 3))}."""
    results = collections.defaultdict(dict)
    for person, (pose, frames, trans) in people.items():
        pose = np.asarray(pose, np.float32).reshape(len(frames), 72)
        results[person]["pose"] = pose
        results[person]["trans"] = np.asarray(trans, np.float32)
        results[person]["pose_world"] = pose + 1
        results[person]["trans_world"] = np.zeros((len(frames), 3), np.float32)
        results[person]["betas"] = np.zeros((len(frames), 10), np.float32)
        results[person]["verts"] = np.zeros((len(frames), 6, 3), np.float32)
        results[person]["frame_ids"] = np.asarray(frames)
    joblib.dump(results, path)
    return path


def gvhmr(path, root, body, trans, intrinsics):
    """`hmr4d_results.pt`: root (F, 3), body (F, 63), trans (F, 3), intrinsics (3, 3)."""
    contents = {}

    def put(array):
        array = np.ascontiguousarray(array, np.float32)
        key = str(len(contents))
        contents[key] = array
        return tensor(Storage(key, array), 0, array.shape, row_major(array.shape))

    count = len(root)
    names = {"body_pose": body, "betas": np.zeros((count, 10)), "global_orient": root, "transl": trans}
    world = {**names, "global_orient": np.asarray(root) + 1}
    value = {
        "smpl_params_global": {name: put(array) for name, array in world.items()},
        "smpl_params_incam": {name: put(array) for name, array in names.items()},
        "K_fullimg": put(np.tile(intrinsics, (count, 1, 1))),
        "net_outputs": {"model_output": {"pred_x": put(np.zeros((1, count, 4)))}},
    }
    path.write_bytes(prior_formats.archive(value, contents))
    return path


_from_bytes = function_named("torch.storage", "_load_from_bytes")


def pickled_tensor(array):
    """A tensor as an ordinary pickle has it: its storage in the format of torch before 1.6."""
    array = np.ascontiguousarray(array)
    stream = io.BytesIO()
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    storage = Storage("94029", array)
    storage.pid = (*storage.pid, None)
    for value in (0x1950A86A20F9469CFC6C, 1001, info, storage, ["94029"]):
        TorchPickler(stream).dump(value)
    stream.write(struct.pack("<q", array.size) + array.tobytes())
    return tensor(Called(_from_bytes, (stream.getvalue(),)), 0, array.shape, row_major(array.shape))


def tram(path, matrices, frames, trans):
    """`hps_track_<k>.npy`: `numpy.save` of a dictionary of tensors."""
    count = len(frames)
    arrays = {
        "pred_cam": np.ones((count, 3), np.float32),
        "pred_pose": np.zeros((count, 144), np.float32),
        "pred_shape": np.zeros((count, 10), np.float32),
        "pred_rotmat": np.asarray(matrices, np.float32),
        "pred_trans": np.asarray(trans, np.float32).reshape(count, 1, 3),
        "frame": np.asarray(frames, np.int64),
    }
    path.write_bytes(npy_of({name: pickled_tensor(array) for name, array in arrays.items()}))
    return path


def npy_of(value):
    """Bytes of `numpy.save(value)` for any object."""
    held = np.empty((), object)
    held[()] = value
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    TorchPickler(stream).dump(held)
    return stream.getvalue()


def turn(axis, angle):
    """The matrix of a rotation about the x, y or z axis, written out."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def some_pose(seed, count):
    """Axis-angle (count, 24, 3) with turns about single axes, and the same as matrices (count, 24, 3, 3)."""
    rng = np.random.default_rng(seed)
    axes, angles = rng.integers(0, 3, (count, 24)), rng.uniform(-2, 2, (count, 24))
    pose = np.eye(3)[axes] * angles[..., None]
    return pose, np.array([[turn(a, t) for a, t in zip(*row, strict=True)] for row in zip(axes, angles, strict=True)])
