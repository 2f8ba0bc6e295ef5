"""The objective of TomoGAN: back-projection -> truth, and a critic that must not tell the answer from a true slice.

The critic learns beside the network, from the same batches, with squared differences to 1 for true and 0 for made
slices (Mao et al., ICCV 2017). Liu et al., J. Opt. Soc. Am. A 37 (2020) 422, use a Wasserstein critic and a perceptual
loss as well; this is the plain form.
"""

from __future__ import annotations

import torch

from training.data import Which
from training.networks.critic import critic
from training.objectives import Supervised

WEIGHT = 1e-3  # of the critic's opinion, small: it sharpens, the truth decides
RATE = 2e-4


class Adversarial(Supervised):
    """As `Supervised`, with a critic."""

    learns_from = (
        "pairs of weighted back-projection and truth, and a critic that learns to tell answer from truth"
    )

    def __init__(self, training: list[Which], validation: list[Which], *, progress: bool = True):
        super().__init__(training, validation, progress=progress)
        self.critic = critic()
        self.optimiser = torch.optim.Adam(self.critic.parameters(), lr=RATE, betas=(0.5, 0.99))

    def loss(self, answer: torch.Tensor, target: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Return the network's loss; the critic takes its own step on the way."""
        if next(self.critic.parameters()).device != answer.device:
            self.critic.to(answer.device)
            self.optimiser.load_state_dict(self.optimiser.state_dict())  # takes its moments along
        self.optimiser.zero_grad()
        (((self.critic(target) - 1) ** 2).mean() + (self.critic(answer.detach()) ** 2).mean()).backward()
        self.optimiser.step()
        opinion = ((self.critic(answer) - 1) ** 2).mean()
        return super().loss(answer, target, inputs) + WEIGHT * opinion

    def state(self) -> dict:
        """Return the critic's weights and optimiser."""
        return {"critic": self.critic.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict) -> None:
        """Of what `state` gave; nothing at the start of a run."""
        if state:
            self.critic.load_state_dict(state["critic"])
            self.optimiser.load_state_dict(state["optimiser"])
