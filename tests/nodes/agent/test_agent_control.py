"""What agent and supervisor say to each other arrives, also when one of them ends in the middle of it."""

from __future__ import annotations

import socket

from testbed.nodes.agent.control import hear, tell


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_messages_arrive_one_by_one() -> None:
    supervisor, agent = pair()
    with supervisor, agent:
        tell(agent, "strike", 3, 17)
        tell(agent, "crash", "a reason of several words")
        assert hear(supervisor) == ["strike", "3", "17"]
        assert hear(supervisor) == ["crash", "a", "reason of several words"]


def test_the_end_of_an_agent_that_left_a_message_unread_is_an_end_like_any_other() -> None:
    """The kernel answers with ECONNRESET then, once, and before what the agent had said last."""
    supervisor, agent = pair()
    with supervisor:
        tell(supervisor, "alive")
        tell(agent, "crash", "out", "of memory")
        agent.close()
        assert hear(supervisor) == ["crash", "out", "of memory"]
        assert hear(supervisor) == [""]


def test_what_is_told_to_somebody_who_is_gone_is_lost() -> None:
    supervisor, agent = pair()
    with supervisor:
        agent.close()
        tell(supervisor, "go", 0)
        assert hear(supervisor) == [""]
