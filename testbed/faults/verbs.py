"""The verbs of a scenario's ``faults``: what each strikes, how it is undone, and what it means in every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. atomic: the plan's verb that carries it out; undo: the plan's verb that ends it ("" = nothing does).
    example: an order of it, as a line of text. needs: settings of which one has to be said."""

    name: str
    strikes: Literal["node", "nic", "links", "link", "switch", "fabric"]
    atomic: str
    undo: str
    meaning: str
    example: str
    needs: tuple[str, ...] = ()


_ALL = (
    Verb(
        "nic_down",
        "nic",
        "nic_down",
        "nic_up",
        "the carrier is lost, and with it the frames on the wire, both ways",
        "at 10ms nic_down host3 for 2ms",
    ),
    Verb("nic_up", "nic", "nic_up", "", "the carrier comes back", "at 12ms nic_up host3"),
    Verb(
        "nic_mute",
        "nic",
        "nic_mute",
        "nic_unmute",
        "drops what it would send and what arrives; the carrier stays",
        "at 10ms nic_mute host3 for 2ms",
    ),
    Verb(
        "nic_half",
        "nic",
        "nic_half",
        "nic_unmute",
        "as nic_mute, in one direction (tx or rx, seen from the NIC)",
        "at 10ms nic_half host3 tx for 2ms",
    ),
    Verb("nic_unmute", "nic", "nic_unmute", "", "ends nic_mute and nic_half", "at 12ms nic_unmute host3"),
    Verb(
        "nic_deaf",
        "nic",
        "nic_deaf",
        "nic_hear",
        "drops what arrives from some hosts (to:), whenever it was sent",
        "at 10ms nic_deaf host3 to host1 for 2ms",
    ),
    Verb(
        "nic_hear",
        "nic",
        "nic_hear",
        "",
        "ends nic_deaf to some hosts (to:), or to all",
        "at 12ms nic_hear host3 to host1",
    ),
    Verb(
        "partition",
        "nic",
        "nic_deaf",
        "nic_hear",
        "hosts of different groups, and of none in common, are deaf to each other",
        "at 10ms partition host1,host2 | host3,host4 for 2ms",
    ),
    Verb(
        "heal", "nic", "nic_hear", "", "ends every partition: the hosts (default: all) hear everybody", "at 12ms heal"
    ),
    Verb(
        "flap",
        "nic",
        "nic_down",
        "nic_up",
        "the carrier is lost for: so long (default: half of every:), over and over",
        "from 5ms to 15ms flap host3 every 2ms for 1ms",
    ),
    Verb(
        "node_kill",
        "node",
        "node_kill",
        "node_restart",
        "the machine is gone; frames on the wire go on",
        "at 10ms node_kill host3 for 2ms state kept",
    ),
    Verb(
        "node_pause",
        "node",
        "node_pause",
        "node_resume",
        "handles nothing; frames and timers wait",
        "at 10ms node_pause host3 for 2ms",
    ),
    Verb("node_resume", "node", "node_resume", "", "ends node_pause", "at 12ms node_resume host3"),
    Verb(
        "node_slow",
        "node",
        "node_slow",
        "node_quick",
        "handles one thing after the other, each by: 20us longer",
        "at 10ms node_slow host3 by 20us for 2ms",
    ),
    Verb(
        "node_quick",
        "node",
        "node_quick",
        "",
        "ends node_slow; what waits is handled at once",
        "at 12ms node_quick host3",
    ),
    Verb(
        "node_restart",
        "node",
        "node_restart",
        "",
        "a new life with the next epoch and what is left of its state",
        "at 10ms node_restart host3 state unsynced_lost",
    ),
    Verb(
        "rolling_restart",
        "node",
        "node_kill",
        "node_restart",
        "one host after the other, every: so long, is down for:",
        "at 5ms rolling_restart host* every 3ms for 1ms",
    ),
    Verb(
        "churn",
        "node",
        "node_kill",
        "node_restart",
        "each host dies at random, after every: on average, and is down for:",
        "from 5ms to 15ms churn host3,host4 every 4ms for 1ms",
    ),
    Verb(
        "disk_full",
        "node",
        "disk_full",
        "disk_free",
        "what it persists fails, and with that its life ends",
        "at 10ms disk_full host3 for 2ms",
    ),
    Verb("disk_free", "node", "disk_free", "", "ends disk_full", "at 12ms disk_free host3"),
    Verb(
        "clock_step",
        "node",
        "clock_step",
        "clock_step",
        "its clock is set forward (by: 5us) or back (by: -5us)",
        "at 10ms clock_step host3 by -5us",
    ),
    Verb(
        "clock_drift",
        "node",
        "clock_drift",
        "clock_drift",
        "its clock gains (drift: 20ppm) or loses more",
        "at 10ms clock_drift host3 drift 20ppm",
    ),
    Verb(
        "link_down",
        "link",
        "link_down",
        "link_up",
        "the carrier is lost at both ends, and the frames on the wire",
        "at 10ms link_down links leaf1<->spine1 reroute 1ms for 5ms",
    ),
    Verb("link_up", "link", "link_up", "", "ends link_down", "at 12ms link_up links leaf1<->spine1"),
    Verb(
        "switch_kill",
        "switch",
        "switch_kill",
        "switch_restart",
        "all its links lose their carrier",
        "at 10ms switch_kill spine1 for 5ms",
    ),
    Verb(
        "switch_restart",
        "switch",
        "switch_restart",
        "",
        "ends switch_kill; it forwards as before",
        "at 15ms switch_restart spine1",
    ),
    Verb(
        "reroute",
        "fabric",
        "reroute",
        "",
        "switches forward around whatever is down at that instant",
        "at 11ms reroute",
    ),
    Verb(
        "jitter",
        "links",
        "impair",
        "unimpair",
        "other impairments on chosen links; what is queued stays",
        "at 10ms jitter links leaf*<->spine* jitter 100us for 5ms",
    ),
    Verb(
        "delay",
        "links",
        "impair",
        "unimpair",
        "jitter by another name: another delay",
        "at 10ms delay delay 1ms for 5ms",
        ("delay",),
    ),
    Verb(
        "loss",
        "links",
        "impair",
        "unimpair",
        "frames are lost, one by one or in bursts",
        "at 10ms loss loss 5% for 5ms",
        ("loss", "burst_loss"),
    ),
    Verb(
        "duplicate",
        "links",
        "impair",
        "unimpair",
        "frames come twice",
        "at 10ms duplicate duplicate 5% for 5ms",
        ("duplicate",),
    ),
    Verb(
        "corrupt",
        "links",
        "impair",
        "unimpair",
        "a bit of a frame flips; who reads it drops it",
        "at 10ms corrupt corrupt 5% for 5ms",
        ("corrupt",),
    ),
    Verb(
        "rate_limit",
        "links",
        "impair",
        "unimpair",
        "frames queue for a rate",
        "at 10ms rate_limit rate 10mbit for 5ms",
        ("rate",),
    ),
    Verb(
        "unimpair",
        "links",
        "unimpair",
        "",
        "gives links back what the scenario says of them",
        "at 15ms unimpair links leaf*<->spine*",
    ),
)

