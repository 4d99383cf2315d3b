"""Training on Ray: the loop of `aiopt.training` inside Ray Train's workers."""
