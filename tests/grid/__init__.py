"""The public grid: every loss and every drop-in, crossed with everything that a call of it may look like.

A cell is one choice of each dimension of `tables`. `draw` makes its inputs, `reference` says what is right (the
definition, in float64, on contiguous copies, in a process without kernels), `calls` and `drop_ins` make the call,
`compare` holds the results to it. Cells run in processes of their own (`worker`), so that one that dies is caught and
named (`runner`). `python -m grid` runs it for as long as one likes, and shrinks what fails.

Everything here imports public names of the library only, and states sizes as plain numbers: the grid survives whatever
it tests being rebuilt.
"""
