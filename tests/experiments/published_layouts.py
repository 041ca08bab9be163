"""Writes simulated clips in the published layouts: the files that their authors' tools leave, name for name."""

import dataclasses
import json

import joblib
import numpy as np
import scipy.io
from PIL import Image
from scipy.spatial.transform import Rotation

from body_models import smpl
from experiments.data.camera import Camera
from experiments.loaders import penn_action, synthetic
from experiments.simulation import observations
from tests.experiments import prior_formats

WIDTH, HEIGHT = 270, 480
# The published renderer's principal point: height and width of the frames as x and y.
CENTRE = (HEIGHT, WIDTH)
MODEL = observations.ObservationModel(image_size=(WIDTH, HEIGHT), noise_px=1.0, noise_motion=0.0, missing_fraction=0.0)
BYSTANDER = np.array([400.0, 0.0])  # pixels beside the person


@dataclasses.dataclass(frozen=True)
class Clip:
    """name, such as `baseball_pitch.3`. The motion is y up; joints (F, 25, 3) in its world, metres."""

    name: str
    observed: observations.Instance
    motion: observations.Motion
    camera: Camera
    joints: np.ndarray

    @property
    def true_pixels(self):
        return self.camera.project(self.joints)


def assert_observed(dataset, n, clip):
    """Instance n of a dataset is what was observed of a clip. Returns its number of frames."""
    frames = len(clip.joints)
    assert dataset.clips.frame_mask[n].sum() == frames
    np.testing.assert_allclose(dataset.clips.keypoints[n, :frames], clip.observed.keypoints, atol=1e-3)
    np.testing.assert_allclose(dataset.clips.confidence[n, :frames], clip.observed.confidence, atol=1e-6)
    np.testing.assert_array_equal(dataset.clips.init_mask[n, :frames], clip.observed.init_mask)
    np.testing.assert_allclose(dataset.clips.init_pose[n, :frames], clip.observed.init_pose, atol=1e-5)
    return frames


def clips(body, action="baseball_pitch", numbers=(0, 1, 10), seed=0):
    """Short pitches, all seen by one camera; hands at rest, mean shape."""
    camera = look_at([-0.2, 0.75, 0.45], distance=6.0, focal=600.0)
    style = synthetic.StyleModel(frames_range=(8, 12))
    made = []
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        drawn = synthetic.draw_pitch(rng, body, style)
        pose = drawn.pose.copy()
        pose[:, 22:] = 0
        motion = dataclasses.replace(drawn, pose=pose, betas=np.zeros(10))
        joints = observations.body_keypoints(body, motion.pose, motion.betas) + motion.translation[:, None]
        keypoints, confidence = observations.detect(rng, camera.project(joints), MODEL)
        init_pose, init_mask = observations.estimate_pose(rng, motion.pose, camera, MODEL)
        init_mask[2] = 0  # a frame that VIBE does not have
        init_pose[init_mask == 0] = 0
        observed = observations.Instance(keypoints, confidence, (WIDTH, HEIGHT), init_pose, init_mask)
        made.append(Clip(f"{action}.{number}", observed, motion, camera, joints))
    return made


def look_at(target, distance, focal):
    """A level camera that has the target in the middle of the frames, far from its principal point."""
    across = np.arctan((WIDTH / 2 - CENTRE[0]) / focal)
    down = np.arctan((HEIGHT / 2 - CENTRE[1]) / focal * np.cos(across))
    to_target = Rotation.from_euler("YX", [across, -down]).as_matrix() @ [0.0, 0.0, 1.0]
    world_from_camera = np.diag([-1.0, -1.0, 1.0])  # looks along z; x right is the world's -x
    position = np.array(target) - distance * world_from_camera @ to_target
    return Camera(world_from_camera, position, focal, (2 * CENTRE[0], 2 * CENTRE[1]))


def pictures(folder, count, suffix="png"):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"{number:06d}.{suffix}")


def openpose(folder, observed):
    """A JSON file for every frame, in OpenPose's own form; a frame without the person has no people."""
    folder.mkdir(parents=True)
    numbers = np.concatenate([observed.keypoints, observed.confidence[..., None]], -1)
    for frame, own in enumerate(numbers):
        person = {"person_id": [-1], "pose_keypoints_2d": own.ravel().tolist(), "face_keypoints_2d": []}
        document = {"version": 1.3, "people": [person] if own[:, 2].any() else []}
        (folder / f"{frame + 1:06d}_keypoints.json").write_text(json.dumps(document))


def vibe(file, clip, bystander=True):
    """VIBE's dict of people, each with the frames in which it is seen; before the person, somebody who stands beside."""
    everybody = {}
    if bystander:
        everybody[1] = vibe_person(clip.observed.init_pose[:6] * 0, clip.true_pixels[:6] + BYSTANDER, np.arange(6))
    frames = np.flatnonzero(clip.observed.init_mask)
    everybody[2] = vibe_person(clip.observed.init_pose[frames], clip.true_pixels[frames], frames)
    file.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(everybody, file)


def vibe_person(pose, pixels, frames):
    count = len(frames)
    low, high = pixels.min(1), pixels.max(1)
    joints = np.zeros((count, 49, 2), np.float32)
    joints[:, :25] = pixels
    return {
        "pred_cam": np.zeros((count, 3), np.float32),
        "orig_cam": np.zeros((count, 4), np.float32),
        "verts": np.zeros((count, 5, 3), np.float32),
        "pose": pose.reshape(count, 72).astype(np.float32),
        "betas": np.zeros((count, 10), np.float32),
        "joints3d": np.zeros((count, 49, 3), np.float32),
        "joints2d": None,
        "joints2d_img_coord": joints,
        "bboxes": np.concatenate([(low + high) / 2, high - low], 1),
        "frame_ids": frames,
    }


