"""What every engine owes: all that the registry finds are tested, so that a new folder is tested by itself."""

from __future__ import annotations

import importlib.util
import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from builders import engine, node_config
from log_worlds import wrong_in_logs, wrong_when_deposed
from network import Network
from storm import W
from worlds import CALM_NS, counts, hunts, storm, wrong_in_storm, wrong_in_time

from testbed.engines.sim import SimEngine
from testbed.explore.model import all_pairs
from testbed.nodes.consensus.spec import INSTANCES, PARTIAL, EngineSpec
from testbed.nodes.core import Decide, Effect, Effects, Life, Machine, Outcome, Propose, Resolve, SetTimer, swap_id
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import VALUES, Lied, LieKind
from testbed.nodes.core.record import Noted
from testbed.nodes.core.segmented import Segmented
from testbed.nodes.core.snapshot import snapshot
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import Kind, Message
from testbed.nodes.registry import build_machine, engine_specs, member
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge

ROOM = Path(__file__).resolve().parents[1]
SPECS = engine_specs()
every_engine = pytest.mark.parametrize("spec", SPECS, ids=[spec.name for spec in SPECS])
DECIDING = [spec for spec in SPECS if spec.decides]
deciding = pytest.mark.parametrize("spec", DECIDING, ids=[spec.name for spec in DECIDING])
IN_INSTANCES = [spec for spec in DECIDING if spec.order == INSTANCES]
KEEPING_A_LOG = [spec for spec in DECIDING if spec.keeps_a_log]
keeping_a_log = pytest.mark.parametrize("spec", KEEPING_A_LOG, ids=[spec.name for spec in KEEPING_A_LOG])
in_instances = pytest.mark.parametrize("spec", IN_INSTANCES, ids=[spec.name for spec in IN_INSTANCES])
PITFALLS = [(spec, pitfall) for spec in SPECS for pitfall in spec.pitfalls]


# -- the contract ------------------------------------------------------------------------------------------------------


class Recorded:
    """A machine under observation: what it was told, and what it answered. The log is kept apart from its state."""

    def __init__(self, config: NodeConfig, logs: list[list[tuple[str, tuple[Any, ...], Effects]]]) -> None:
        self.config = config
        self.machine: Any = build_machine(config)
        self.place = len(logs)
        logs.append([])
        LOGS[id(logs)] = logs
        self.logs = id(logs)

    def _told(self, method: str, *args: Any) -> Effects:
        effects: Effects = getattr(self.machine, method)(*args)
        LOGS[self.logs][self.place].append((method, args, list(effects)))
        return effects

    def on_start(self, *args: Any) -> Effects:
        return self._told("on_start", *args)

    def on_message(self, *args: Any) -> Effects:
        return self._told("on_message", *args)

    def on_timer(self, *args: Any) -> Effects:
        return self._told("on_timer", *args)


LOGS: dict[int, list[list[tuple[str, tuple[Any, ...], Effects]]]] = {}


@every_engine
def test_equal_states_answer_equal_events_with_equal_effects_and_nothing_else(spec: EngineSpec) -> None:
    """What a machine answered in storms, another that is told the same answers again, and ends in the same state."""
    answered = 0
    for seed in range(3):
        logs: list[list[tuple[str, tuple[Any, ...], Effects]]] = []
        born: list[Recorded] = []

        def build(config: NodeConfig, logs: Any = logs, born: Any = born) -> Machine:
            born.append(Recorded(config, logs))
            return born[-1]

        raged = storm(spec, build, seed)
        last = {node.machine.place: node.machine for node in raged.nodes}
        for place, log in enumerate(logs):
            again: Any = build_machine(born[place].config)
            for method, args, effects in log:
                assert getattr(again, method)(*args) == effects
                assert all(isinstance(effect, get_args(Effect)) for effect in effects)
                answered += len(effects)
            if place in last:
                assert snapshot(again) == snapshot(last[place].machine)
                assert hash(snapshot(again)) == hash(snapshot(last[place].machine))
    assert answered > 100


def config_of(spec: EngineSpec, n: int = 3) -> NodeConfig:
    """Node 0 of three."""
    return node_config(0, n, window_ns=W, period_ns=W, retry_ns=100, **counts(spec, 2, min(spec.most_f(n), n - 1)))


