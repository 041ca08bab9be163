"""Every method's published output becomes tracks with the poses that were put in."""

import pickle

import joblib
import numpy as np
import pytest

from experiments import poses
from experiments.data.dataset import DatasetError
from experiments.poses import formats, generic
from tests.experiments import pose_files
from tests.experiments.pose_files import some_pose, turn

BOX = [100.0, 50, 300, 450]


def refuse(path, *words):
    with pytest.raises(DatasetError) as caught:
        poses.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    for word in words:
        assert word in message


def only(path):
    (track,) = poses.read(path)
    return track


class TestVibe:
    def test_people_boxes_and_joints(self, tmp_path):
        (pose, _), (other, _) = some_pose(0, 5), some_pose(1, 3)
        joints = np.random.default_rng(2).uniform(0, 500, (5, 25, 2))
        path = tmp_path / "vibe_output.pkl"
        pose_files.vibe(path, {1: (pose, range(5), joints, [BOX] * 5), 2: (other, [2, 3, 7])})
        first, second = poses.read(path)
        assert (first.name, second.name, first.method) == ("person 1", "person 2", "VIBE")
        np.testing.assert_array_equal(first.frames, range(5))
        np.testing.assert_array_equal(second.frames, [2, 3, 7])
        np.testing.assert_allclose(first.pose, pose, atol=1e-6)
        np.testing.assert_allclose(first.joints_2d, joints, rtol=1e-6)
        np.testing.assert_allclose(first.boxes, [BOX] * 5)
        assert second.joints_2d is None
        assert first.betas.shape == (5, 10)
        assert poses.read(tmp_path)[0].name == "person 1"

    def test_boxes_are_centre_and_size_in_the_file(self, tmp_path):
        person = pose_files.vibe_person(np.zeros((1, 72)), [0])
        person["bboxes"] = np.array([[100.0, 200, 40, 60]])
        joblib.dump({1: person}, tmp_path / "vibe_output.pkl")
        np.testing.assert_array_equal(only(tmp_path / "vibe_output.pkl").boxes, [[80, 170, 120, 230]])

    def test_joints_of_the_tracker_are_not_body_25(self, tmp_path):
        person = pose_files.vibe_person(np.zeros((2, 72)), range(2))
        joblib.dump({1: {**person, "joints2d": np.ones((2, 21, 3))}}, tmp_path / "a.pkl")
        assert only(tmp_path / "a.pkl").joints_2d is None
        joblib.dump({1: {**person, "joints2d": np.ones((2, 49, 3))}}, tmp_path / "a.pkl")
        np.testing.assert_array_equal(only(tmp_path / "a.pkl").joints_2d, np.ones((2, 25, 2)))

    def test_one_person_alone(self, tmp_path):
        joblib.dump(pose_files.vibe_person(np.zeros((2, 72)), range(2)), tmp_path / "a.pkl")
        assert only(tmp_path / "a.pkl").method == "VIBE"

    def test_an_ordinary_pickle_of_it(self, tmp_path):
        pose, _ = some_pose(0, 4)
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({1: pose_files.vibe_person(pose, range(4))}))
        np.testing.assert_allclose(only(tmp_path / "a.pkl").pose, pose, atol=1e-6)

    def test_frames_out_of_order_and_without_numbers(self, tmp_path):
        pose, _ = some_pose(0, 4)
        broken = pose.copy()
        broken[2, 5] = np.nan
        pose_files.vibe(tmp_path / "a.pkl", {1: (broken, [9, 3, 4, 0], None, [BOX] * 4)})
        track = only(tmp_path / "a.pkl")
        np.testing.assert_array_equal(track.frames, [0, 3, 9])
        np.testing.assert_allclose(track.pose, pose[[3, 1, 0]], atol=1e-6)
        assert track.boxes.shape == (3, 4)


def test_pare(tmp_path):
    pose, matrices = some_pose(3, 4)
    joints = np.random.default_rng(2).uniform(0, 500, (4, 25, 2))
    track = only(pose_files.pare(tmp_path / "pare_output.pkl", matrices, range(4), joints))
    assert (track.method, track.name) == ("PARE", "person 7")
    np.testing.assert_allclose(track.pose, pose, atol=1e-5)
    np.testing.assert_allclose(track.joints_2d, joints, rtol=1e-6)


