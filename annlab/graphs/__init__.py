"""VamanaIndex: its structure and its parts."""