def begin(spec: EngineSpec) -> Machine:
    """A machine in its first round or instance."""
    machine = build_machine(config_of(spec))
    first = machine.on_start(-1, {})
    for effect in first:
        if isinstance(effect, SetTimer):
            machine.on_timer(effect.name, max(0, effect.at_ns))
    return machine


@every_engine
def test_messages_of_any_content_do_no_harm(spec: EngineSpec) -> None:
    """Whatever the peers say, the answers are effects of the contract; what is no message of the engine is none."""
    own, foreign = (Kind.SWAP, Kind.DATA) if spec.made_of_swaps else (Kind.DATA, Kind.SWAP)
    rng = random.Random(spec.name)
    machine, stranger = begin(spec), begin(spec)
    for count in range(3000):
        content = (rng.choice((0, 0, 1, 2, 99)), rng.randrange(7), rng.randbytes(16), rng.randrange(256))
        life = Life(1 + count // 1000, rng.randint(0, 2))  # the driver lets no earlier life through
        effects = machine.on_message(rng.randrange(2), Message(own, *content), life, count)
        assert all(isinstance(effect, get_args(Effect)) for effect in effects)
        strange = stranger.on_message(rng.randrange(2), Message(foreign, *content), life, count)
        assert not any(isinstance(effect, Decide | Resolve) for effect in strange)
    snapshot(machine)


@every_engine
def test_a_timer_that_comes_late_or_again_does_no_harm(spec: EngineSpec) -> None:
    machine = build_machine(config_of(spec))
    named = {effect.name for effect in machine.on_start(-1, {}) if isinstance(effect, SetTimer)}
    proposals = 0
    for at_ns in (0, 0, 3 * W // 2, 3 * W // 2, 40 * W):
        for name in sorted(named):
            effects = machine.on_timer(name, at_ns)
            named |= {effect.name for effect in effects if isinstance(effect, SetTimer)}
            proposals += sum(isinstance(effect, Propose) and effect.instance == 0 for effect in effects)
    assert proposals == spec.decides, "an instance begins once, an input is submitted once"


# -- proposals come from outside ---------------------------------------------------------------------------------------


class Held:
    """Three nodes whose engines are proposed to by the test alone. Instances that occupy rounds begin by the clock."""

    def __init__(self, spec: EngineSpec, instances: int = 3) -> None:
        self.spec = spec
        counted = counts(spec, instances, 1)
        protocol = ProtocolConfig(window_ns=W, period_ns=W + 200, retry_ns=300, **counted)
        self.net = Network(all_pairs(3, protocol), build=lambda config: Segmented(spec.build(config, ())))
        self.net.shows = frozenset(("propose", "decide", "note"))
        for name in self.net.nodes:
            self.net.start(name)
        self.length_ns = protocol.instance_rounds * protocol.period_ns

    def propose(self, node: int, instance: int, number: int) -> None:
        held = self.net.nodes[f"n{node}"]
        held._do(engine(held.machine).propose(instance, of_int(number), self.net.now_ns))

    def play(self, instances: int) -> list[str]:
        """Until so many instances have had their time; what was told."""
        self.net.play(instances * self.length_ns - 1 if self.spec.made_of_swaps else 100 * W * instances, 10)
        told, self.net.told = self.net.told, []
        return [line.strip() for line in told if line.startswith("  ")]


@in_instances
def test_an_engine_makes_up_no_value_and_waits_for_none_of_an_instance_that_nobody_begins(spec: EngineSpec) -> None:
    held = Held(spec)
    assert held.play(3) == []


@in_instances
def test_what_is_proposed_from_outside_is_decided_everywhere_and_in_any_order_of_instances(spec: EngineSpec) -> None:
    held = Held(spec)
    for node, instance in ((2, 1), (1, 0), (0, 1), (2, 0), (1, 1), (0, 0)):
        held.propose(node, instance, instance ^ 1)
    told = held.play(2)
    for instance in (0, 1):
        assert told.count(f"propose {instance ^ 1} in instance {instance}") == 3
        assert sum(line.startswith(f"decide {instance ^ 1} in instance {instance},") for line in told) == 3
    assert len(told) == 12


@in_instances
def test_one_that_comes_again_or_after_the_decision_is_late_and_changes_nothing(spec: EngineSpec) -> None:
    held = Held(spec)
    for node in range(3):
        held.propose(node, 0, 1)
        before = snapshot(engine(held.net.nodes[f"n{node}"].machine))
        held.propose(node, 0, 0)
        assert snapshot(engine(held.net.nodes[f"n{node}"].machine)) == before
    told = held.play(1)
    assert sum(line.startswith("note late") for line in told) == 3
    assert {line.split(",")[0] for line in told if line.startswith("decide")} == {"decide 1 in instance 0"}
    for instance in (0, 99):
        held.propose(0, instance, 0)
    assert [line.split(":")[0] for line in held.play(2)] == ["note late", "note late"]


@in_instances
def test_an_instance_in_which_others_are_or_whose_round_is_due_waits_for_a_proposal(spec: EngineSpec) -> None:
    """Who is silent in it holds nobody up but itself; what the others said meanwhile is heard when it speaks."""
    held = Held(spec)
    absent = engine(held.net.nodes["n2"].machine)
    assert absent.awaits(-1) is None
    if spec.made_of_swaps:
        assert absent.awaits(0) == 0
        absent.propose(0, of_int(1), 0)
        assert absent.awaits(0) is None
        return
    for node in (0, 1):
        held.propose(node, 0, 1)
    assert sum(line.startswith("decide 1") for line in held.play(1)) == 2
    assert absent.awaits(held.net.now_ns) == 0
    held.propose(2, 0, 0)
    assert absent.awaits(held.net.now_ns) is None
    assert sum(line.startswith("decide 1") for line in held.play(2)) == 1


@in_instances
def test_a_restart_tells_again_what_the_disk_kept_and_without_it_stays_out(spec: EngineSpec) -> None:
    for state in State:
        held = Held(spec)
        if not spec.made_of_swaps:
            held.net.play(0, 1)
        for node in range(3):
            held.propose(node, 0, 1)
        if spec.made_of_swaps:
            held.net.play(0, 1)
        held.net.told = []
        held.net.crash("n2")
        held.net.start("n2", state)
        again = [line.strip() for line in held.net.told if line.startswith("  propose")]
        assert again == ([] if state is State.LOST else ["propose 1 in instance 0"])
        held.play(1)
        held.propose(2, 1, 1)  # the first that this life is proposed to
        held.propose(2, 0, 0)
        assert any(line.startswith("note late") for line in held.play(2)), "of what came before it stays out"


# -- one log of all that is submitted ---------------------------------------------------------------------------------


@keeping_a_log
def test_what_is_submitted_anywhere_is_told_everywhere_in_one_order_and_what_is_read_is_not_old(
    spec: EngineSpec,
) -> None:
    """While parts lose each other, clocks drift, nodes die and come back, and logs are cut short."""
    for seed in range(12):
        assert wrong_in_logs(spec, lambda config: spec.build(config, ()), seed) == ""


@keeping_a_log
def test_a_leader_that_is_cut_off_and_does_not_know_it_tells_nothing_old(spec: EngineSpec) -> None:
    for seed in (1, 12):
        assert wrong_when_deposed(spec, lambda config: spec.build(config, ()), seed) == ""


@keeping_a_log
def test_a_log_without_submissions_tells_nothing(spec: EngineSpec) -> None:
    net = Network(all_pairs(3, ProtocolConfig(retry_ns=300)), build=lambda config: Segmented(spec.build(config, ())))
    net.shows = frozenset(("propose", "decide", "install"))
    for name in net.nodes:
        net.start(name)
    net.play(9_000, 10)
    assert net.told == []


@keeping_a_log
def test_a_state_that_stands_for_other_entries_than_were_told_is_refused(spec: EngineSpec) -> None:
    log: Any = spec.build(config_of(spec), ())
    log.on_start(-1, {})
    with pytest.raises(ValueError, match="a state of 1 entries can't stand for the 0 that were told"):
        log.compact(1, b"", 0)


# -- storms ------------------------------------------------------------------------------------------------------------


@every_engine
@pytest.mark.parametrize(
    "world",
    [
        {"loss": 0.0, "amnesias": 0, "strikes": 0.0},
        {"loss": 0.3, "amnesias": 0, "strikes": 0.0},
        {"loss": 0.05, "amnesias": 0, "strikes": 0.5},
        {"loss": 0.05, "amnesias": 1, "strikes": 0.5},
    ],
    ids=["doubled, late and damaged", "lost", "restarted with its state", "restarted without"],
)
def test_nothing_that_is_said_is_ever_taken_back(spec: EngineSpec, world: dict[str, Any]) -> None:
    """The storm's own assertions hold at every effect: what is resolved stays so, what is decided was proposed."""
    for seed in range(3):
        assert storm(spec, build_machine, seed, **world).now_ns == CALM_NS


@deciding
def test_an_indulgent_engine_agrees_in_every_storm_and_one_of_messages_decides_when_it_is_over(
    spec: EngineSpec,
) -> None:
    wrong = (wrong_in_storm(spec, build_machine, seed) for seed in range(10 if spec.indulgent else 300))
    assert any(wrong) == (not spec.indulgent), "what an engine does not promise, storms do break"


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not spec.decides], ids=lambda spec: spec.name)
def test_a_reconciling_fabric_that_has_healed_has_committed_every_swap(spec: EngineSpec) -> None:
    """Between two ends that have kept their state; and nobody asks any more."""
    for seed in range(15):
        calmed = storm(spec, build_machine, seed, horizon="reconcile")
        nodes = [node.config.node for node in calmed.steady]
        for round_ in range(calmed.protocol.rounds):
            for me in nodes:
                for peer in set(nodes) - {me}:
                    assert calmed.endings[me, 1, swap_id(round_, me, peer)] is Outcome.COMMITTED
        assert not any(link.in_doubt() for node in calmed.nodes for link in engine(node.machine).links)