def test_4d_humans(tmp_path):
    pose, matrices = some_pose(4, 6)
    seen = [(frame, 3, matrices[frame], BOX, 0) for frame in (0, 1, 4, 5)]
    # Not detected in frame 2: the tracker repeats what it had. Another person in frame 4.
    seen += [(2, 3, matrices[1], BOX, 1), (4, 8, matrices[2], [0, 0, 10, 10], 0)]
    first, second = poses.read(pose_files.phalp(tmp_path / "demo_clip.pkl", 6, seen))
    assert (first.name, first.method) == ("person 3", "4D-Humans")
    np.testing.assert_array_equal(first.frames, [0, 1, 4, 5])
    np.testing.assert_allclose(first.pose, pose[[0, 1, 4, 5]], atol=1e-5)
    np.testing.assert_allclose(first.boxes, [BOX] * 4)
    np.testing.assert_array_equal(second.frames, [4])
    np.testing.assert_allclose(second.pose, pose[2:3], atol=1e-5)


def test_wham_takes_the_pose_in_the_camera(tmp_path):
    pose, _ = some_pose(5, 4)
    # WHAM's numbers of people are NumPy's.
    person = {np.int64(0): (pose, [1, 2, 3, 6], np.full((4, 3), [0.1, 1.0, 5.0]))}
    track = only(pose_files.wham(tmp_path / "wham_output.pkl", person))
    assert (track.method, track.name) == ("WHAM", "person 0")
    np.testing.assert_array_equal(track.frames, [1, 2, 3, 6])
    np.testing.assert_allclose(track.pose, pose, atol=1e-6)
    np.testing.assert_allclose(track.pelvis, np.full((4, 3), [0.098, 0.777, 5.028]), atol=1e-6)
    assert track.camera is None


def test_gvhmr_takes_the_pose_in_the_camera(tmp_path):
    pose, _ = some_pose(6, 5)
    intrinsics = np.array([[1000.0, 0, 320], [0, 1000, 240], [0, 0, 1]])
    trans = np.full((5, 3), [0.0, 0.5, 4.0])
    body = pose[:, 1:22].reshape(5, 63)
    track = only(pose_files.gvhmr(tmp_path / "hmr4d_results.pt", pose[:, 0], body, trans, intrinsics))
    assert (track.method, track.num_frames, track.camera) == ("GVHMR", 5, (1000, 320, 240))
    np.testing.assert_allclose(track.pose[:, :22], pose[:, :22], atol=1e-6)
    np.testing.assert_array_equal(track.pose[:, 22:], 0)
    np.testing.assert_allclose(track.pelvis[0], [0.003, 0.149, 4.012], atol=1e-6)


def test_tram_is_a_folder_of_people(tmp_path):
    pose, matrices = some_pose(7, 4)
    folder = tmp_path / "clip" / "hps"
    folder.mkdir(parents=True)
    pose_files.tram(folder / "hps_track_0.npy", matrices, [0, 1, 2, 3], np.zeros((4, 3)))
    pose_files.tram(folder / "hps_track_1.npy", matrices[:2], [5, 6], np.zeros((2, 3)))
    for path in (tmp_path / "clip", folder):
        first, second = poses.read(path)
        assert first.method == "TRAM"
        np.testing.assert_allclose(first.pose, pose, atol=1e-5)
        np.testing.assert_array_equal(second.frames, [5, 6])
        assert first.pelvis is None
    np.save(tmp_path / "clip" / "camera.npy", {"img_focal": 900.0, "img_center": np.array([320.0, 240])})
    first, _ = poses.read(tmp_path / "clip")
    assert first.camera == (900, 320, 240)
    np.testing.assert_allclose(first.pelvis, np.full((4, 3), [-0.002, -0.223, 0.028]), atol=1e-6)
    np.save(tmp_path / "clip" / "camera.npy", {"focal": 900.0})
    refuse(folder / "hps_track_0.npy", "img_focal")


