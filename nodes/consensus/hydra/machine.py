"""Hydra on one node: its site's log, by Multi-Paxos, and the order of all sites' logs. See notes.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from testbed.nodes.consensus.hydra.merge import Entry, Merge, Site, parted, read_snapshot, skip, submitted, value_of
from testbed.nodes.consensus.hydra.messages import STEPS, Step, pack_entries, pack_known, read_entries, read_known
from testbed.nodes.consensus.hydra.pitfalls import Pitfall
from testbed.nodes.consensus.logs import pack_parts, read_parts
from testbed.nodes.consensus.multi_paxos.machine import DRIFT_PPM, PATIENCE, MultiPaxosMachine
from testbed.nodes.core import Decide, Effects, Install, Life, Note, Port, Propose, Send, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.frames import Kind, Message

SITES = 2
_GOSSIP = "gossip"
_MOST_TOLD = 64  # entries of a site in one message


class HydraMachine:
    """One log (testbed.nodes.core.Log) of many sites' logs.

    What a member submits goes into its site's log, which ``paxos`` keeps among the site's members. Its leader tells the
    members of other sites what was decided there, and gives up turns of its site that others have taken already. Every
    retry_ns each node asks another, one after another, for what it lacks.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        sites: int = SITES,
        patience: int = PATIENCE,
        drift_ppm: int = DRIFT_PPM,
    ) -> None:
        self.config = config
        self.pitfalls = frozenset(pitfalls)
        self.patience = patience
        self.sites = parted(config.members, sites)
        self.site = next(number for number, members in enumerate(self.sites) if config.node in members)
        self.ports = config.member_ports()
        self.abroad = [node for node in self.ports if node not in self.sites[self.site]]
        self.paxos = MultiPaxosMachine(replace(config, members=self.sites[self.site]), (), patience, drift_ppm)
        self.merge = Merge([Site() for _ in self.sites])
        self.data = b""  # the latest snapshot, once there is one
        self.submitted = 0
        self.given_up = 0  # this life has asked for its site's turns below this one to be given up
        self.asked = config.members.index(config.node)  # how many questions it has put; not all begin with the same
        self.silent = 0  # questions since the order last went on

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """What is on the disk is the site's log; other sites' entries are told anew."""
        effects = self._hear(self.paxos.on_start(now_ns, disk), now_ns)
        return [*effects, self._await_gossip(now_ns)] if self.abroad else effects

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """Inside the site, or between sites."""
        src = self.config.peers[port].node
        if message.kind is not Kind.DATA or src not in self.ports or message.step not in STEPS:
            return self._hear(self.paxos.on_message(port, message, life, now_ns), now_ns)
        if message.step == Step.ENTRIES:
            return self._take_in(message, now_ns)
        if message.step == Step.STATE:
            return self._take_on(message.body) + self._go_on(now_ns)
        return self._answer(src, message)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``gossip``: ask the next. Others are the site's."""
        if name != _GOSSIP:
            return self._hear(self.paxos.on_timer(name, now_ns), now_ns)
        peers = list(self.ports)
        peer = peers[self.asked % len(peers)]
        self.asked += 1
        self.silent += 1
        effects: Effects = [self._await_gossip(now_ns), self._send(peer, Step.ASK, pack_known(self._known()))]
        if Pitfall.MERGE_SKIPS_SILENT_SITE in self.pitfalls and self.silent > self.patience:
            self._pass_over()
        return effects + self._go_on(now_ns)

    def submit(self, value: bytes, now_ns: int) -> Effects:
        """Into the site's log."""
        effects = self._hear(self.paxos.submit(submitted(value), now_ns), now_ns)
        if Pitfall.SITE_LEADER_CHANGES_VOTE in self.pitfalls and self.leader() == self.config.node:
            effects += self._tell_abroad(self.merge.sites[self.site].known, [Entry(self.paxos.term, submitted(value))])
        return effects

    def compact(self, index: int, state: bytes, now_ns: int) -> Effects:
        """The site keeps the snapshot in place of its log, with what has not had its turn yet."""
        if index != self.merge.told:
            raise ValueError(f"a state of {index} entries can't stand for the {self.merge.told} that were told")
        self.data = self.merge.snapshot(state).pack()
        own = self.merge.sites[self.site]
        held = own.entries if Pitfall.WAITING_FORGOTTEN not in self.pitfalls else []
        kept = pack_parts((self.data, pack_entries(self.site, own.start, held)))
        return self._hear(self.paxos.compact(self.paxos.told, kept, now_ns), now_ns)

    def read(self, number: int, mode: str, now_ns: int) -> Effects:  # noqa: ARG002 - as testbed.nodes.core.Log has it
        """No site knows what another has told its clients."""
        raise ValueError(f"an order of many sites can't be read by {mode}; enter what is read")

    def leader(self) -> int | None:
        """Who leads this node's site."""
        return self.paxos.leader()

    # -- the site's log ----------------------------------------------------------------------------------------------

    def _hear(self, effects: Effects, now_ns: int) -> Effects:
        """The site's effects as the holder may see them: what was decided there waits for its turn."""
        heard: Effects = []
        first, news = self.merge.sites[self.site].known, []
        for effect in effects:
            if isinstance(effect, Propose):
                value = value_of(effect.value)
                if value is not None:
                    heard.append(Propose(self.submitted, value))
                    self.submitted += 1
            elif isinstance(effect, Decide):
                entry = Entry(effect.round, effect.value)
                if self._extend(self.site, effect.instance, [entry]):
                    news.append(entry)
            elif isinstance(effect, Install):
                heard += self._restore(effect.state)
                first, news = self.merge.sites[self.site].known, []
            else:
                heard.append(effect)
        if news and self.leader() == self.config.node:
            heard += self._tell_abroad(first, news)
        return heard + self._go_on(now_ns)

    def _restore(self, kept: bytes) -> Effects:
        """What ``compact`` has put together."""
        parts = read_parts(kept)
        if parts is None or len(parts) != 2:
            return []
        effects, tail = self._take_on(parts[0]), read_entries(parts[1])
        if tail is not None:
            self._extend(*tail)
        return effects

    def _give_up(self, now_ns: int) -> Effects:
        """The leader gives up turns that another site has taken, while its own had nothing to say; one word at a time
        is on its way."""
        own = self.merge.sites[self.site]
        below = max(site.turns for site in self.merge.sites)
        if self.leader() != self.config.node or below <= own.turns or own.turns < self.given_up:
            return []
        self.given_up = below
        if Pitfall.SKIP_NOT_AGREED in self.pitfalls:
            said = Entry(self.paxos.term, skip(below))
            self._extend(self.site, own.known, [said])
            return self._tell_abroad(own.known - 1, [said]) + self._go_on(now_ns)
        return self._hear(self.paxos.submit(skip(below), now_ns), now_ns)

    # -- between sites -----------------------------------------------------------------------------------------------

    def _extend(self, site: int, first: int, entries: list[Entry]) -> int:
        """A part of a site's log, from its ``first`` entry on. How many of them are news."""
        if site >= len(self.sites) or first > self.merge.sites[site].known:
            return 0
        log = self.merge.sites[site]
        news = entries[log.known - first :]
        for entry in news:
            log.extend(entry)
        return len(news)

    def _take_in(self, message: Message, now_ns: int) -> Effects:
        read = read_entries(message.body)
        if read is None:
            return [Note("stray", message.round, "no entries of a site", message)]
        self._extend(*read)
        return self._go_on(now_ns)

    def _take_on(self, data: bytes) -> Effects:
        """Another's snapshot, or an earlier life's."""
        snapshot, told = read_snapshot(data, len(self.sites)), self.merge.told
        if snapshot is None or not self.merge.take_on(snapshot):
            return []
        self.data, self.silent = data, 0
        return [Install(snapshot.told, snapshot.state)] if snapshot.told > told else []

    def _answer(self, src: int, message: Message) -> Effects:
        """What the other lacks; and, if it has asked, what this node lacks."""
        theirs = read_known(message.body, len(self.sites))
        if theirs is None:
            return [Note("stray", message.round, "no word of each site", message)]
        sites = self.merge.sites
        effects: Effects = []
        if any(known < site.start for known, site in zip(theirs, sites, strict=True)):
            effects.append(self._send(src, Step.STATE, self.data))
        for number, (known, site) in enumerate(zip(theirs, sites, strict=True)):
            first = max(known, site.start)
            told = site.entries[first - site.start :][:_MOST_TOLD]
            if told:
                effects.append(self._send(src, Step.ENTRIES, pack_entries(number, first, told)))
        if message.step == Step.ASK and any(known > site.known for known, site in zip(theirs, sites, strict=True)):
            effects.append(self._send(src, Step.KNOWN, pack_known(self._known())))
        return effects

    def _tell_abroad(self, first: int, entries: list[Entry]) -> Effects:
        body = pack_entries(self.site, first, entries)
        return [self._send(node, Step.ENTRIES, body) for node in self.abroad]

    # -- the order ---------------------------------------------------------------------------------------------------

    def _go_on(self, now_ns: int) -> Effects:
        """Tell what has its turn."""
        effects: Effects = []
        while (entry := self.merge.next()) is not None:
            self.silent = 0
            effects.append(Decide(self.merge.told - 1, entry.said, entry.round))
        return effects + self._give_up(now_ns)

    def _pass_over(self) -> None:
        """For the pitfall: the turn is taken from whom nothing comes."""
        late = self.merge.sites[self.merge.place]
        if any(site.waiting for site in self.merge.sites) and self.merge.turn >= late.turns:
            late.before = self.merge.turn + 1
            late.ends = [max(end, late.before) for end in late.ends]

    # -- help --------------------------------------------------------------------------------------------------------

    def _known(self) -> list[int]:
        return [site.known for site in self.merge.sites]

    def _send(self, node: int, step: Step, body: bytes) -> Send:
        return Send(self.ports[node], Message(Kind.DATA, 0, step, body))

    def _await_gossip(self, now_ns: int) -> SetTimer:
        return SetTimer(_GOSSIP, now_ns + self.config.protocol.retry_ns)
