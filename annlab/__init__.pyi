from annlab.balltree import BallTreeIndex as BallTreeIndex
from annlab.common.results import Neighbors as Neighbors
from annlab.common.results import RadiusNeighbors as RadiusNeighbors
from annlab.common.statistics import SearchStats as SearchStats
from annlab.core.conditions import col as col
from annlab.core.heldout import RecallWarning as RecallWarning
from annlab.core.storage import CorruptIndexError as CorruptIndexError
from annlab.core.structure import Structure as Structure
from annlab.distances import pairwise as pairwise
from annlab.exact import ExactIndex as ExactIndex
from annlab.hashing.theory import collision_probability as collision_probability
from annlab.index import Index as Index
from annlab.ivf import IVFIndex as IVFIndex
from annlab.kdtree import KDTreeIndex as KDTreeIndex
from annlab.keyed import KeyedIndex as KeyedIndex
from annlab.kinds import load as load
from annlab.kinds import warmup as warmup
from annlab.kmeans import KMeans as KMeans
from annlab.lsh import LSHIndex as LSHIndex
from annlab.quantizers import ProductQuantizer as ProductQuantizer
from annlab.quantizers import ScalarQuantizer as ScalarQuantizer
from annlab.tuning import recommend as recommend
from annlab.tuning import tune as tune
from annlab.vamana import VamanaIndex as VamanaIndex

__version__: str
__all__: list[str]
