"""Writes the real formats of prior files without the libraries that made them: classes that only bear their names."""

import io
import types
import zipfile

import numpy as np

from tests.body_models import smpl_files

_STORAGE = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "V2": "BFloat16Storage",
}


def class_named(module, name):
    return type(name, (), {"__module__": module})


def function_named(module, name):
    function = types.FunctionType((lambda *args: None).__code__, {}, name)
    function.__module__, function.__qualname__ = module, name
    return function


_rebuild_tensor = function_named("torch._utils", "_rebuild_tensor_v2")
_ordered_dict = class_named("collections", "OrderedDict")
_storages = {code: class_named("torch", name) for code, name in _STORAGE.items()}


class Storage:
    def __init__(self, key, array, count=None):
        code = array.dtype.str[1:]
        self.pid = ("storage", _storages[code], key, "cuda:0", array.size if count is None else count)


class Called:
    """An object that a pickle builds by calling `function(*args)`, then sets a state and items on."""

    def __init__(self, function, args, state=None, items=None):
        self._reduced = (function, args, state, None, iter(items.items()) if items is not None else None)

    def __reduce__(self):
        return self._reduced


class TorchPickler(smpl_files._Pickler):
    def __init__(self, stream):
        super().__init__(stream, 2, False)

    def persistent_id(self, value):
        return value.pid if isinstance(value, Storage) else None


def tensor(storage, offset, size, stride):
    return Called(_rebuild_tensor, (storage, offset, size, stride, False, Called(_ordered_dict, ())))


def row_major(shape):
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def ordered_dict(items):
    return Called(_ordered_dict, (), {"_metadata": Called(_ordered_dict, (), items={"": {"version": 1}})}, items)


def archive(value, contents, folder="archive", compression=zipfile.ZIP_STORED, more=None):
    """Bytes of a torch zip file whose pickle is `value` and whose storages are `contents`: key -> array or bytes."""
    stream = io.BytesIO()
    TorchPickler(stream).dump(value)
    return zipped(stream.getvalue(), contents, folder, compression, more)


def zipped(pickled, contents=(), folder="archive", compression=zipfile.ZIP_STORED, more=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr(f"{folder}/data.pkl", pickled)
        for key, array in dict(contents).items():
            made.writestr(f"{folder}/data/{key}", array if isinstance(array, bytes) else array.tobytes())
        for name, text in {"version": b"3\n", **(more or {})}.items():
            made.writestr(f"{folder}/{name}", text)
    return file.getvalue()


def checkpoint(arrays, prefix="vp_model.", beside=None, **kwargs):
    """A checkpoint as Lightning writes it: weights under a prefix beside objects of classes of its own."""
    contents, state = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        array = np.asarray(array)
        contents[str(key)] = array
        state[prefix + name] = tensor(Storage(str(key), array), 0, array.shape, row_major(array.shape))
    top = {"epoch": 13, "state_dict": ordered_dict(state), **(beside or {})}
    return archive(top, contents, **kwargs)


def lightning_objects():
    """What training leaves in a checkpoint besides weights."""
    stopping = class_named("pytorch_lightning.callbacks.early_stopping", "EarlyStopping")
    attributes = class_named("pytorch_lightning.utilities.parsing", "AttributeDict")
    dotmap = class_named("dotmap", "DotMap")
    counter = class_named("collections", "Counter")
    moments = np.zeros(4, np.float32)
    made = stopping()
    made.__dict__.update(patience=3)
    return {
        "callbacks": {stopping: {"wait_count": 0, "best_score": tensor(Storage("best", moments), 0, (), ())}},
        "optimizer_states": [
            {"state": {0: {"step": 1, "exp_avg": tensor(Storage("m", np.zeros(2, "V2")), 0, (2,), (1,))}}}
        ],
        "lr_schedulers": [{"milestones": Called(counter, ({8: 1},))}],
        "hyper_parameters": Called(attributes, (), items={"config": Called(dotmap, (), items={"a": 1})}),
        "stopping": made,
    }


def sklearn_object(means, covariances, weights, module="sklearn.mixture.gmm", name="GMM"):
    """A fitted mixture of scikit-learn, as its old versions pickled it."""
    made = class_named(module, name)()
    fitted = {"means_": means, "covars_": covariances, "weights_": weights}
    made.__dict__.update(
        n_components=len(means),
        covariance_type="full",
        converged_=True,
        random_state=np.random.RandomState(0),
        **fitted,
    )
    return made


class Evil:
    def __reduce__(self):
        return (function_named("os", "system"), ("touch /nonexistent/folder/x",))


def dumps(value, protocol=2, python2=True):
    return smpl_files.dumps(value, protocol, python2)
