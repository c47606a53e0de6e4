"""Find which provider runs the nodes of a model's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segtool.errors import ProviderError

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
REFUSE_CPU = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True)
class Assignment:
    """The number of nodes of a graph that a provider runs; the CPU runs the others.

    Attributes
    ----------
    nodes
        Number of nodes of the provider.
    total
        Number of all nodes of the graph.
    """

    nodes: int
    total: int

    @property
    def share(self) -> float:
        """The provider's fraction of the nodes, 0..1."""
        return self.nodes / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.nodes} of {self.total} nodes"


def assignment_of(session: Any, provider: str) -> Assignment | None:
    """Return the number of nodes of a provider in a session that was created with `RECORD_ASSIGNMENT`.

    It is None if this onnxruntime does not report it (before 1.24).

    Raises
    ------
    ProviderError
        The provider runs no node.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    parts = [(part.ep_name, len(part.get_nodes())) for part in session.get_provider_graph_assignment_info()]
    found = Assignment(sum(count for name, count in parts if name == provider), sum(count for _, count in parts))
    if found.nodes == 0:
        raise ProviderError(
            f"{provider} starts but leaves all nodes of this model to the CPU (it runs {found}); "
            "use --provider cpu, or another file."
        )
    return found


def refuse_fallback(session: Any, provider: str, *, why: str = "") -> None:
    """Refuse a session that onnxruntime silently created without the requested provider.

    Parameters
    ----------
    session
        The onnxruntime.InferenceSession.
    provider
        The requested provider.
    why
        The reason in the log of onnxruntime.

    Raises
    ------
    ProviderError
        The provider is not among those of the session.
    """
    started = session.get_providers()
    if provider not in started:
        reason = why or "its libraries or its device are missing; run `segtool doctor`"
        raise ProviderError(
            f"{provider} does not start and onnxruntime fell back to {', '.join(started)} ({reason}); "
            "fix this, or use --provider cpu."
        )