class TestGeneric:
    def save(self, tmp_path, **arrays):
        np.savez(tmp_path / "file.npz", **arrays)
        return tmp_path / "file.npz"

    def test_shapes(self, tmp_path):
        pose, matrices = some_pose(8, 3)
        hands_rest = np.concatenate([pose[:, :22], np.zeros((3, 2, 3))], 1)
        more = np.concatenate([pose[:, :22], np.ones((3, 33, 3))], 1)
        for given, expected in [
            (pose, pose),
            (pose.reshape(3, 72), pose),
            (matrices, pose),
            (pose[:, :22].reshape(3, 66), hands_rest),
            (pose[:, :22], hands_rest),
            (matrices[:, :22], hands_rest),
            (more[:, :52].reshape(3, 156), hands_rest),
            (more.reshape(3, 165), hands_rest),
        ]:
            for key in generic.POSE_KEYS:
                track = only(self.save(tmp_path, **{key: given}))
                np.testing.assert_allclose(track.pose, expected, atol=1e-6)
                np.testing.assert_array_equal(track.frames, range(3))
                assert track.num_frames == 3

    def test_root_and_body(self, tmp_path):
        pose, matrices = some_pose(9, 3)
        hands_rest = np.concatenate([pose[:, :22], np.zeros((3, 2, 3))], 1)
        for root, body, expected in [
            (pose[:, 0], pose[:, 1:].reshape(3, 69), pose),
            (pose[:, :1], pose[:, 1:], pose),
            (pose[:, 0], pose[:, 1:22].reshape(3, 63), hands_rest),
            (matrices[:, :1], matrices[:, 1:], pose),
            (matrices[:, 0], matrices[:, 1:22], hands_rest),
        ]:
            track = only(self.save(tmp_path, global_orient=root, body_pose=body))
            np.testing.assert_allclose(track.pose, expected, atol=1e-6)

    def test_a_person_who_stands_facing_the_camera(self, tmp_path):
        """Half a turn about x: up in the body (y) is up in the image (-y), ahead (z) is towards the camera (-z)."""
        rotations = np.tile(np.eye(3), (1, 24, 1, 1))
        rotations[:, 0] = turn(0, np.pi)
        np.testing.assert_allclose(rotations[0, 0] @ [0, 1, 0], [0, -1, 0], atol=1e-12)
        track = only(self.save(tmp_path, poses=rotations))
        np.testing.assert_allclose(np.abs(track.pose[0, 0]), [np.pi, 0, 0], atol=1e-6)

    def test_what_may_be_beside(self, tmp_path):
        pose, _ = some_pose(10, 4)
        pose[3, 0] = np.nan
        joints = np.ones((4, 25, 3)) * [5, 6, 1]
        joints[0, 7, 2] = 0
        path = self.save(
            tmp_path, poses=pose, mask=[1, 0, 1, 1], frame_ids=[4, 5, 8, 9], betas=np.arange(10), method="mine",
            joints_2d=joints, bbox=np.tile(BOX, (4, 1)),
        )  # fmt: skip
        track = only(path)
        assert (track.method, track.num_frames) == ("mine", None)
        np.testing.assert_array_equal(track.frames, [4, 8])
        np.testing.assert_allclose(track.pose, pose[[0, 2]])
        np.testing.assert_array_equal(track.betas, np.tile(np.arange(10), (2, 1)))
        np.testing.assert_array_equal(track.boxes, [BOX] * 2)
        assert np.isnan(track.joints_2d[0, 7]).all()
        np.testing.assert_array_equal(track.joints_2d[1, 7], [5, 6])

    def test_matrices_that_are_nearly_rotations_are_made_so(self, tmp_path):
        _, matrices = some_pose(11, 2)
        exact = only(self.save(tmp_path, poses=matrices)).pose
        np.testing.assert_allclose(only(self.save(tmp_path, poses=1.01 * matrices)).pose, exact, atol=1e-6)
        refuse(self.save(tmp_path, poses=1.2 * matrices), "no rotations", "0.44")
        flipped = matrices.copy()
        flipped[0, 3] = np.diag([1, 1, -1])
        refuse(self.save(tmp_path, poses=flipped), "no rotations", "determinants go down to -1")
        matrices[1, 4, 0, 0] = np.nan
        np.testing.assert_array_equal(only(self.save(tmp_path, poses=matrices)).frames, [0])

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"poses": np.zeros((3, 71))}, ["(3, 71)", "24, 22, 52 or 55"]),
            ({"poses": np.zeros((3, 24, 6))}, ["(3, 24, 6)"]),
            ({"poses": np.zeros(72)}, ["(72,)"]),
            ({"poses": np.array(["a"])}, ["not an array of numbers"]),
            ({"poses": np.full((3, 72), 90.0)}, ["degrees"]),
            ({"poses": np.full((3, 72), np.nan)}, ["nobody"]),
            ({"poses": np.zeros((3, 72)), "mask": np.zeros(3)}, ["nobody"]),
            ({"poses": np.zeros((3, 72)), "mask": np.zeros(4)}, ["mask", "(4,)"]),
            ({"poses": np.zeros((3, 72)), "frame_ids": [0, 1]}, ["3 poses", "(2,)"]),
            ({"poses": np.zeros((3, 72)), "frame_ids": [0, 1, 1]}, ["frame 1 twice"]),
            ({"poses": np.zeros((3, 72)), "frame_ids": [0, 1, 1.5]}, ["whole"]),
            ({"poses": np.zeros((3, 72)), "bbox": np.zeros((2, 4))}, ["boxes", "(2, 4)"]),
            ({"poses": np.zeros((3, 72)), "joints_2d": np.zeros((3, 17, 2))}, ["(3, 17, 2)"]),
            ({"global_orient": np.zeros((3, 3)), "body_pose": np.zeros((2, 69))}, ["(3, 3)", "(2, 69)"]),
            ({"global_orient": np.zeros((3, 3, 3)), "body_pose": np.zeros((3, 69))}, ["(3, 3, 3)", "(3, 69)"]),
            ({"poses": np.zeros((3, 156)), "mocap_framerate": 30}, ["motion capture", "simulate"]),
            ({"keypoints": np.zeros((3, 25, 2))}, ["no output of VIBE", "found keypoints"]),
        ],
    )
    def test_what_cannot_be_used(self, tmp_path, arrays, words):
        refuse(self.save(tmp_path, **arrays), *words)

    def test_the_documented_keys_are_the_read_ones(self):
        for key in ("poses", "pose", "global_orient", "body_pose", "mask", "frame_ids", "betas", "joints_2d", "bbox"):
            assert f"`{key}`" in generic.__doc__


