"""What drives the 3D page in a browser."""

import json

import numpy as np
from PIL import Image


def settle(tab):
    """Waits until the last change is on the screen."""
    tab.wait("!nemo.page.dirty")
    tab.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")


def pause(tab, **state):
    tab.value(f"nemo.set({json.dumps({'playing': False, **state})})")
    settle(tab)


def pixels(tab, path):
    return np.asarray(Image.open(tab.screenshot(path)).convert("RGB")).astype(int)
