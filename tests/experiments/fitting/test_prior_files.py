"""Files of the real formats load; hostile, damaged and foreign ones give one sentence and run nothing."""

import io
import os
import zipfile

import jax
import numpy as np
import pytest

from experiments.fitting import prior_files
from nemo_jax.priors import gmm, vposer
from tests.experiments import prior_formats
from tests.nemo_jax import prior_arrays

MEANS, COVARIANCES, WEIGHTS = prior_arrays.mixture()
MIXTURE = {"means": MEANS, "covars": COVARIANCES, "weights": WEIGHTS}
STATE = prior_arrays.vposer_state()
CHECKPOINT = prior_formats.checkpoint(STATE)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def refuse(load, file, *words):
    with pytest.raises(prior_files.PriorFileError) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}")
    assert "\n" not in message and len(message) < 350 + len(str(file))
    for word in words:
        assert word in message, message


def written(folder, contents, name="file.ckpt"):
    file = folder / name
    file.write_bytes(contents)
    return file


class TestMixture:
    @pytest.mark.parametrize("protocol", [0, 1, 2, 4])
    @pytest.mark.parametrize("python2", [True, False])
    def test_dict_and_object(self, tmp_path, protocol, python2):
        expected = gmm.mixture(MEANS, COVARIANCES, WEIGHTS)
        for value in (MIXTURE, prior_formats.sklearn_object(MEANS, COVARIANCES, WEIGHTS)):
            file = written(tmp_path, prior_formats.dumps(value, protocol, python2), prior_files.GMM_FILE)
            assert_same(prior_files.load_gmm(file), expected)
            assert_same(prior_files.load_gmm(tmp_path), expected)

    def test_newer_names_of_the_object(self, tmp_path):
        value = prior_formats.sklearn_object(
            MEANS, COVARIANCES, WEIGHTS, "sklearn.mixture._gaussian_mixture", "GaussianMixture"
        )
        value.__dict__["covariances_"] = value.__dict__.pop("covars_")
        file = written(tmp_path, prior_formats.dumps(value, 4))
        assert_same(prior_files.load_gmm(file), gmm.mixture(MEANS, COVARIANCES, WEIGHTS))

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ({**MIXTURE, "means": prior_formats.Evil()}, ["os.system", "could run code"]),
            ([MEANS], ["list", "dict"]),
            ({"means": MEANS}, ["no covariances", "found means"]),
            ({**MIXTURE, "weights": "all"}, ["weights are a str"]),
            ({**MIXTURE, "means": MEANS[:, :63], "covars": COVARIANCES[:, :63, :63]}, ["63 numbers", "69"]),
            ({**MIXTURE, "covars": COVARIANCES[:, 0]}, ["covariances", "(3, 69)"]),
            ({**MIXTURE, "means": np.full_like(MEANS, np.nan)}, ["means", "NaN"]),
        ],
    )
    def test_what_is_no_mixture(self, tmp_path, value, words):
        refuse(prior_files.load_gmm, written(tmp_path, prior_formats.dumps(value)), *words)

    def test_damaged_and_missing(self, tmp_path):
        refuse(prior_files.load_gmm, written(tmp_path, prior_formats.dumps(MIXTURE)[:-200]), "truncated")
        refuse(prior_files.load_gmm, written(tmp_path, CHECKPOINT), "zip")
        refuse(prior_files.load_gmm, tmp_path / "none.pkl", "no such file", "gmm_08.pkl")
        refuse(prior_files.load_gmm, tmp_path, "no such file")


