"""The verbs of a scenario's ``faults``: what each strikes, how it is undone, and what it means in every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. atomic: the plan's verb that carries it out; undo: the plan's verb that ends it ("" = nothing does).
    needs: settings of which one has to be said."""

    name: str
    strikes: Literal["node", "nic", "links", "link", "switch", "fabric"]
    atomic: str
    undo: str
    meaning: str
    needs: tuple[str, ...] = ()


_ALL = (
    Verb("nic_down", "nic", "nic_down", "nic_up", "the carrier is lost, and with it the frames on the wire, both ways"),
    Verb("nic_up", "nic", "nic_up", "", "the carrier comes back"),
    Verb("nic_mute", "nic", "nic_mute", "nic_unmute", "drops what it would send and what arrives; the carrier stays"),
    Verb("nic_half", "nic", "nic_half", "nic_unmute", "as nic_mute, in one direction (tx or rx, seen from the NIC)"),
    Verb("nic_unmute", "nic", "nic_unmute", "", "ends nic_mute and nic_half"),
    Verb("nic_deaf", "nic", "nic_deaf", "nic_hear", "drops what arrives from some hosts (to:), whenever it was sent"),
    Verb("nic_hear", "nic", "nic_hear", "", "ends nic_deaf to some hosts (to:), or to all"),
    Verb(
        "partition",
        "nic",
        "nic_deaf",
        "nic_hear",
        "hosts of different groups, and of none in common, are deaf to each other",
    ),
    Verb("heal", "nic", "nic_hear", "", "ends every partition: the hosts (default: all) hear everybody"),
    Verb(
        "flap", "nic", "nic_down", "nic_up", "the carrier is lost for: so long (default: half of every:), over and over"
    ),
    Verb("node_kill", "node", "node_kill", "node_restart", "the machine is gone; frames on the wire go on"),
    Verb("node_pause", "node", "node_pause", "node_resume", "handles nothing; frames and timers wait"),
    Verb("node_resume", "node", "node_resume", "", "ends node_pause"),
    Verb("node_slow", "node", "node_slow", "node_quick", "handles one thing after the other, each by: 20us longer"),
    Verb("node_quick", "node", "node_quick", "", "ends node_slow; what waits is handled at once"),
    Verb("node_restart", "node", "node_restart", "", "a new life with the next epoch and what is left of its state"),
    Verb(
        "rolling_restart", "node", "node_kill", "node_restart", "one host after the other, every: so long, is down for:"
    ),
    Verb(
        "churn",
        "node",
        "node_kill",
        "node_restart",
        "each host dies at random, after every: on average, and is down for:",
    ),
    Verb("disk_full", "node", "disk_full", "disk_free", "what it persists fails, and with that its life ends"),
    Verb("disk_free", "node", "disk_free", "", "ends disk_full"),
    Verb("clock_step", "node", "clock_step", "clock_step", "its clock is set forward (by: 5us) or back (by: -5us)"),
    Verb("clock_drift", "node", "clock_drift", "clock_drift", "its clock gains (drift: 20ppm) or loses more"),
    Verb("link_down", "link", "link_down", "link_up", "the carrier is lost at both ends, and the frames on the wire"),
    Verb("link_up", "link", "link_up", "", "ends link_down"),
    Verb("switch_kill", "switch", "switch_kill", "switch_restart", "all its links lose their carrier"),
    Verb("switch_restart", "switch", "switch_restart", "", "ends switch_kill; it forwards as before"),
    Verb("reroute", "fabric", "reroute", "", "switches forward around whatever is down at that instant"),
    Verb("jitter", "links", "impair", "unimpair", "other impairments on chosen links; what is queued stays"),
    Verb("delay", "links", "impair", "unimpair", "jitter by another name: another delay", ("delay",)),
    Verb("loss", "links", "impair", "unimpair", "frames are lost, one by one or in bursts", ("loss", "burst_loss")),
    Verb("duplicate", "links", "impair", "unimpair", "frames come twice", ("duplicate",)),
    Verb("corrupt", "links", "impair", "unimpair", "a bit of a frame flips; who reads it drops it", ("corrupt",)),
    Verb("rate_limit", "links", "impair", "unimpair", "frames queue for a rate", ("rate",)),
    Verb("unimpair", "links", "unimpair", "", "gives links back what the scenario says of them"),
)

VERBS: dict[str, Verb] = {verb.name: verb for verb in _ALL}
