"""What the words of a report mean, in a sentence each; pages link to them."""

from __future__ import annotations

GLOSSARY = {
    "round": "The unit of time of the protocol: every two neighbours try one swap in it.",
    "swap": "A handshake by which two ends exchange their values: both get the other's, or neither does.",
    "bisynchrony": "What is claimed of a link: within the window both ends of each swap end alike, so that either both "
    "committed or both aborted. A round in which some swap does otherwise is broken.",
    "tentative": "An end has offered its own value and has heard nothing yet.",
    "reflecting": "An end holds the other end's value, has sent it back, and waits for what is left of the handshake.",
    "committed": "An end got the last message that it waits for, and holds the other end's value.",
    "aborted": "An end gave up at the horizon and keeps its value. Both aborted: atomic, but nothing was exchanged.",
    "in doubt": "The window is over, and an end can't know whether the other one committed: it waits.",
    "split": "One end committed and the other one aborted: what bisynchrony rules out.",
    "blocked": "An end had not ended when the window did, and waits.",
    "excluded": "An end was not alive from the round's start to its end; the swap is not judged.",
    "window": "The time from a round's start by which its swaps must have ended.",
    "horizon": "What an end does that has not got all messages when the window ends: abort, hold (wait), or reconcile "
    "(ask the other end).",
    "depth": "How many messages a handshake has.",
    "hop": "The interface at which a frame was lost or held up.",
    "instance": "One decision of consensus; swap engines take some rounds for each.",
    "everywhere": "An instance is decided everywhere when every member that lived through it decided in its time.",
    "later": "Every member that lived through the instance decided, but not all of them in its time.",
    "connected": "By all connected: by every member that lived through the instance, had a NIC that no fault touched "
    "in its time, and stood on the greatest side of a partition. Who was cut off is not waited for.",
    "disagree": "Two members decided different values in one instance.",
    "cut off": "The run ended before the instance's time did; it is neither decided nor undecided.",
    "fidelity": "Whether the measurement can be believed: the delays and losses that came about, held against those "
    "that were asked for.",
    "trusted": "All of that was checked, and nothing was off.",
    "would have shown": "The least deviation that so many frames show, all but once in a thousand times.",
    "quantile": "p99 is the delay that 99 in 100 frames did not exceed.",
    "interval": "Where the probability lies, at the confidence that is named: exact (Clopper–Pearson) for counts whose "
    "number of trials was fixed beforehand, else a confidence sequence, which holds whenever one stops.",
    "break point": "The least value of the swept parameter at which the probability crosses a given one.",
    "closed form": "The probability worked out from the distribution of delays, without any run.",
}


def anchor(term: str) -> str:
    """What its place on the page is called."""
    return f"term-{term.replace(' ', '-')}"
