"""Training again when there is new data: from the last good checkpoint, judged on later data, as a proposal.

Owns the order of a round and what is remembered between rounds.  Who trains and who reads is given: this
package imports neither torch nor Ray.
"""

from aiopt.retraining.retrain_config import RetrainConfig, load_retrain_config
from aiopt.retraining.retraining import Outcome, accept, retrain
from aiopt.retraining.rounds import Round, Rounds

__all__ = ["RetrainConfig", "load_retrain_config", "Outcome", "retrain", "accept", "Round", "Rounds"]
