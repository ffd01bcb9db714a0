"""Learn the calibration of the packaged Fashion-MNIST encoder from the packaged images, and put it beside the model.

python -m benchmarks.package_relevance
"""

from annlab.datasets.fashion import fashion_mnist
from annlab.encoders.pretrained import MODELS, load_encoder
from annlab.visual.nonsense import nonsense_pictures
from annlab.visual.relevance import learn_relevance

NONSENSE = 400


def main() -> None:
    """Write `relevance.npz`."""
    images, labels, _ = fashion_mnist()
    encoder = load_encoder("fashion-mnist")
    nonsense = encoder.encode(nonsense_pictures(NONSENSE, images.shape[1]), check_domain=False)
    learned = learn_relevance(encoder.encode(images), labels, encoder.fingerprint, nonsense=nonsense,
                              learned_from=f"{len(images)} packaged images and their classes")  # fmt: skip
    learned.save(MODELS / "fashion-mnist")
    print(f"{MODELS / 'fashion-mnist'}: {len(learned.to_bytes())} bytes, cut-off {learned.image.cutoff:.3f}")


if __name__ == "__main__":
    main()