VERBS: dict[str, Verb] = {verb.name: verb for verb in _ALL}


@dataclass(frozen=True, slots=True)
class Deed:
    """What carries an atomic verb out. sim: on the simulator's event queue; kernel: on a real kernel, by live on the
    host's and by vkernel on its own, in virtual time."""

    sim: str
    kernel: str


_IMPAIRED = Deed(
    "the direction draws from the new settings, under a seed of its own, from that instant on; what is in its queue "
    "keeps the instants drawn for it",
    "`tc qdisc change` of the direction's netem, by netlink; what is queued stays queued",
)
_AS_NIC_DOWN = Deed(
    "each link goes down at its end at a switch (else at its second end), and the other end has no carrier: what is on "
    "it and in its queues is dropped as `cut`, what is sent into it vanishes",
    "`ip link set down` of the same ends; queues are emptied before the next event",
)
_ENDS_IT = Deed("the interfaces are as before; what was lost stays lost", "the NIC goes up again; frames pass at once")

DEEDS: dict[str, Deed] = {
    "nic_down": Deed(
        "the NIC is down: what is on its link, both ways, and in both queues is dropped as `cut`, and so is what "
        "is sent until it is up",
        "`ip link set down`: the queues of both ends are emptied, sends at the NIC fail with ENETDOWN, what the other "
        "end sends vanishes without an error; forwarding stays",
    ),
    "nic_up": Deed(
        "the NIC is up; it draws on where it was", "`ip link set up`, with the same addresses and forwarding"
    ),
    "nic_mute": Deed(
        "what the NIC sends is dropped as `mute` before it draws a delay, what arrives is dropped on arrival; what is "
        "on the wire goes on",
        "a filter that drops (cls_bpf, else matchall) at the NIC's exit before netem, and at its entry; captures still "
        "see what arrives",
    ),
    "nic_half": Deed("as nic_mute, for what is sent (tx) or what arrives (rx)", "one of nic_mute's two filters"),
    "nic_unmute": Deed("both directions pass again", "the filters are removed"),
    "nic_deaf": Deed(
        "what arrives from these hosts is dropped by its source, whenever it was sent",
        "a filter (cls_bpf) at the NIC's entry for each of their addresses; captures still see the frames",
    ),
    "nic_hear": Deed("frames from these hosts are taken again", "the filters of their addresses are removed"),
    "node_kill": Deed(
        "the life ends between two effects: its timers and what waits for it are gone, what it sent goes on",
        "SIGKILL to the node's process, whose socket goes with it",
    ),
    "node_pause": Deed(
        "frames and timers that become due wait, up to 4,096 frames at a NIC",
        "SIGSTOP to the node's process; frames wait in the ring of its NIC, 4,096 of them",
    ),
    "node_resume": Deed("what waits is handled in the order in which it became due", "SIGCONT to the node's process"),
    "node_slow": Deed(
        "one server with one queue: each frame and timer is handled so much later than it came, or than the "
        "last one was",
        "the same in the node's process, by a timer for each",
    ),
    "node_quick": Deed("what waits is handled at once, and what comes from then on too", "the same"),
    "node_restart": Deed(
        "a living node dies; a fresh machine of the next epoch is given what `state:` leaves of the disk",
        "a living node's process is killed; the next one is started, and given what `state:` leaves of its disk, which "
        "is memory that outlives it",
    ),
    "disk_full": Deed("the next thing that the node persists ends its life, `disk full`", "the same, of its memory"),
    "disk_free": Deed("there is room again", "the same"),
    "clock_step": Deed("the node's own clock is set; timers not due yet move with it", "the same, told to its process"),
    "clock_drift": Deed("the node's own clock gains so much more", "the same, told to its process"),
    "link_down": _AS_NIC_DOWN,
    "link_up": _ENDS_IT,
    "switch_kill": _AS_NIC_DOWN,
    "switch_restart": _ENDS_IT,
    "reroute": Deed(
        "all switches forward by the new shortest paths from that instant on, also what is on its way",
        "entries of the bridges' tables are replaced, by netlink",
    ),
    "impair": _IMPAIRED,
    "unimpair": _IMPAIRED,
}
"""What each engine does, by the plan's verb."""
