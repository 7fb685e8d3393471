"""Training as a sequence of epochs, each of which can be resumed bit for bit."""

import contextlib
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from flatselect.data.dataset import Dataset
from flatselect.errors import NonFiniteError
from flatselect.search_space import Candidate
from flatselect.training.optimizers import make_optimizer, make_scheduler
from flatselect.training.seeding import derive_seed, seeded


class Trainer:
    """Trains one candidate, an epoch a call.

    Batch order, augmentation and dropout of an epoch are functions of (`seed`, epoch) alone. So a trainer that loads
    the state of epoch e goes on exactly as one that was never stopped.

    Attributes:
        epoch: Epochs trained so far.
        train_loss: Mean of the optimised loss over the last epoch's batches (with augmentation and label smoothing).
    """

    def __init__(
        self, model: nn.Module, dataset: Dataset, candidate: Candidate, *, seed: int, device: torch.device | str
    ) -> None:
        self.model = model.to(device)
        self.epoch = 0
        self.train_loss = math.inf
        self._dataset = dataset
        self._candidate = candidate
        self._training = candidate.training
        self._seed = seed
        self._device = torch.device(device)
        self._optimizer = make_optimizer(self.model, self._training)
        # `batches` may merge a last single image into the batch before: this is an upper bound of the true count.
        steps_per_epoch = math.ceil(len(dataset) / self._training.batch_size)
        self._scheduler = make_scheduler(self._optimizer, self._training, steps_per_epoch)

    @property
    def is_done(self) -> bool:
        """Whether the last epoch is trained or the target loss is reached."""
        target = self._training.target_train_loss
        return self.epoch >= self._training.epochs or (target is not None and self.train_loss <= target)

    def train_epoch(self) -> None:
        """Trains one epoch.

        Raises:
            NonFiniteError: The loss became NaN or infinite.
        """
        epoch_seed = derive_seed(self._seed, "epoch", self.epoch)
        self.model.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        with seeded(epoch_seed):
            for images, labels in self._dataset.batches(
                self._training.batch_size,
                self._device,
                shuffle_seed=epoch_seed,
                augmentation=self._candidate.augmentation,
            ):
                loss_sum += self._train_batch(images, labels) * len(labels)
        self.epoch += 1
        self.train_loss = float(loss_sum) / len(self._dataset)
        if not math.isfinite(self.train_loss):
            raise NonFiniteError(
                f"the training loss is {self.train_loss} in epoch {self.epoch} "
                f"(learning_rate = {self._training.learning_rate:g}); a lower rate or gradient_clip may help"
            )

    def _train_batch(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            logits = self.model(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self._training.label_smoothing)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._training.gradient_clip)
        self._optimizer.step()
        self._scheduler.step()
        return loss.detach()

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self._device.type == "cuda" and self._training.mixed_precision:
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers and containers: it can be read back with `weights_only=True`."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        self.epoch = int(state["epoch"])
        self.train_loss = float(state["train_loss"])
