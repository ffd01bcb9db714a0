"""Encoders: from images to embeddings. Training needs torch; preprocessing and inference do not.

from annlab.encoders import load_encoder
embeddings = load_encoder("fashion-mnist").encode(images)      # (n, dim) float32, rows of length 1
"""

from annlab.encoders.encoder import Domain, DomainError, Encoder
from annlab.encoders.pretrained import default_encoder, load_encoder

__all__ = ["Domain", "DomainError", "Encoder", "default_encoder", "load_encoder"]
