"""Facts about the machine: processors, cgroup limits, memory, instruction sets.

`machine.machine_info` describes it for JSON; `processors` and `memory` have the limits of this process.
"""
