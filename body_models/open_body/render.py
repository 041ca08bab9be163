"""A small z-buffer renderer, to look at the open body while building it: NumPy in, an image out."""

import struct
import zlib

import numpy as np

from body_models.joints import SMPL_JOINTS
from body_models.open_body.correct import euler, skin_linearly


def render(vertices, faces, yaw=0.0, pitch=0.0, pixels_per_metre=260.0, size=(520, 520), centre=(0.0, -0.3, 0.0)):
    """Draws a mesh in orthographic projection with one light at the camera.

    Args:
        vertices: (V, 3) metres, y up, z towards the camera when yaw is 0.
        faces: (F, 3) triangles, counter-clockwise seen from outside.
        yaw: turn of the body about y, degrees; 90 shows its right side, -90 its left side.
        pitch: turn about x, degrees; 90 shows it from above.
        pixels_per_metre: scale.
        size: height and width of the image in pixels.
        centre: the point of the body at the middle of the image, metres.

    Returns:
        (H, W) float image in [0, 1]; back faces are drawn black, so that a hole or a flipped face shows.
    """
    height, width = size
    a, b = np.radians(yaw), np.radians(pitch)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    points = (np.asarray(vertices, float) - centre) @ turn.T @ tilt.T
    normals = np.zeros_like(points)
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for k in range(3):
        np.add.at(normals, faces[:, k], normal)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    x = width / 2 + points[:, 0] * pixels_per_metre
    y = height / 2 - points[:, 1] * pixels_per_metre
    image = np.ones((height, width))
    depth = np.full((height, width), -np.inf)
    for index, face in enumerate(faces):
        px, py = x[face], y[face]
        left, right = max(int(px.min()), 0), min(int(px.max()) + 2, width)
        low, high = max(int(py.min()), 0), min(int(py.max()) + 2, height)
        area = (px[1] - px[0]) * (py[2] - py[0]) - (px[2] - px[0]) * (py[1] - py[0])
        if left >= right or low >= high or abs(area) < 1e-12:
            continue
        gy, gx = np.mgrid[low:high, left:right] + 0.5
        w0 = ((px[1] - gx) * (py[2] - gy) - (px[2] - gx) * (py[1] - gy)) / area
        w1 = ((px[2] - gx) * (py[0] - gy) - (px[0] - gx) * (py[2] - gy)) / area
        w2 = 1 - w0 - w1
        z = w0 * points[face[0], 2] + w1 * points[face[1], 2] + w2 * points[face[2], 2]
        inside = (w0 >= 0) & (w1 >= 0) & (w2 >= 0) & (z > depth[low:high, left:right])
        if normal[index, 2] > 0:
            light = w0 * normals[face[0], 2] + w1 * normals[face[1], 2] + w2 * normals[face[2], 2]
            shade = 0.15 + 0.75 * np.clip(light, 0, 1)
        else:
            shade = np.zeros_like(z)
        image[low:high, left:right][inside] = shade[inside]
        depth[low:high, left:right][inside] = z[inside]
    return image


def write_png(path, image):
    """Writes a (H, W) image in [0, 1] as an 8-bit grey PNG."""
    grey = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def picture(body):
    """A sheet of an SMPL-format body's arrays: T-pose and bent limbs; the first four shape directions at -2 and 2."""
    faces, joints = body["f"], body["J_regressor"] @ body["v_template"]
    tall = lambda points, yaw: render(points, faces, yaw, 0, 230, (440, 440 if yaw % 180 == 0 else 200))
    rotations = np.tile(np.eye(3), (24, 1, 1))
    for name, x, y in (("left_elbow", 0, -120), ("right_elbow", 0, 90), ("left_knee", 120, 0), ("right_knee", 60, 0)):
        rotations[SMPL_JOINTS.index(name)] = euler(*np.radians([[x], [y], [0]]))[0]
    for name, x in (("left_hip", -90), ("right_hip", -30)):
        rotations[SMPL_JOINTS.index(name)] = euler(*np.radians([[x], [0], [0]]))[0]
    shaped = body["v_template"] + body["posedirs"].astype(float) @ (rotations[1:] - np.eye(3)).ravel()
    bent, _ = skin_linearly(shaped, body["weights"], joints, rotations)
    views = [tall(points, yaw) for points in (body["v_template"], bent) for yaw in (0, -90, 180)]
    shapes = []
    for k in range(4):
        for size in (-2.0, 2.0):
            points = body["v_template"] + size * body["shapedirs"][:, :, k]
            shapes.append(render(points, faces, 0, 0, 140, (300, 270)))
    rows = [np.concatenate(row, axis=1) for row in (views, shapes)]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1])), constant_values=1) for row in rows])
