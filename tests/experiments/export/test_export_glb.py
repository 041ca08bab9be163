"""GLB: another reader poses the same joints and mesh, the Khronos validator finds nothing, and what is lost is small."""

import dataclasses
import json
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from export_motions import motion
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import loaders, smpl
from experiments.export import animation, fbx_ready, glb, rig
from experiments.loaders import synthetic
from nemo_jax import rotations

pygltflib = pytest.importorskip("pygltflib", reason="pygltflib is not installed")
VALIDATE = """
const fs = require("fs");
require("gltf-validator").validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
  .then(report => console.log(JSON.stringify(report.issues)));
"""


@pytest.fixture(scope="module")
def open_body():
    return loaders.load_body()


class File:
    """A GLB, its accessors as float64."""

    def __init__(self, path):
        self.gltf = pygltflib.GLTF2().load(str(path))
        self.blob = self.gltf.binary_blob()

    def array(self, accessor):
        entry = self.gltf.accessors[accessor]
        view = self.gltf.bufferViews[entry.bufferView]
        kind = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[entry.componentType]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry.type]
        values = np.frombuffer(self.blob, kind, entry.count * width, view.byteOffset)
        return values.reshape(entry.count, width).astype(float)

    @property
    def parents(self):
        parents = [-1] * len(self.gltf.nodes)
        for number, node in enumerate(self.gltf.nodes):
            for child in node.children or []:
                parents[child] = number
        return parents

    def posed(self):
        """Seconds (T,), joints (T, J, 3) and mesh (T, V, 3), as the glTF specification says to pose a skin."""
        gltf, (animation,) = self.gltf, self.gltf.animations
        nodes = len(gltf.nodes)
        times = self.array(animation.samplers[0].input)[:, 0]
        turns = np.tile(np.eye(3), (len(times), nodes, 1, 1))
        offsets = np.tile([node.translation or [0, 0, 0] for node in gltf.nodes], (len(times), 1, 1))
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            assert sampler.interpolation == "LINEAR"
            np.testing.assert_array_equal(self.array(sampler.input)[:, 0], times)
            values = self.array(sampler.output)
            if channel.target.path == "rotation":
                turns[:, channel.target.node] = Rotation.from_quat(values).as_matrix()
            else:
                assert channel.target.path == "translation"
                offsets[:, channel.target.node] = values
        local = np.tile(np.eye(4), (len(times), nodes, 1, 1))
        local[..., :3, :3], local[..., :3, 3] = turns, offsets
        world = [None] * nodes
        for number in _parents_first(self.parents):
            parent = self.parents[number]
            world[number] = local[:, number] if parent < 0 else world[parent] @ local[:, number]
        skin, (primitive,) = gltf.skins[0], gltf.meshes[0].primitives
        inverse = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = np.stack([world[joint] @ inverse[i] for i, joint in enumerate(skin.joints)], 1)
        attributes = primitive.attributes
        points = np.pad(self.array(attributes.POSITION), [(0, 0), (0, 1)], constant_values=1)
        influences, weights = self.array(attributes.JOINTS_0).astype(int), self.array(attributes.WEIGHTS_0)
        mesh = sum(
            weights[None, :, k, None] * (matrices[:, influences[:, k]] @ points[..., None])[..., :3, 0]
            for k in range(4)
        )
        joints = np.stack([world[joint][:, :3, 3] for joint in skin.joints], 1)
        return times, joints, mesh


def _parents_first(parents):
    order = []
    while len(order) < len(parents):
        order += [n for n, parent in enumerate(parents) if n not in order and (parent < 0 or parent in order)]
    return order


def true_mesh(clip, correctives):
    body = clip.body
    if not correctives:
        mesh = dataclasses.replace(body.mesh, directions=body.mesh.directions.at[body.num_betas :].set(0))
        body = dataclasses.replace(body, mesh=mesh)
    motions = zip(clip.rotations, clip.translation, strict=True)
    f32 = lambda array: jnp.asarray(array, jnp.float32)
    return np.stack([smpl.vertices(body, f32(r), f32(clip.betas), f32(t)) for r, t in motions])


def test_another_reader_poses_the_same_joints_and_mesh(open_body, tmp_path):
    clip = motion(open_body, frames=3)
    glb.write(clip, tmp_path / "kick.glb")
    times, joints, mesh = File(tmp_path / "kick.glb").posed()
    np.testing.assert_allclose(times, [0, 1 / 30, 2 / 30], atol=1e-7)
    assert np.abs(joints - clip.joints).max() < 1e-5
    assert np.abs(mesh - true_mesh(clip, correctives=False)).max() < 1e-5


def test_what_is_lost_without_pose_correctives(open_body):
    """docs/export.md states it, of the synthetic pitch."""
    truth = synthetic.load(open_body, num_instances=1).truth
    frames = slice(0, None, 12)
    turned = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(truth.pose[0, frames])))
    pitch = animation.posed(
        "p", "p", 30.0, np.zeros(len(turned)), turned, truth.translation[0, frames], truth.betas[0], open_body
    )
    lost = np.linalg.norm(true_mesh(pitch, correctives=True) - true_mesh(pitch, correctives=False), axis=-1)
    assert 0.0005 < lost.mean() < 0.0015
    assert 0.010 < lost.max() < 0.030


def test_four_joints_are_all_that_move_a_vertex_of_the_open_body(open_body):
    weights = np.asarray(open_body.mesh.rotation_weights, float)
    influences, kept = rig.strongest(weights)
    dense = np.zeros_like(weights)
    np.add.at(dense, (np.arange(len(weights))[:, None], influences), kept)
    np.testing.assert_allclose(dense, weights, atol=1e-6)
    assert rig.dropped(weights) < 1e-6