# -- what it bears -----------------------------------------------------------------------------------------------------


@deciding
def test_with_as_many_crashes_as_it_bears_all_others_decide_alike_and_in_the_time_to_settle(spec: EngineSpec) -> None:
    for seed in range(60):
        assert wrong_in_time(spec, build_machine, seed) == ""


# -- what it says of itself --------------------------------------------------------------------------------------------


@every_engine
def test_its_parameters_come_back_from_a_scenario_and_from_json(spec: EngineSpec) -> None:
    own = asdict(spec.parameters())
    assert json.loads(json.dumps(own)) == own
    data = {"name": "x", "topology": {"kind": "star", "hosts": 3}, "protocol": {"consensus": spec.name}}
    plan = compile_plan(from_data(data))
    assert plan.protocol.parameters == own
    assert spec.parameters_of(plan.protocol) == spec.parameters()
    assert build_machine(plan.node_config("host1"))


def own_tests(spec: EngineSpec) -> Any:
    """The module of the engine's own tests, or an empty one. ``finds(pitfall)``: an exhaustive search, or a schedule by
    hand, for what chance hardly ever shows; of those in ``FOUND_HERE`` no other check need be tried."""
    file = ROOM / "consensus" / f"test_consensus_{spec.name}.py"
    found = importlib.util.spec_from_file_location(f"own_{spec.name}", file)
    if not file.exists() or found is None or found.loader is None:
        return object()
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("spec", "pitfall"), PITFALLS, ids=[f"{spec.name}-{pitfall}" for spec, pitfall in PITFALLS])
def test_a_pitfall_that_is_planted_is_found(spec: EngineSpec, pitfall: str) -> None:
    """By a check that the engine as it is passes: the tests of this suite are known to see."""

    def planted(config: NodeConfig) -> Machine:
        return member(config, (pitfall,))

    own = own_tests(spec)
    hunted = () if pitfall in getattr(own, "FOUND_HERE", ()) else hunts(spec)
    tried = ((check, seed) for check, seeds in hunted for seed in seeds)
    found = next(((check, seed) for check, seed in tried if check(spec, planted, seed)), None)
    if found is None:
        finds = getattr(own, "finds", lambda _: False)
        assert finds(pitfall), f"{pitfall} of {spec.name} shows in no check"
        return
    check, seed = found
    assert check(spec, build_machine, seed) == "", f"{check.__name__} fails in seed {seed} without the pitfall too"


