"""Latency, throughput, cold start and memory of model files, and comparison with an earlier run.

`measure` is what `segtool benchmark` calls; it puts together the rows of `latency` (by `case` and `statistics`),
`throughput` and `cold_start`. `segtool.cli.benchmark_tables` prints them (docs/add-a-column.md). `kit` is the file of
`--kit`.
"""
