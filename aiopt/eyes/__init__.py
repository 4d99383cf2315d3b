"""The shipped eyes: a tiny picture reader, its recipe, and what it is measured against.

Owns the recipe from seed to judged checkpoint, answering by a checkpoint in this process, and the baseline of
a small convolutional network.  How charts, questions and scores are made is `aiopt.dataset`'s, how a model is
trained `aiopt.training`'s.
"""
