"""The statistics of a study: arrays in, dataclasses out. Nothing here knows about Django or the database.

`ratings` has the common input and output; each other module is one subject. A result has its figures, or says in
`reason`, in words, why one cannot be given. No function returns a number that stands for "no data", and none draws
from a global random generator: what draws takes `rng`.
"""
