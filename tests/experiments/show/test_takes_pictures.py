"""The contact sheet and the timeline of films, searched by a stand-in for the detector."""

import films
import stick_people as sticks
from PIL import Image

from experiments.detection import search
from experiments.loaders import split_films
from experiments.show import takes_pictures


def test_both_pictures(tmp_path):
    pictures = [sticks.picture(240, 120, {sticks.RED: (20 + 2 * frame, 20, 32, 80)}) for frame in range(12)]
    films.write(tmp_path / "a$_é.mp4", pictures)
    table = tmp_path / "takes.csv"
    table.write_text("film,take,start_seconds,end_seconds\na$_é,1,0,0.2\na$_é,2,0.2,0.4\n", encoding="utf-8")
    detector = search.Detector(sticks.MODEL, sticks.Starter())
    found, notes = split_films.find(str(tmp_path), tmp_path / "detections", takes=table, detector=detector)
    assert [list(frames) for frames in found[0].frames] == [list(range(5)), list(range(5, 10))] and notes == []
    takes_pictures.contact_sheet(found, tmp_path / "sheet.png")
    takes_pictures.timeline(found, tmp_path / "timeline.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        # Two rows of five frames, 120 pixels high, each under its label.
        assert sheet.size == (5 * 240, 2 * 136)
        red, green, _ = sheet.convert("RGB").getpixel((20 + 16, 16 + 60))
        assert red > 200 > 60 > green
        # A box around the person, in the colour of what is fitted.
        red, _, blue = sheet.convert("RGB").getpixel((20 - 2, 16 + 60))
        assert blue > red + 60
    with Image.open(tmp_path / "timeline.png") as timeline:
        assert timeline.size == (1200, 210)
