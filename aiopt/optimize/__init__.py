"""The pipeline from data to ranked strategies, stage by stage, in one run folder.  Knows nothing of Ray."""
