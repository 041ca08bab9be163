"""Known motion, recorded or key-framed, and what a camera, a keypoint detector and a pose estimator would say of it."""
