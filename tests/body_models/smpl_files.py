"""Small synthetic files in SMPL's formats: `.npz`, and `.pkl` as Python 2 with chumpy and SciPy wrote them.

Neither chumpy nor SciPy is needed: classes that only bear their names are pickled.
"""

import io
import pickle
import types

import numpy as np

from body_models import joints as jn

KINTREE = np.stack([np.where(jn.PARENTS < 0, 4294967295, jn.PARENTS), np.arange(24)]).astype(np.uint32)


def make_arrays(num_vertices=61, num_betas=10, seed=0):
    """Arrays of a random body of SMPL's format, float64. The extra regressor has negative entries too."""
    rng = np.random.default_rng(seed)
    bone = np.arange(num_vertices) % 24
    height = np.linspace(-0.9, 0.7, 24)
    template = np.stack([0.3 * np.sin(bone), height[bone], 0.1 * np.cos(bone)], 1)
    template += 0.05 * rng.normal(size=(num_vertices, 3))
    weights = np.zeros((num_vertices, 24))
    for j in range(3):
        weights[np.arange(num_vertices), (bone + j * rng.integers(1, 24, num_vertices)) % 24] += rng.uniform(0.1, 1)
    weights /= weights.sum(1, keepdims=True)
    regressor = (bone == np.arange(24)[:, None]) * rng.uniform(0.5, 1, (24, num_vertices))
    extra = np.zeros((9, num_vertices))
    for row in extra:
        row[rng.choice(num_vertices, 12, replace=False)] = rng.uniform(-0.3, 1, 12)
    extra /= extra.sum(1, keepdims=True)
    landmarks = jn.SMPL_LANDMARK_VERTICES if num_vertices == 6890 else rng.integers(0, num_vertices, 21)
    return {
        "v_template": template,
        "shapedirs": 0.03 * rng.normal(size=(num_vertices, 3, num_betas)),
        "posedirs": 0.01 * rng.normal(size=(num_vertices, 3, 207)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights,
        "f": rng.integers(0, num_vertices, (2 * num_vertices, 3)).astype(np.uint32),
        "kintree_table": KINTREE,
        "landmark_vertex_ids": np.asarray(landmarks),
        "J_regressor_extra": extra,
    }


def without(arrays, *keys):
    return {key: value for key, value in arrays.items() if key not in keys}


def _class_named(module, name):
    return type(name, (), {"__module__": module})


Ch = _class_named("chumpy.ch", "Ch")
Select = _class_named("chumpy.reordering", "Select")
Add = _class_named("chumpy.ch_ops", "add")
Csc = _class_named("scipy.sparse.csc", "csc_matrix")


def _with_attributes(cls, **attributes):
    made = cls()
    made.__dict__.update(attributes)
    return made


def chumpy(array):
    """What chumpy pickles for a stored array."""
    return _with_attributes(Ch, x=array, _dirty_vars={"x"}, _itr=None, _make_dense=False, _depends_on_deps={})


def chumpy_select(array, num_last):
    """What chumpy pickles for `array[..., :num_last]`, as SMPL's shapedirs can be."""
    chosen = np.arange(array.size).reshape(array.shape)[..., :num_last]
    return _with_attributes(Select, a=chumpy(array), idxs=chosen.ravel(), preferred_shape=chosen.shape)


def chumpy_sum(array):
    return _with_attributes(Add, a=chumpy(array), b=chumpy(array))


def sparse(array):
    """What SciPy pickles for a csc matrix."""
    col, row = np.nonzero(array.T)
    return _with_attributes(
        Csc,
        _shape=array.shape,
        maxprint=50,
        data=array[row, col],
        indices=row.astype(np.int32),
        indptr=np.searchsorted(col, np.arange(array.shape[1] + 1)).astype(np.int32),
        format="csc",
    )


class _Pickler(pickle._Pickler):
    """Names classes without importing them, by their old names; with `python2`, writes text and bytes as Python 2."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def __init__(self, stream, protocol, python2):
        super().__init__(stream, protocol)
        self._python2 = python2

    def save_global(self, obj, name=None):
        module, name = obj.__module__, name or obj.__qualname__
        if self._python2:
            module = module.replace("numpy._core", "numpy.core")
            module = {"builtins": "__builtin__", "copyreg": "copy_reg"}.get(module, module)
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch[types.FunctionType] = save_global

    def _save_text(self, obj):
        if not self._python2:
            return pickle._Pickler.dispatch[type(obj)](self, obj)
        contents = obj if isinstance(obj, bytes) else obj.encode("latin1")
        if self.proto == 0:
            self.write(pickle.STRING + repr(contents)[1:].encode("ascii") + b"\n")
        elif len(contents) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(contents)]) + contents)
        else:
            self.write(pickle.BINSTRING + len(contents).to_bytes(4, "little") + contents)
        self.memoize(obj)
        return None

    dispatch[str] = _save_text
    dispatch[bytes] = _save_text


def dumps(value, protocol=2, python2=True):
    stream = io.BytesIO()
    _Pickler(stream, protocol, python2 and protocol <= 2).dump(value)
    return stream.getvalue()


def official(arrays):
    """The arrays as SMPL's `.pkl` holds them: chumpy, SciPy, Fortran order, an unevaluated expression, text."""
    return {
        **without(arrays, "landmark_vertex_ids", "J_regressor_extra"),
        "v_template": chumpy(arrays["v_template"]),
        "shapedirs": chumpy_select(np.concatenate([arrays["shapedirs"]] * 2, -1), arrays["shapedirs"].shape[-1]),
        "J_regressor": sparse(arrays["J_regressor"]),
        "weights": np.asfortranarray(arrays["weights"]),
        "J": chumpy_sum(np.zeros((24, 3))),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
