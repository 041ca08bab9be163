"""Reduces a symmetric mesh by collapsing edges of its left half, and mirrors what is left.

Every vertex that stays is a vertex of the input, so that shapes, weights and landmarks carry over by indexing.
The error measure is the quadric of Garland and Heckbert (SIGGRAPH 1997).
"""

import heapq

import numpy as np

MAX_EDGE = 0.032  # metres; no collapse makes a longer edge
ROUND = 4e-7  # weight of the squared edge length: keeps triangles even where the surface is flat


def triangulate(quads, points):
    """Returns (2Q, 3) triangles of quads (Q, 4), cut along the shorter diagonal."""
    a, b, c, d = quads.T
    first = np.linalg.norm(points[a] - points[c], axis=1) <= np.linalg.norm(points[b] - points[d], axis=1)
    one = np.where(first[:, None], np.stack([a, b, c], 1), np.stack([a, b, d], 1))
    two = np.where(first[:, None], np.stack([a, c, d], 1), np.stack([b, c, d], 1))
    return np.concatenate([one, two])


def boundary_paths(faces):
    """Returns the chains of vertices along a mesh's open edges, each in the direction of its faces."""
    edges = {(face[k], face[(k + 1) % 3]) for face in faces.tolist() for k in range(3)}
    after = {a: b for a, b in edges if (b, a) not in edges}
    paths = []
    while after:
        start = next(iter(after.keys() - set(after.values())), next(iter(after)))
        path = [start]
        while path[-1] in after:
            path.append(after.pop(path[-1]))
        paths.append(path)
    return paths


def left_half(quads, points):
    """Triangles (F, 3) of the left half (x >= 0) of a symmetric mesh of quads none of which crosses the middle."""
    return triangulate(quads[points[quads, 0].mean(axis=1) > 0], points)


def close_mouth_and_eye(faces, points, eye):
    """Closes the left half's openings: zips the lips and fans the eye's rim to the pupil vertex `eye`.

    The half mesh's open edges are the midline, broken by the mouth's rim, and the eye's loop.
    """
    new = []
    paths = boundary_paths(faces)
    loops = [path for path in paths if path[0] == path[-1]]
    rims = [path for path in loops if np.linalg.norm(points[path].mean(axis=0) - points[eye]) < 0.05]
    for a, b in zip(rims[0][:-1], rims[0][1:], strict=True):
        new.append((b, a, eye))
    middle = max(loops, key=len)[:-1]
    off = [abs(points[v, 0]) > 1e-9 for v in middle]
    start = next(i for i in range(len(middle)) if off[i] and not off[i - 1]) - 1
    rim = [middle[start]]
    for k in range(1, len(middle)):
        rim.append(middle[(start + k) % len(middle)])
        if not off[(start + k) % len(middle)]:
            break
    low, high = 0, len(rim) - 1
    while high - low > 1:
        # Advance on the side that gives the shorter new edge.
        from_low = np.linalg.norm(points[rim[low + 1]] - points[rim[high]])
        from_high = np.linalg.norm(points[rim[low]] - points[rim[high - 1]])
        if from_low < from_high:
            new.append((rim[low + 1], rim[low], rim[high]))
            low += 1
        else:
            new.append((rim[high], rim[high - 1], rim[low]))
            high -= 1
    return np.concatenate([faces, np.array(new)])


def face_quadric(p, q, r):
    """(4, 4) area-weighted quadric of the plane of a triangle."""
    normal = np.cross(q - p, r - p)
    length = np.linalg.norm(normal)
    if length < 1e-14:
        return np.zeros((4, 4))
    plane = np.append(normal / length, -normal @ p / length)
    return 0.5 * length * np.outer(plane, plane)


