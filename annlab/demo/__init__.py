"""The main job on real images: `python -m annlab.demo`."""