class TestBroken:
    def test_nobody_and_nothing(self, tmp_path):
        joblib.dump({}, tmp_path / "a.pkl")
        refuse(tmp_path / "a.pkl", "nobody")
        refuse(pose_files.phalp(tmp_path / "b.pkl", 3, []), "nobody")
        refuse(tmp_path / "absent.pkl", "no such file")
        joblib.dump([1, 2], tmp_path / "c.pkl")
        refuse(tmp_path / "c.pkl", "holds a list")
        (tmp_path / "folder").mkdir()
        refuse(tmp_path / "folder", "0 outputs", "vibe_output.pkl")

    def test_a_folder_of_two_methods(self, tmp_path):
        pose_files.vibe(tmp_path / "vibe_output.pkl", {1: (np.zeros((2, 72)), range(2))})
        pose_files.wham(tmp_path / "wham_output.pkl", {1: (np.zeros((2, 72)), range(2), np.zeros((2, 3)))})
        refuse(tmp_path, "2 outputs")

    def test_truncated_and_hostile(self, tmp_path):
        path = pose_files.vibe(tmp_path / "vibe_output.pkl", {1: (np.zeros((9, 72)), range(9))})
        path.write_bytes(path.read_bytes()[:900])
        refuse(path, "truncated")
        path.write_bytes(b"\x80\x04cos\nsystem\n.")
        refuse(path, "os.system", "could run code")

    def test_arrays_that_do_not_fit(self, tmp_path):
        person = pose_files.vibe_person(np.zeros((3, 72)), range(3))
        for key, value, words in [
            ("frame_ids", np.arange(2), ["person 1 has 3 poses", "(2,)"]),
            ("bboxes", np.zeros((3, 5)), ["(3, 5)"]),
            ("bboxes", np.zeros((2, 4)), ["boxes of shape (2, 4)"]),
            ("pose", np.zeros((3, 70)), ["pose of person 1", "(3, 70)"]),
            ("pose", "none", ["not an array"]),
        ]:
            joblib.dump({1: {**person, key: value}}, tmp_path / "a.pkl")
            refuse(tmp_path / "a.pkl", *words)
        del person["pose"]
        joblib.dump({1: person}, tmp_path / "a.pkl")
        refuse(tmp_path / "a.pkl", "person 1 has no pose")

    def test_4d_humans_with_parts_missing(self, tmp_path):
        _, matrices = some_pose(4, 1)
        path = pose_files.phalp(tmp_path / "demo_clip.pkl", 1, [(0, 3, matrices[0], BOX, 0)])
        contents = joblib.load(path)
        (picture,) = contents.values()
        smpl = picture["smpl"]
        picture["smpl"] = []
        joblib.dump(contents, path)
        refuse(path, "1 tid and 0 smpl")
        del smpl[0]["body_pose"]
        picture["smpl"] = smpl
        joblib.dump(contents, path)
        refuse(path, "no body_pose")

    def test_gvhmr_and_tram_with_parts_missing(self):
        with pytest.raises(ValueError, match="no body_pose"):
            formats.tracks_of({"smpl_params_incam": {"global_orient": np.zeros((2, 3))}})
        with pytest.raises(ValueError, match="no frame"):
            formats.tracks_of({"pred_rotmat": np.tile(np.eye(3), (2, 24, 1, 1))})
