"""Facts about the machine: processors, cgroup limits, memory, instruction sets."""
