"""SMPL in float64 NumPy, written from the paper's formula with 4x4 transforms and loops, to check the JAX one against."""

import numpy as np

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def rotation(axis_angle):
    """Rodrigues' formula: (3,) radians -> (3, 3)."""
    angle = np.linalg.norm(axis_angle)
    if angle == 0:
        return np.eye(3)
    x, y, z = np.asarray(axis_angle) / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def smpl(arrays, rotations, betas, translation):
    """Vertices (V, 3) and the 54 joints of one pose; rotations (24, 3, 3), arrays as in an SMPL file."""
    template, weights = np.asarray(arrays["v_template"], np.float64), np.asarray(arrays["weights"], np.float64)
    shaped = template + np.asarray(arrays["shapedirs"], np.float64) @ betas
    joints = np.asarray(arrays["J_regressor"], np.float64) @ shaped
    feature = np.concatenate([(r - np.eye(3)).ravel() for r in rotations[1:]])
    posed = shaped + np.asarray(arrays["posedirs"], np.float64) @ feature

    chain = []
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        chain.append(chain[parent] @ local if parent >= 0 else local)
    skinning = []
    for j in range(24):
        back = np.eye(4)
        back[:3, 3] = -joints[j]
        skinning.append(chain[j] @ back)

    vertices = np.empty_like(template)
    for i in range(len(template)):
        blended = sum(weights[i, j] * skinning[j] for j in range(24))
        vertices[i] = (blended @ np.append(posed[i], 1))[:3]
    vertices = vertices + translation
    posed_joints = np.array([t[:3, 3] for t in chain]) + translation
    landmarks = vertices[arrays["landmark_vertex_ids"]]
    # An average of vertices: a translation moves it only as far as its weights sum to 1, and SMPL adds it afterwards.
    extra = np.asarray(arrays["J_regressor_extra"], np.float64) @ (vertices - translation) + translation
    return vertices, np.concatenate([posed_joints, landmarks, extra])