def collapse(faces, points, count, locked, importance):
    """Collapses edges of an open half mesh until `count` vertices are left.

    Args:
        faces: (F, 3) triangles; its open edges are the midline, which stays on x = 0.
        points: (V, 3) metres.
        count: vertices to keep.
        locked: set of vertices that stay.
        importance: (V,) factor on the error at each vertex, larger where vertices are wanted.

    Returns:
        (F', 3) triangles over the same vertex numbers.
    """
    faces = [tuple(face) for face in faces.tolist()]
    around = {}
    for i, face in enumerate(faces):
        for v in face:
            around.setdefault(v, set()).add(i)
    middle = {v for path in boundary_paths(np.array(faces)) for v in path}
    quadric = {v: np.zeros((4, 4)) for v in around}
    for a, b, c in faces:
        q = face_quadric(points[a], points[b], points[c])
        for v in (a, b, c):
            quadric[v] += q
    for v in middle:  # straying from the midline costs as leaving the surface does
        neighbours = [w for i in around[v] for w in faces[i] if w in middle and w != v]
        length = sum(np.linalg.norm(points[v] - points[w]) for w in set(neighbours))
        for w in set(neighbours):
            edge = points[w] - points[v]
            normal = np.cross(edge, [1.0, 0, 0])
            normal /= np.linalg.norm(normal) + 1e-12
            plane = np.append(normal, -normal @ points[v])
            quadric[v] += 0.05 * length * length * np.outer(plane, plane)

    def neighbours_of(v):
        return {w for i in around[v] for w in faces[i]} - {v}

    def cost(v, w):
        """Error of moving v onto w."""
        h = np.append(points[w], 1.0)
        length = np.linalg.norm(points[v] - points[w])
        return importance[v] * (h @ quadric[v] @ h + ROUND * length * length) + 1e-12 * length

    def allowed(v, w):
        """Whether v may move onto w: the midline stays, the surface stays one, no face turns over or gets thin."""
        shared = [i for i in around[v] if w in faces[i]]
        if v in locked or len(shared) != (1 if v in middle else 2):  # a midline vertex moves along open edges only
            return False
        opposite = {u for i in shared for u in faces[i]} - {v, w}
        if neighbours_of(v) & neighbours_of(w) != opposite:  # the link condition
            return False
        if any(np.linalg.norm(points[u] - points[w]) > MAX_EDGE for u in neighbours_of(v) - {w}):
            return False
        for i in around[v].difference(shared):
            old = points[list(faces[i])]
            new = points[[w if u == v else u for u in faces[i]]]
            n0 = np.cross(old[1] - old[0], old[2] - old[0])
            n1 = np.cross(new[1] - new[0], new[2] - new[0])
            longest = max(np.linalg.norm(new[k] - new[k - 1]) for k in range(3))
            if n0 @ n1 < 0.4 * np.linalg.norm(n0) * np.linalg.norm(n1) or np.linalg.norm(n1) < 0.12 * longest**2:
                return False
        return True

    heap, stamp = [], dict.fromkeys(around, 0)

    def push(v):
        for w in sorted(neighbours_of(v)):
            heapq.heappush(heap, (cost(v, w), v, w, stamp[v], stamp[w]))

    for v in sorted(around):
        push(v)
    alive = len(around)
    while alive > count and heap:
        _, v, w, sv, sw = heapq.heappop(heap)
        if v not in around or w not in around or stamp[v] != sv or stamp[w] != sw or not allowed(v, w):
            continue
        for i in list(around[v]):
            if w in faces[i]:
                for u in faces[i]:
                    around[u].discard(i)
            else:
                faces[i] = tuple(w if u == v else u for u in faces[i])
                around[w].add(i)
        quadric[w] = quadric[w] + quadric[v]
        del around[v]
        alive -= 1
        ring = neighbours_of(w) | {w}
        for u in ring:
            stamp[u] += 1
        for u in sorted(ring):
            push(u)
            for x in sorted(neighbours_of(u) - ring):
                heapq.heappush(heap, (cost(x, u), x, u, stamp[x], stamp[u]))
    return np.array([faces[i] for i in sorted({i for ring in around.values() for i in ring})])


def mirror_mesh(half, mirror):
    """Returns the whole mesh: kept vertices (V',), its triangles (F', 3) over them, and its mirror map (V',)."""
    whole = np.concatenate([half, mirror[half][:, ::-1]])
    kept = np.unique(whole)
    index = np.full(len(mirror), -1)
    index[kept] = np.arange(len(kept))
    return kept, index[whole], index[mirror[kept]]