# -- lies --------------------------------------------------------------------------------------------------------------


@every_engine
@pytest.mark.parametrize("kind", list(LieKind))
def test_whatever_one_node_lies_the_others_stay_sound_in_form(spec: EngineSpec, kind: LieKind) -> None:
    """They take nothing back and fail in nothing; what is false is well-formed, and no stray to anybody."""
    more = {LieKind.WITHHOLD: {"to": ["host3", "host4"]}, LieKind.DELAY: {"by": "150us"}}.get(kind, {})
    counted = {"rounds": 12} if spec.made_of_swaps else {"instances": 6}
    data = {
        "name": "lies",
        "topology": {"kind": "star", "hosts": 5},
        "links": {"default": {"delay": "10us", "jitter": "2us"}},
        "protocol": {
            "consensus": spec.name,
            "window": "300us",
            "retry": "100us",
            "f": min(1, spec.most_f(5)),
            **counted,
        },
        "lies": [{"kind": kind.value, "on": "host1", **more}],
    }
    if spec.leads:  # old things are those of a term before; who leads first is host1, or soon another one
        data["faults"] = [{"at": "600us", "do": "nic_mute", "on": "host[12]", "for": "2ms"}]
    if spec.order == PARTIAL:  # .. or of a ballot before: host1 is next in line for what host5 has begun
        data["faults"] = [{"at": "615us", "do": "node_kill", "on": "host5"}]
    plan = compile_plan(from_data(data))
    history = SimEngine().run(plan)
    assert kind in spec.lies
    assert history.events.count(Lied) > 0
    decided: dict[tuple[str, int], bytes] = {}
    for event in history.events.of_kind(Decide, Noted):
        what = event.what
        if isinstance(what, Decide):
            assert decided.setdefault((event.node, what.instance), what.value) == what.value
        elif isinstance(what, Noted) and kind in VALUES:
            assert what.what != "stray"
    assert judge(plan, history).fidelity.reasons == ()


