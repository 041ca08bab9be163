"""Films written: read back, they have the frames, the rate and the colours that they should."""

import numpy as np
import pytest
from films import read

from experiments.show import style
from experiments.show.render import marks, mp4


class TestMp4:
    def test_read_back(self, tmp_path):
        path = tmp_path / "new" / "film.mp4"
        colours = [marks.rgb(c) for c in (style.FIT, style.INITIAL, style.LEFT)]
        with mp4.writing(path, (32, 48), 29.97) as add:
            for colour in colours:
                add(np.full((48, 32, 3), colour, np.uint8))
        frames, stream = read(path)
        assert frames.shape == (3, 48, 32, 3)
        assert float(stream.average_rate) == pytest.approx(29.97)
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        np.testing.assert_allclose(frames.mean((1, 2)), colours, atol=4)
        # The index comes before the pictures.
        data = path.read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(("fps", "rate"), [(240, (240, 1)), (23.976024, (24000, 1001)), (12.5, (25, 2))])
    def test_rates(self, fps, rate):
        assert mp4.exact_rate(np.float32(fps).item()).as_integer_ratio() == rate

    def test_odd_sizes_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"even, not \(31, 48\)"), mp4.writing(tmp_path / "x.mp4", (31, 48), 30):
            pass

    def test_a_film_that_fails_is_not_left(self, tmp_path):
        with pytest.raises(ValueError, match="ndim"), mp4.writing(tmp_path / "x.mp4", (32, 48), 30) as add:
            add(np.zeros((48, 32), np.uint8))
        assert not (tmp_path / "x.mp4").exists()
