"""Words that mean nothing to the packaged encoder of texts, of kinds that nobody has learned from; and real ones.

The rule that tells them (`annlab/visual/wording.py`) was found while figures of random letters, syllables, numbers and
misspelt words were looked at. The kinds here were written down afterwards: what was decided about these texts, was
decided without them. What the encoder was taught is left out, so "hand" is no German word here.

Of each kind: the mean share of the packaged drawings that is shown, and how many texts are shown more than a twentieth
of them; "by_vector" and "many_by_vector" as if the words were not looked at. Of real texts: the share of what is
relevant to each that is kept, and by the vector alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_MANY = 0.05
_FOREIGN = {
    "german": "straße schreibtisch vielleicht gestern zwischen wohnung bleistift frühling gesundheit kühlschrank "
              "nachbar verstehen glücklich schlüssel zeitung brücke teuer schnell langsam unterricht",
    "french": "bonjour chaussure maison hier toujours fenêtre voiture école crayon feuille pluie oiseau rêve vitesse "
              "lendemain ouvrier heureux bruit chemin couteau",
    "spanish": "perro ventana zapato mañana escuela lluvia cuchillo pájaro calle verdad siempre corazón pequeño camino "
               "cielo trabajo hermano nieve dinero pueblo",
    "finnish": "kissa talo huomenna ystävä lintu kirja ikkuna metsä järvi kesä vihreä nopea äiti koulu kukka leipä "
               "saari talvi rakkaus pöytä",
    "turkish": "köpek pencere yağmur okul kitap deniz güneş kırmızı ekmek arkadaş şehir bahçe anahtar yavaş mutlu "
               "sabah çiçek kapı yıldız kardeş",
    "swahili": "mbwa nyumba rafiki shule mvua ndege kitabu samaki jua mti maji barabara chakula mtoto asubuhi daktari "
               "ukuta furaha mlima pesa",
    "other": "собака окно школа дождь книга солнце 犬 学校 雨 本 太陽 مدرسة كتاب شمس כלב ספר שמש σκύλος σχολείο",
}  # fmt: skip
_NAMES = (
    "Annika Bergström Przemysław Kowalczyk Oluwaseun Adeyemi Nguyen Dmitri Volkov Siobhan McAllister Giuseppe Ferraro "
    "Thandiwe Mbeki Rasmus Lindholm Katarzyna Nowak Yusuf Demir Ingrid Haugen Matteo Ricci Fernanda Oliveira Hiroshi "
    "Tanaka Aleksandra Petrov Mehmet Yilmaz Sven Eriksson Chiara Lombardi Wolfgang Schreiber Desmond Fitzgerald "
    "Reykjavik Wolverhampton Saskatoon Antananarivo Dnipro Bratislava Guadalajara Kuopio Wuppertal Ouagadougou Tbilisi "
    "Novosibirsk Maastricht Aberystwyth Szeged Poughkeepsie Thessaloniki Mombasa Cochabamba Trondheim"
).split()
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SOUNDS = (
    ("bl", "fr", "gn", "sk", "tr", "v", "w", "z", "d", "m", "pl", "st", "thr", "k"),
    ("a", "e", "i", "o", "u", "oo", "ea"),
)
_CLOSES = ("rf", "nk", "b", "mp", "st", "lg", "x", "rd", "sh", "ck", "z", "n")
_ENDINGS = ("", "ing", "er", "ly", "ness", "y", "ed", "le")


def kinds(each: int, rng: np.random.Generator) -> dict[str, list[str]]:
    """Texts by kind."""
    found = {f"words, {name}": text.split() for name, text in _FOREIGN.items()}
    found["names of people and places"] = _NAMES
    makers: tuple[Callable[[np.random.Generator], str], ...] = (_keys, _sounds, _codes, _figures)
    found |= {make.__name__[1:]: [make(rng) for _ in range(each)] for make in makers}
    return found


def _keys(rng: np.random.Generator) -> str:
    """Fingers that run over a row of keys, and over the one below."""
    row = int(rng.integers(3))
    start, length = int(rng.integers(len(_ROWS[row]) - 3)), int(rng.integers(3, 8))
    run = [_ROWS[(row + int(rng.random() < 0.2)) % 3] for _ in range(length)]
    return "".join(keys[min(start + place, len(keys) - 1)] for place, keys in enumerate(run))


def _sounds(rng: np.random.Generator) -> str:
    """Syllables that English has, with an ending of it: the hardest."""
    stem = "".join(str(rng.choice(part)) for part in (*_SOUNDS, _CLOSES))
    return stem + str(rng.choice(_ENDINGS))


def _codes(rng: np.random.Generator) -> str:
    """Names of files and parts: IMG_20931, kx-77b, 3f9a0c."""
    letters, number = "".join(rng.choice(list("abcdefghkmnprstuvwxyz"), 3)), int(rng.integers(100, 99999))
    return (f"{letters.upper()}_{number}", f"{letters[:2]}-{number % 100}{letters[2]}", f"{number * 977:x}")[
        int(rng.integers(3))
    ]


def _figures(rng: np.random.Generator) -> str:
    """Dates, times, sums and numbers."""
    a, b, c = (int(number) for number in rng.integers(10, 60, 3))
    return (
        f"20{a}-{b % 12 + 1:02}-{c % 28 + 1:02}",
        f"{a % 24}:{b}",
        f"{a}{b}{c}",
        f"{a}.{b}",
        str(a),
        f"{a}+{b}={a + b}",
    )[int(rng.integers(6))]


def measured(each: int) -> list[dict[str, Any]]:
    """A record for each kind, of all, and of real texts."""
    from annlab.datasets import emoji
    from annlab.encoders.captions import misspelt
    from annlab.encoders.pretrained import MODELS, load_encoder
    from annlab.visual.relevance import Relevance

    encoder, pictures, rng = load_encoder("emoji"), emoji(), np.random.default_rng(1130)
    calibration = Relevance.load(MODELS / "emoji", encoder.fingerprint, encoder.dim)
    assert calibration is not None and calibration.wording is not None and encoder.texts is not None
    catalog, curve = encoder.encode(pictures.images, check_domain=False).astype(np.float64), calibration.curve(True)
    wording, taught, texts = calibration.wording, frozenset(calibration.wording.words), encoder.texts

    def shown(text: str) -> np.ndarray:
        vector = texts.encode([text])[0].astype(np.float64)
        result: np.ndarray = curve.of(1 - catalog @ vector, calibration.strangeness(vector, True)) >= curve.cutoff
        return result

    records, every = [], []
    for kind, some in kinds(each, rng).items():
        strange = [text for text in some if text.casefold() not in taught]
        rows = [(float(shown(text).mean()), wording.says_something(text)) for text in strange]
        records.append({"catalog": "drawings", "kind": kind, **_told(rows)})
        every += rows
    records.append({"catalog": "drawings", "kind": "all words", **_told(every)})
    phrases = pictures.phrases()
    single = [(row, phrase) for row, own in enumerate(phrases) for phrase in own]
    some_real = [single[place] for place in rng.permutation(len(single))[: 10 * each]]
    having: dict[str, list[int]] = {}
    for row, phrase in single:
        having.setdefault(phrase, []).append(row)

    def kept(pairs: Sequence[tuple[str, list[int]]]) -> dict[str, Any]:
        rows = [(float(shown(text)[right].mean()), wording.says_something(text)) for text, right in pairs]
        return {"queries": len(rows), "kept": round(float(np.mean([share * says for share, says in rows])), 4),
                "kept_by_vector": round(float(np.mean([share for share, _ in rows])), 4)}  # fmt: skip

    def with_a_slip(phrase: str) -> str:
        words = phrase.split()
        place = int(rng.integers(len(words)))
        words[place] = misspelt(words[place], rng)
        return " ".join(words)

    records.append({"catalog": "drawings", "kind": "phrases", **kept([(p, having[p]) for _, p in some_real])})
    slips = [(with_a_slip(p), having[p]) for _, p in some_real]
    records.append({"catalog": "drawings", "kind": "phrases, a word misspelt", **kept(slips)})
    plurals = [(f"{p}s", having[p]) for _, p in some_real if " " not in p]
    records.append({"catalog": "drawings", "kind": "words in the plural", **kept(plurals)})
    return records


def _told(rows: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Of texts: the shares that they are shown by their vectors, and whether their words say something."""
    shares, says = np.array([share for share, _ in rows]), np.array([each for _, each in rows])
    left = np.where(says, shares, 0.0)
    return {"queries": len(rows), "refused": round(float(1 - says.mean()), 4), "shown": round(float(left.mean()), 5),
            "many": int(np.count_nonzero(left > _MANY)), "by_vector": round(float(shares.mean()), 5),
            "many_by_vector": int(np.count_nonzero(shares > _MANY))}  # fmt: skip
