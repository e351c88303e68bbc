"""The sandbox: a small cluster and a shop on it, in one process on loopback, for drills, the demo and tests.

It speaks the part of the Kubernetes API that our actions use, with rollouts that take time and images that fail, and the shop's own HTTP
endpoint, whose latency and errors follow from traffic, ready Pods and their release. tests/sandbox holds it against a real control plane.
"""

from stopgap.drills.world.pods import Pace
from stopgap.drills.world.shop import Release
from stopgap.drills.world.world import World

__all__ = ["Pace", "Release", "World"]
