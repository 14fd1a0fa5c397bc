"""The doctor: evidence gathered from the world, judged purely, each finding with cause and cure."""