def test_the_strongest_four_joints():
    weights = np.array([[0.1, 0.3, 0.25, 0.05, 0.3], [0, 0, 0, 1.0, 0]])
    influences, kept = rig.strongest(weights)
    assert influences.tolist() == [[1, 4, 2, 0], [3, 0, 0, 0]]
    np.testing.assert_allclose(kept, [[0.3 / 0.95, 0.3 / 0.95, 0.25 / 0.95, 0.1 / 0.95], [1, 0, 0, 0]])
    assert rig.dropped(weights) == pytest.approx(0.05)


def test_names_tree_and_clock(tiny_body, tmp_path):
    clip = motion(tiny_body, fps=50.0)
    glb.write(clip, tmp_path / "kick.glb")
    file = File(tmp_path / "kick.glb")
    joints = file.gltf.skins[0].joints
    assert [file.gltf.nodes[joint].name for joint in joints] == jn.SMPL_JOINTS
    assert [file.parents[joint] for joint in joints] == jn.PARENTS.tolist()
    assert file.gltf.animations[0].name == file.gltf.meshes[0].name == "kick 1"
    assert file.posed()[0][-1] == pytest.approx(8 / 50)
    # At rest it stands on the ground.
    assert file.array(file.gltf.meshes[0].primitives[0].attributes.POSITION)[:, 1].min() == 0


def test_normals_point_outwards_and_key_frames_go_the_short_way(open_body, tmp_path):
    clip = motion(open_body, frames=12, size=0.2)
    glb.write(clip, tmp_path / "kick.glb")
    file = File(tmp_path / "kick.glb")
    attributes = file.gltf.meshes[0].primitives[0].attributes
    normals = file.array(attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    nose = int(np.asarray(file.array(attributes.POSITION))[:, 2].argmax())
    top = int(file.array(attributes.POSITION)[:, 1].argmax())
    assert normals[nose, 2] > 0.7
    assert normals[top, 1] > 0.7
    turns = glb.quaternions(clip.rotations)
    assert ((turns[1:] * turns[:-1]).sum(-1) > 0).all()
    # The root went all the way round, so its sign has to turn somewhere.
    assert turns[0, 0] @ turns[-1, 0] < 0


def test_a_sphere_has_the_normals_of_a_sphere():
    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [9, 9, 9]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    normals = rig.vertex_normals(corners, faces)
    np.testing.assert_allclose(normals[:6], corners[:6], atol=1e-12)
    assert normals[6].tolist() == [0, 1, 0]


def test_fbx_ready_has_mixamos_bones_a_root_and_a_t_pose_first(tiny_body, tmp_path):
    clip = motion(tiny_body, frames=4)
    fbx_ready.write(clip, tmp_path / "kick.glb")
    file = File(tmp_path / "kick.glb")
    names = [file.gltf.nodes[joint].name for joint in file.gltf.skins[0].joints]
    assert names[0] == "root"
    assert names[1:] == list(fbx_ready.BONE_NAMES)
    side = ["Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase", "HandMiddle1"]
    centre = ["Hips", "Spine", "Spine1", "Spine2", "Neck", "Head"]
    expected = centre + [s + part for s in ("Left", "Right") for part in side]
    assert sorted(names[1:]) == sorted(f"mixamorig:{name}" for name in expected)
    parent = {names[i]: names[p] if p >= 0 else None for i, p in enumerate(file.parents[: len(names)])}
    assert parent["root"] is None
    assert parent["mixamorig:Hips"] == "root"
    assert parent["mixamorig:LeftForeArm"] == "mixamorig:LeftArm"
    assert parent["mixamorig:LeftArm"] == "mixamorig:LeftShoulder"
    assert parent["mixamorig:RightToeBase"] == "mixamorig:RightFoot"
    times, joints, mesh = file.posed()
    np.testing.assert_allclose(times, np.arange(5) / 30, atol=1e-7)
    np.testing.assert_allclose(joints[:, 0], 0, atol=1e-9)
    assert np.abs(joints[1:, 1:] - clip.joints).max() < 1e-5
    # The T-pose stands on the ground, its arms level.
    assert mesh[0, :, 1].min() == pytest.approx(0, abs=1e-6)
    arms = [names.index(f"mixamorig:{side}{part}") for side in ("Left", "Right") for part in ("Arm", "ForeArm", "Hand")]
    assert np.ptp(joints[0, arms, 1]) < 0.05
    np.testing.assert_allclose(mesh[0], file.array(file.gltf.meshes[0].primitives[0].attributes.POSITION), atol=1e-6)


@pytest.mark.parametrize("write", [glb.write, fbx_ready.write], ids=["glb", "fbx-ready"])
@pytest.mark.parametrize("frames", [1, 7])
def test_the_khronos_validator_finds_nothing(open_body, tmp_path, write, frames):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if subprocess.run([node, "-e", "require('gltf-validator')"], capture_output=True, check=False).returncode:
        pytest.skip("npm's gltf-validator is not found; npm install it, or name its node_modules in NODE_PATH")
    write(motion(open_body, frames=frames), tmp_path / "kick.glb")
    done = subprocess.run(
        [node, "-e", VALIDATE, str(tmp_path / "kick.glb")], capture_output=True, text=True, check=True, timeout=120
    )
    issues = json.loads(done.stdout)
    assert issues["messages"] == []
    assert issues["numErrors"] == issues["numWarnings"] == 0