@every_engine
def test_what_is_false_says_something_else_and_the_same_each_time(spec: EngineSpec) -> None:
    """In storms as they are: every message that tells a value has another, which the engine's own words tell apart."""
    told = 0
    assert spec.falsify is not None
    plan = compile_plan(
        from_data(
            {
                "name": "honest",
                "topology": {"kind": "star", "hosts": 4},
                "protocol": {"consensus": spec.name, "rounds" if spec.made_of_swaps else "instances": 3},
            }
        )
    )
    config = plan.node_config("host1")
    said: list[Message] = []

    class Hearing:
        def __init__(self, config: NodeConfig) -> None:
            self.machine = build_machine(config)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.machine, name)

        def on_message(self, port: int, message: Message, life: Life, now_ns: int) -> Effects:
            said.append(message)
            return self.machine.on_message(port, message, life, now_ns)

    SimEngine(build=Hearing).run(plan)
    for message in said:
        false = spec.falsify(config, message, 1)
        if false is not None:
            told += 1
            assert false == spec.falsify(config, message, 1)
            assert false._replace(body=message.body) == message
            assert len(false.body) == len(message.body)
            assert spec.says(false) != spec.says(message)
    assert told > 0


@keeping_a_log
def test_that_something_was_submitted_is_told_before_any_of_it_is_on_a_disk(spec: EngineSpec) -> None:
    """A life may end between any two effects: none may leave an entry behind that nobody has submitted. Found by
    random schedules in which the life of a leader ended there (make soak)."""
    (config,) = all_pairs(1, ProtocolConfig(consensus=spec.name, retry_ns=1000, f=0))
    machine = spec.build(replace(config, keeps=True), ())
    effects, now_ns = machine.on_start(0, {}), 0
    while machine.leader() != config.node:
        first = min((one for one in effects if isinstance(one, SetTimer)), key=lambda one: one.at_ns)
        effects, now_ns = machine.on_timer(first.name, first.at_ns), first.at_ns
    effects = machine.submit(b"value", now_ns)
    assert effects[0] == Propose(0, b"value")
    assert any(isinstance(effect, Decide) for effect in effects)  # it is alone
