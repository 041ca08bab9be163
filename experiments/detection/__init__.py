"""From films to people: frames, their times, the people in them, and their keypoints."""
