"""Encoders: from images to embeddings. Training needs torch; preprocessing and inference do not.

    from annlab.encoders import load_encoder
    embeddings = load_encoder("fashion-mnist").encode(images)      # (n, dim) float32, rows of length 1

The way of an image: `images.py` decodes it, `preprocess.py` brings it to the size and scale that the network expects,
`encoder.py` runs the network and checks that the image is one it was made for. `pretrained.py` has the ready-made
encoders, `embedding_job.py` embeds whole folders, `train_encoder.py` trains one on your own images. Which files of a
folder are images, and of which class, is said in `folders.py`; how results reach their files, and never over something
else, in `outputs.py`.

Embeddings serve more than search. Rows of length 1 go straight into scikit-learn, where Euclidean distance then orders
them as cosine does:

    KNeighborsClassifier(n_neighbors=10).fit(embeddings, labels).predict(others)       # k-NN classification
    KMeans(n_clusters=10, n_init=3, random_state=0).fit_predict(embeddings)            # clustering
"""

from annlab.encoders.encoder import Domain, DomainError, Encoder
from annlab.encoders.pretrained import default_encoder, load_encoder

__all__ = ["Domain", "DomainError", "Encoder", "default_encoder", "load_encoder"]
