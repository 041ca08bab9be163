"""Names, order and symmetry of the joints that the rest of the project speaks of."""

from collections.abc import Collection, Sequence

import numpy as np

# SMPL's 24 joints, its kinematic tree, and the tree cut into levels whose joints can be posed at once.
SMPL_JOINTS: list[str] = [
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
]
PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
NUM_JOINTS = 24

# The 21 mesh vertices that smplx appends to the joints, and their ids on SMPL's 6,890-vertex mesh (smplx `vertex_ids.py`).
LANDMARKS: list[str] = [
    "nose",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
    "left_thumb",
    "left_index",
    "left_middle",
    "left_ring",
    "left_pinky",
    "right_thumb",
    "right_index",
    "right_middle",
    "right_ring",
    "right_pinky",
]
SMPL_LANDMARK_VERTICES = np.array(
    [332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787]
    + [2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133]
)  # fmt: skip
SMPL_NUM_VERTICES = 6890

# The 9 joints of the extra regressor (SPIN's J_regressor_extra.npy); they follow the landmarks, at 45..53.
EXTRA_JOINTS = [
    "right_hip_h36m",
    "left_hip_h36m",
    "neck_lsp",
    "top_of_head",
    "pelvis_mpii",
    "thorax_mpii",
    "spine_h36m",
    "jaw_h36m",
    "head_h36m",
]

# The 54-entry list 24 joints + 21 landmarks + 9 extras; everything below indexes it.
ALL_JOINTS = (*SMPL_JOINTS, *LANDMARKS, *EXTRA_JOINTS)
NOSE, TOP_OF_HEAD, HEAD_CENTRE = 24, 48, 53

# OpenPose BODY_25.
BODY_25_NAMES: list[str] = [
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
]
NUM_KEYPOINTS = 25
BODY_25 = np.array(
    [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34]
)  # fmt: skip
# Limbs of BODY_25, for drawing.
BODY_25_LIMBS = (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13),
    (13, 14), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24),
)  # fmt: skip


def mirror_order(names: Sequence[str], group: Collection[int] | None = None) -> np.ndarray:
    """The permutation (K,) under which left and right trade places: the point at place k is that named `names[order[k]]`.

    Args:
      names: of K points; one with the word left in it has a twin with the word right.
      group: places that trade; the other points stay where they are. None = all.
    """
    twin = {"left": "right", "right": "left"}
    index = {name: i for i, name in enumerate(names)}
    order = np.array([index["_".join(twin.get(word, word) for word in name.split("_"))] for name in names])
    places = np.arange(len(names))
    return order if group is None else np.where(np.isin(places, list(group)), order, places)


MIRROR_JOINTS = mirror_order(SMPL_JOINTS)
MIRROR_BODY_25 = mirror_order(BODY_25_NAMES)


def tree_levels(parents: np.ndarray = PARENTS) -> tuple[np.ndarray, ...]:
    """Joint indices by depth: every joint's parent lies in the level before. The root is the first level, alone."""
    depth = np.zeros(len(parents), int)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    # int32: inside `jax.enable_x64`, JAX 0.10 mixes up wider constant indices that it has seen outside of it.
    return tuple(np.flatnonzero(depth == level).astype(np.int32) for level in range(depth.max() + 1))


LEVELS = tree_levels()
