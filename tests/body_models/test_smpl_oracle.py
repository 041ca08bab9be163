"""SMPL against the `smplx` package, from the same synthetic file of SMPL's size and format."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from body_models import loaders, smpl
from tests.body_models import smpl_files
from tests.body_models.numpy_smpl import rotation

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="torch is not installed (requirements-oracle.txt)")
smplx = pytest.importorskip("smplx", reason="smplx is not installed (requirements-oracle.txt)")

BATCH = 8
TOLERANCE = 1e-5  # Metres.


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    arrays = smpl_files.without(smpl_files.make_arrays(6890), "landmark_vertex_ids")
    folder = tmp_path_factory.mktemp("smpl")
    np.save(folder / "J_regressor_extra.npy", arrays.pop("J_regressor_extra"))
    # smplx unpickles what the file asks for, so this one has plain arrays.
    (folder / "SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps(arrays, 2))
    return folder / "SMPL_NEUTRAL.pkl"


@pytest.fixture(scope="module")
def poses():
    rng = np.random.default_rng(0)
    angles = rng.normal(size=(BATCH, 24, 3)) * np.linspace(0, 1.5, BATCH)[:, None, None]
    rotations = np.array([[rotation(r) for r in pose] for pose in angles])
    return rotations, 2 * rng.normal(size=(BATCH, 10)), rng.normal(size=(BATCH, 3))


def oracle(file, rotations, betas, translation, dtype):
    """Vertices (B, V, 3) and smplx's 45 joints (B, 45, 3); the first 24 + 21 of our list."""
    model = smplx.SMPL(str(file), dtype=dtype, batch_size=BATCH)
    rotations, betas, translation = (torch.tensor(x, dtype=dtype) for x in (rotations, betas, translation))
    out = model(
        global_orient=rotations[:, :1], body_pose=rotations[:, 1:], betas=betas, transl=translation, pose2rot=False
    )
    return out.vertices.detach().numpy(), out.joints.detach().numpy()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_vertices_and_joints(file, poses, precision):
    body = loaders.load_body(file)
    args = [jnp.asarray(x, jnp.float32) for x in poses]
    batched = jax.jit(
        jax.vmap(lambda *p: (smpl.vertices(body, *p), smpl.all_joints(body, *p), smpl.keypoints(body, *p)))
    )
    vertices, joints, keypoints = batched(*args)
    expected_vertices, expected_joints = oracle(file, *poses, getattr(torch, precision))
    extra = np.einsum("ev,bvx->bex", np.load(file.parent / "J_regressor_extra.npy"), expected_vertices)
    expected_joints = np.concatenate([expected_joints, extra], 1)
    assert np.abs(vertices - expected_vertices).max() < TOLERANCE
    assert np.abs(joints - expected_joints).max() < TOLERANCE
    assert np.abs(keypoints - expected_joints[:, jn.BODY_25]).max() < TOLERANCE


def test_landmark_vertices_are_those_of_smplx():
    from smplx.vertex_ids import vertex_ids

    ids = vertex_ids["smplh"]
    face = [ids[name] for name in ("nose", "reye", "leye", "rear", "lear")]
    feet = [ids[side + name] for side in "LR" for name in ("BigToe", "SmallToe", "Heel")]
    hands = [ids[side + name] for side in "lr" for name in ("thumb", "index", "middle", "ring", "pinky")]
    np.testing.assert_array_equal(jn.SMPL_LANDMARK_VERTICES, face + feet + hands)
