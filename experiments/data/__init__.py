"""The data of one action: `Dataset`, what selects, resamples, pads and hides parts of it, and the neutral format."""
