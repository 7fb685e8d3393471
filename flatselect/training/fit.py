"""Training as a sequence of epochs, each of which can be resumed bit for bit."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from flatselect.data.dataset import Dataset
from flatselect.errors import NonFiniteError
from flatselect.search_space import Candidate
from flatselect.training.memory_format import move_to_device
from flatselect.training.optimizers import make_optimizer, make_scheduler
from flatselect.training.seeding import derive_seed, seeded

Penalty = Callable[[nn.Module, torch.Tensor], torch.Tensor]


class Trainer:
    """Trains one candidate, an epoch a call.

    Batch order, augmentation and dropout of an epoch are functions of (`seed`, epoch) alone. So a trainer that loads
    the state of epoch e goes on exactly as one that was never stopped.

    Attributes:
        epoch: Epochs trained so far.
        train_loss: Mean cross-entropy (nats) over the last epoch's batches, with augmentation and label smoothing; the
            penalty is left out, so that `target_train_loss` means the same at every strength of it.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        candidate: Candidate,
        *,
        seed: int,
        device: torch.device | str,
        penalty: Penalty | None = None,
    ) -> None:
        """Prepares the first epoch.

        Args:
            model: Moved to `device`, and into the memory format that trains fast there.
            dataset: Of the training images.
            candidate: How to train.
            seed: Of everything that is drawn.
            device: Where to train.
            penalty: A scalar of the model and some images, differentiable in the model's parameters; called in
                training mode where `candidate.training.flatness_penalty` is above 0. It leaves the model as it is.

        Raises:
            ValueError: `flatness_penalty` is above 0 and there is no penalty.
        """
        if candidate.training.flatness_penalty > 0 and penalty is None:
            raise ValueError("flatness_penalty is above 0: expected a `penalty` to train by")
        self.model = move_to_device(model, device)
        self.epoch = 0
        self.train_loss = math.inf
        self._dataset = dataset
        self._candidate = candidate
        self._training = candidate.training
        self._seed = seed
        self._device = torch.device(device)
        self._forward = _compile(self.model) if candidate.training.compile else self.model
        self._penalty = penalty if candidate.training.flatness_penalty > 0 else None
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
            strength = f", flatness_penalty = {self._training.flatness_penalty:g}" if self._penalty else ""
            raise NonFiniteError(
                f"the training loss is {self.train_loss} in epoch {self.epoch} "
                f"(learning_rate = {self._training.learning_rate:g}{strength}); a lower rate or gradient_clip may help"
            )

    def _train_batch(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step; returns the cross-entropy before it."""
        # A copy, as the model may work in place on the images. Batches are shuffled, so the first are any.
        penalised = None if self._penalty is None else images[: self._training.flatness_penalty_images].clone()
        with self._autocast():
            logits = self._forward(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self._training.label_smoothing)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._penalty is not None and penalised is not None:
            # After the first backward pass, which has freed the first graph's memory. Outside autocast: second
            # derivatives of a nearly sure network are lost in bfloat16.
            (self._training.flatness_penalty * self._penalty(self.model, penalised)).backward()
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


def _compile(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model's forward pass, compiled; the model itself stays as it is, for measures and checkpoints.

    Each shape of a batch gets kernels of its own: with shared ones, which a batch meets would depend on the batches
    before it, and a resumed trial would end with other bits.
    """
    # Else the networks of former trials count: after eight of one class the next would not be compiled.
    torch.compiler.reset()
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(model, dynamic=False)
    return compiled