class TestVPoser:
    expected = vposer.from_state_dict(STATE)

    @pytest.mark.parametrize(
        "contents",
        [
            CHECKPOINT,
            prior_formats.checkpoint(STATE, prefix=""),
            prior_formats.checkpoint(STATE, folder="V02_05", compression=zipfile.ZIP_DEFLATED),
            prior_formats.checkpoint(STATE, beside=prior_formats.lightning_objects()),
            prior_formats.checkpoint({k: np.float64(v) for k, v in STATE.items()}, more={"byteorder": b"little"}),
            prior_formats.checkpoint({**STATE, "bm_train.f": np.arange(6)}),
        ],
        ids=["plain", "no-prefix", "deflated", "lightning", "float64", "other-arrays"],
    )
    def test_checkpoints(self, tmp_path, contents):
        assert_same(prior_files.load_vposer(written(tmp_path, contents)), self.expected)

    def test_bare_state_dict_with_shared_transposed_storage(self, tmp_path):
        """All arrays in one storage, one of them stored transposed."""
        names = list(STATE)
        flat = np.concatenate(
            [np.float32(STATE[n].T if n == "decoder_net.3.weight" else STATE[n]).ravel() for n in names]
        )
        storage, offset, state = prior_formats.Storage("0", flat), 0, {}
        for name in names:
            shape = STATE[name].shape
            stride = prior_formats.row_major(shape)
            stride = stride[::-1] if name == "decoder_net.3.weight" else stride
            state[name] = prior_formats.tensor(storage, offset, shape, stride)
            offset += STATE[name].size
        file = written(tmp_path, prior_formats.archive(prior_formats.ordered_dict(state), {"0": flat}))
        assert_same(prior_files.load_vposer(file), self.expected)

    def test_big_endian(self, tmp_path):
        little = {name: array for name, array in STATE.items() if array.dtype == np.float32}
        contents = prior_formats.checkpoint(little, more={"byteorder": b"big"})
        swapped = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(contents)) as old, zipfile.ZipFile(swapped, "w") as new:
            for entry in old.namelist():
                read = old.read(entry)
                new.writestr(entry, np.frombuffer(read, "<f4").astype(">f4").tobytes() if "/data/" in entry else read)
        assert_same(prior_files.load_vposer(written(tmp_path, swapped.getvalue())), self.expected)

    def test_snapshot_folder(self, tmp_path):
        snapshots = tmp_path / "V02_05" / "snapshots"
        snapshots.mkdir(parents=True)
        (tmp_path / "V02_05" / "V02_05.yaml").write_text("model_params: {num_neurons: 24, latentD: 6}\n")
        other = {**STATE, "decoder_net.5.bias": STATE["decoder_net.5.bias"] + 1}
        last = written(snapshots, CHECKPOINT, "V02_05_epoch=13_val_loss=0.03.ckpt")
        first = written(snapshots, prior_formats.checkpoint(other), "V02_05_epoch=08_val_loss=0.03.ckpt")
        # Copying files changes their times; epochs decide.
        os.utime(last, (1, 1))
        for path in (tmp_path, tmp_path / "V02_05", snapshots, last):
            assert_same(prior_files.load_vposer(path), self.expected)
        assert_same(prior_files.load_vposer(first), vposer.from_state_dict(other))
        last = last.rename(snapshots / "a.ckpt")
        first = first.rename(snapshots / "b.ckpt")
        os.utime(last, (10, 10))
        os.utime(first, (5, 5))
        assert_same(prior_files.load_vposer(tmp_path), self.expected)

    def test_no_checkpoint(self, tmp_path):
        refuse(prior_files.load_vposer, tmp_path / "V02_05", "no such file", "V02_05")
        refuse(prior_files.load_vposer, tmp_path, "no .ckpt file")
        (tmp_path / "snapshots").mkdir()
        written(tmp_path / "snapshots", b"", "TR00_E096.pt")
        refuse(prior_files.load_vposer, tmp_path, "no .ckpt file", "TR00_E096.pt", "version 1")

    @pytest.mark.parametrize("size", [0, 1, 5000, len(CHECKPOINT) // 2, len(CHECKPOINT) - 1])
    def test_truncated(self, tmp_path, size):
        refuse(prior_files.load_vposer, written(tmp_path, CHECKPOINT[:size]), "truncated")

    def test_flipped_byte(self, tmp_path):
        damaged = bytearray(CHECKPOINT)
        damaged[CHECKPOINT.index(STATE["decoder_net.3.weight"].tobytes()) + 100] ^= 255
        refuse(prior_files.load_vposer, written(tmp_path, damaged), "CRC")

    @pytest.mark.parametrize(
        ("contents", "words"),
        [
            (prior_formats.checkpoint(STATE, beside={"hooks": prior_formats.Evil()}), ["os.system", "could run code"]),
            (prior_formats.zipped(b"garbage"), ["pickle"]),
            (prior_formats.zipped(prior_formats.dumps([1, 2])), ["no VPoser", "found nothing"]),
            (prior_formats.checkpoint({"bodyprior_enc_fc1.weight": np.ones(3)}, ""), ["version 1", "version 2"]),
            (prior_formats.checkpoint({"conv1.weight": np.ones(3)}), ["no VPoser", "vp_model.conv1.weight"]),
            (prior_formats.checkpoint({k: v for k, v in STATE.items() if "7.bias" not in k}), ["encoder_net.7.bias"]),
            (prior_formats.checkpoint({**STATE, "encoder_net.1.bias": np.ones(69)}), ["(69,)", "(63,)"]),
            (prior_formats.checkpoint({**STATE, "encoder_net.1.bias": np.full(63, np.nan)}), ["NaN"]),
            (prior_formats.checkpoint({**STATE, "encoder_net.1.bias": np.zeros(63, "V2")}), ["type"]),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", ["before version 1.6"]),
            (b"<html>refused</html>", ["not a torch checkpoint"]),
        ],
    )
    def test_what_is_no_vposer(self, tmp_path, contents, words):
        refuse(prior_files.load_vposer, written(tmp_path, contents), *words)

    def test_archive_without_a_pickle(self, tmp_path):
        file = io.BytesIO()
        np.savez(file, a=np.ones(3))
        refuse(prior_files.load_vposer, written(tmp_path, file.getvalue()), "data.pkl")

    @pytest.mark.parametrize(
        ("offset", "size", "stride", "count"),
        [
            (1, (63,), (1,), None),
            (0, (63,), (2,), None),
            (0, (63,), (-1,), None),
            (-1, (63,), (1,), None),
            (0, (-63,), (1,), None),
            (0, (63, 1), (1,), None),
            (0, (1 << 40,), (0,), None),
            (0, (63,), (1,), 64),
            (0, "63", (1,), None),
        ],
    )
    def test_tensors_that_reach_outside(self, tmp_path, offset, size, stride, count):
        array = STATE["encoder_net.1.weight"]
        tensor = prior_formats.tensor(prior_formats.Storage("0", array, count), offset, size, stride)
        value = {"state_dict": prior_formats.ordered_dict({"encoder_net.1.weight": tensor})}
        file = written(tmp_path, prior_formats.archive(value, {"0": array}))
        refuse(prior_files.load_vposer, file, "arrays cannot be used")

    def test_missing_storage(self, tmp_path):
        storage = prior_formats.Storage("../../secret", STATE["encoder_net.1.weight"])
        value = {"state_dict": {"encoder_net.1.weight": prior_formats.tensor(storage, 0, (63,), (1,))}}
        refuse(prior_files.load_vposer, written(tmp_path, prior_formats.archive(value, {})), "secret")


@pytest.mark.oracle
def test_what_torch_writes_and_computes(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed (requirements-oracle.txt)")
    linear, norm, leaky = torch.nn.Linear, torch.nn.BatchNorm1d, torch.nn.LeakyReLU
    hidden, latent, flat = 40, 8, torch.nn.Flatten()
    torch.manual_seed(0)

    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mu, self.logvar = linear(hidden, latent), linear(hidden, latent)

        def forward(self, x):
            return self.mu(x), torch.nn.functional.softplus(self.logvar(x))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            drop = torch.nn.Dropout(0.1)
            first = [flat, norm(63), linear(63, hidden), leaky(), norm(hidden), drop]
            self.encoder_net = torch.nn.Sequential(*first, linear(hidden, hidden), linear(hidden, hidden), Heads())
            second = [linear(latent, hidden), leaky(), drop, linear(hidden, hidden), leaky()]
            self.decoder_net = torch.nn.Sequential(*second, linear(hidden, 126))

    network = Network()
    for _ in range(3):
        network.encoder_net(torch.randn(32, 63) * 0.4 + 0.1)
    network.eval()
    pose, code = torch.randn(1, 63) * 0.4, torch.randn(1, latent)
    with torch.no_grad():
        expected = [x[0].numpy() for x in (*network.encoder_net(pose), network.decoder_net(code))]
    state = {f"vp_model.{name}": array for name, array in network.state_dict().items()}
    contents = {"epoch": 3, "state_dict": state, "optimizer_states": [{"rng": torch.zeros(3, dtype=torch.uint8)}]}
    for value in (contents, network.state_dict()):
        torch.save(value, tmp_path / "file.ckpt")
        found = prior_files.load_vposer(tmp_path)
        mean, scale = vposer.encode(found, pose[0].numpy())
        decoded = vposer.Decoder(hidden=hidden).apply(found.decoder, code[0].numpy())
        for a, b in zip((mean, scale, np.ravel(decoded)), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
    torch.save(contents, tmp_path / "file.ckpt", _use_new_zipfile_serialization=False)
    refuse(prior_files.load_vposer, tmp_path / "file.ckpt", "before version 1.6")
