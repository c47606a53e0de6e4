"""Which provider the nodes of a model's graph really went to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segtool.errors import ProviderError
from segtool.runtime.providers import CPU

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
REFUSE_CPU = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True)
class Assignment:
    """How many nodes of a graph a provider runs; the CPU runs the rest.

    Attributes
    ----------
    nodes
        Those of the provider.
    total
        All of the graph.
    """

    nodes: int
    total: int

    @property
    def share(self) -> float:
        """The provider's part of the nodes, 0..1."""
        return self.nodes / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.nodes} of {self.total} nodes"


def records_assignment(session: Any) -> bool:
    """Tell whether this onnxruntime says where nodes went (since 1.24)."""
    return hasattr(session, "get_provider_graph_assignment_info")


def assignment_of(session: Any, provider: str) -> Assignment:
    """Return how many nodes a provider has, of a session that was made with `RECORD_ASSIGNMENT`."""
    parts = [(part.ep_name, len(part.get_nodes())) for part in session.get_provider_graph_assignment_info()]
    return Assignment(sum(count for name, count in parts if name == provider), sum(count for _, count in parts))


def refuse_fallback(session: Any, provider: str, *, why: str = "") -> None:
    """Refuse a session that onnxruntime quietly made without the provider.

    Parameters
    ----------
    session
        The onnxruntime.InferenceSession.
    provider
        What was asked for.
    why
        What onnxruntime wrote into its log about it.

    Raises
    ------
    ProviderError
        The provider is not among those of the session.
    """
    started = session.get_providers()
    if provider not in started:
        reason = why or "its libraries or its device are missing, see `segtool doctor`"
        raise ProviderError(
            f"{provider} does not start and onnxruntime fell back to {', '.join(started)} ({reason}); "
            "mend that, or use --provider cpu."
        )


def refuse_nothing_to_do(assignment: Assignment | None, provider: str) -> None:
    """Refuse a provider that started and was given no node of the graph.

    Raises
    ------
    ProviderError
        It has none.
    """
    if provider != CPU and assignment is not None and assignment.nodes == 0:
        raise ProviderError(
            f"{provider} starts but leaves every node of this model to the CPU (it has {assignment}); "
            "use --provider cpu, or another file."
        )
