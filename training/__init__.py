"""Trains the learned methods of `etlab.solvers.learned` with PyTorch. Nothing else imports it or needs PyTorch.

python -m training.data --samples 96           simulate what is learned from, once
python -m training.train dncnn --minutes 12    train, export, check, and write the model card
"""