def nemo_mocap(data, body, made, to_y_up=None):
    """The tree under `data`. to_y_up (3, 3): from the motion capture's world to one with y up; None = its z is up."""
    to_y_up = Rotation.from_euler("x", -90, degrees=True).as_matrix().round() if to_y_up is None else to_y_up
    (data / "mocap").mkdir(parents=True)
    for clip in made:
        folder = data / "exps" / f"mymocap_{clip.name.rpartition('.')[0]}"
        count = len(clip.joints)
        pictures(folder / f"{clip.name}.mp4", count)
        openpose(folder / f"{clip.name}.mp4_openpose", clip.observed)
        vibe(folder / clip.name / "vibe_output.pkl", clip)
        truth_2d(folder / f"{clip.name}.mp4_gt_new", clip)
        joblib.dump(mocap(clip, body, to_y_up), data / "mocap" / f"{clip.name}.pkl")
    camera = made[0].camera
    rotation = camera.world_from_camera.T @ to_y_up
    translation = -camera.world_from_camera.T @ camera.position
    for name in ("IMG_6287", "IMG_6289"):
        (data / f"opt_cam_{name}.pt").write_bytes(torch_camera(rotation, translation, camera.focal))
    return data


def mocap(clip, body, to_y_up):
    """What `mocap/<name>.pkl` holds: 52 joints of SMPL-H, hands at the end."""
    motion = clip.motion
    pelvis = np.asarray(smpl.rest_joints(body, np.zeros(body.num_betas, np.float32)), float)[0]
    full = np.zeros((len(motion.pose), 156))
    full[:, :66] = motion.pose.reshape(-1, 72)[:, :66]
    full[:, :3] = (Rotation.from_matrix(to_y_up.T) * Rotation.from_rotvec(motion.pose[:, 0])).as_rotvec()
    full[:, 66:] = 0.3
    return {
        "fullpose": full,
        "trans": (motion.translation + pelvis) @ to_y_up - pelvis,
        "betas": np.linspace(-2, 2, 16),
        "gender": "male",
    }


def truth_2d(folder, clip):
    folder.mkdir(parents=True)
    for frame, pixels in enumerate(clip.true_pixels):
        joints = np.zeros((1, 49, 2), np.float32)
        joints[0, :25] = pixels
        joblib.dump(joints, folder / f"{frame + 1:06d}_keypoints.pkl")


def torch_camera(rotation, translation, focal):
    """Bytes of `torch.save((camera, focal))`: 9 numbers, translation and the first two columns of the rotation."""
    camera = np.concatenate([translation, rotation[:, :2].ravel()]).astype(np.float32)
    focal = np.float32(focal)
    tensors = (
        prior_formats.tensor(prior_formats.Storage("0", camera), 0, (9,), (1,)),
        prior_formats.tensor(prior_formats.Storage("1", focal), 0, (), ()),
    )
    return prior_formats.archive(tensors, {"0": camera, "1": focal})


def custom_video(folder, made):
    """`<name>.frames`, `<name>.op` and `<name>.vibe` for every clip."""
    for clip in made:
        pictures(folder / f"{clip.name}.frames", len(clip.joints))
        openpose(folder / f"{clip.name}.op", clip.observed)
        vibe(folder / f"{clip.name}.vibe" / "vibe_output.pkl", clip)
    return folder


def calibration(camera):
    """A camera file of OpenCap: world to camera, millimetres, image size as height and width."""
    across, down = np.array(camera.image_size) / 2
    rotation = camera.world_from_camera.T
    return {
        "distortion": np.zeros((1, 5)),
        "intrinsicMat": np.array([[camera.focal, 0, across], [0, camera.focal, down], [0, 0, 1.0]]),
        "imageSize": np.array([[HEIGHT], [WIDTH]]),
        "rotation": rotation,
        "translation": (-rotation @ camera.position * 1000)[:, None],
        "rotation_EulerAngles": np.zeros((3, 1)),
    }


def penn_label(clip, action="baseball_pitch"):
    """An annotated clip: the true pixels of Penn's joints, left and right exchanged."""
    pixels = np.nan_to_num(clip.true_pixels[:, list(penn_action.BODY_25_OF_PENN)])
    count = len(pixels)
    return {
        "x": pixels[..., 0],
        "y": pixels[..., 1],
        "visibility": np.ones(pixels.shape[:2], np.uint8),
        "dimensions": np.array([[HEIGHT, WIDTH, count]], np.uint16),
        "bbox": np.tile([10.0, 10.0, 200.0, 400.0], (count, 1)),
        "action": action,
        "pose": "front",
        "nframes": np.array([[count]], np.uint8),
    }


def penn(root, names, made, action="baseball_pitch"):
    """Labels, pictures, OpenPose's files and VIBE's."""
    (root / "labels").mkdir(parents=True)
    for name, clip in zip(names, made, strict=True):
        scipy.io.savemat(root / "labels" / f"{name}.mat", penn_label(clip, action))
        pictures(root / "frames" / name, len(clip.joints), "jpg")
        openpose(root / "openpose" / name, clip.observed)
        vibe(root / "vibe_results" / name / "vibe_output.pkl", clip)
    return root
