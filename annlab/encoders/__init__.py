"""Encoders: from images to embeddings. Training needs torch; preprocessing and inference do not."""
