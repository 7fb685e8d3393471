import torch

# The networks are tiny: threads waiting for each other cost more than the arithmetic.
torch.set_num_threads(1)
