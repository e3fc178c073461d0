"""Data sets, samplers and loaders: what programs take from ``torch.utils.data``."""

from __future__ import annotations

from rustgrad._aliases import alias
from rustgrad.utils.data import dataloader as dataloader
from rustgrad.utils.data import dataset as dataset
from rustgrad.utils.data import distributed as distributed
from rustgrad.utils.data import sampler as sampler
from rustgrad.utils.data.dataloader import DataLoader as DataLoader
from rustgrad.utils.data.dataloader import default_collate as default_collate
from rustgrad.utils.data.dataloader import default_convert as default_convert
from rustgrad.utils.data.dataloader import get_worker_info as get_worker_info
from rustgrad.utils.data.dataset import ChainDataset as ChainDataset
from rustgrad.utils.data.dataset import ConcatDataset as ConcatDataset
from rustgrad.utils.data.dataset import Dataset as Dataset
from rustgrad.utils.data.dataset import IterableDataset as IterableDataset
from rustgrad.utils.data.dataset import StackDataset as StackDataset
from rustgrad.utils.data.dataset import Subset as Subset
from rustgrad.utils.data.dataset import TensorDataset as TensorDataset
from rustgrad.utils.data.dataset import random_split as random_split
from rustgrad.utils.data.distributed import DistributedSampler as DistributedSampler
from rustgrad.utils.data.sampler import BatchSampler as BatchSampler
from rustgrad.utils.data.sampler import RandomSampler as RandomSampler
from rustgrad.utils.data.sampler import Sampler as Sampler
from rustgrad.utils.data.sampler import SequentialSampler as SequentialSampler
from rustgrad.utils.data.sampler import SubsetRandomSampler as SubsetRandomSampler
from rustgrad.utils.data.sampler import WeightedRandomSampler as WeightedRandomSampler

alias(__name__, _utils=__name__)
alias(f"{__name__}._utils", collate="rustgrad.utils.data._collate", worker="rustgrad.utils.data._workers")

__all__ = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "DistributedSampler", "IterableDataset",
    "RandomSampler", "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler", "TensorDataset",
    "WeightedRandomSampler", "default_collate", "default_convert", "get_worker_info", "random_split",
]  # fmt: skip
