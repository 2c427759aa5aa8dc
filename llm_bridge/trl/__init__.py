"""Ways in for users of TRL: objectives as reward functions, prices as KL, ensembles as classifiers.

Nothing here imports TRL: classes of its trainers are given.
"""
