-- A Wireshark dissector for the frames of docs/wire-format.md: swaps, rounds, messages and their parts, flags, lives.
--
--     tshark -X lua_script:nodes/frames/oae.lua -r frames.pcapng
--
-- or put it into Wireshark's folder of personal Lua plugins (Help > About > Folders). Filters: oae.round == 17,
-- oae.swap == "0-1 round 17", oae.kind == 3, oae.problem. For Lua 5.2 to 5.4, as Wireshark from 4.0 on comes with.

local ETHERTYPE, VERSION = 0x88b5, 2
local HEAD, CRC, BODY = 26, 4, 16 -- bytes: the header behind Ethernet's, the sum, what a slot carries
local LEAST = HEAD + BODY + CRC
local PART_HEAD = 8
local CARRIED_BODY = 30
local SWAP, DATA, RESET, PART, CARRIED = 1, 2, 3, 4, 5

local KINDS = { [SWAP] = "SWAP", [DATA] = "DATA", [RESET] = "RESET", [PART] = "PART", [CARRIED] = "CARRIED" }
local SERVICE_STEPS = { -- steps below 128 are the engine's own
    [130] = "request", [131] = "answer", [132] = "told", [133] = "ask", [134] = "entry", [135] = "state",
    [140] = "value", [141] = "held", [142] = "wanted", [143] = "given",
}

-- What stands in the bodies of whose messages: of each step its name and its items, and of an item its name, form, size,
-- the number that says how much of it there is, and what stands in it (testbed.nodes.core.layout).
-- >> written by testbed.report.dissector
local NUMBER_NAMES = { "adopted", "after", "at", "ballot", "bit", "chain", "chosen", "commit", "committed", "counter", "current", "early", "election", "end", "entry_life", "entry_place", "entry_rank", "epoch", "estimate", "heartbeat", "hint", "index", "input", "known", "led", "life", "mode", "needs", "node", "nonce", "normal", "number", "operation", "others", "phase", "place", "probe", "rank", "read", "round", "site", "size", "slot", "tag", "term", "view", "vote", "voted" }
local BYTES_NAMES = { "base", "entries", "entry", "lives", "log", "members", "nonce", "normal", "operations", "result", "seen", "slots", "state", "value" }
local ENTRY_HEAD = { { "entry_rank", 2 }, { "entry_life", 4 }, { "entry_place", 4 } }
local BODIES = {
    ben_or = {
        [1] = { "report", { { "round", "number", 4 }, { "bit", "number", 4 } } },
        [2] = { "proposal", { { "round", "number", 4 }, { "bit", "number", 4 } } },
    },
    chandra_toueg = {
        [1] = { "estimate", { { "round", "number", 4 }, { "adopted", "number", 4 }, { "value", "rest" } } },
        [2] = { "proposal", { { "round", "number", 4 }, { "adopted", "number", 4 }, { "value", "rest" } } },
        [3] = { "ack", { { "round", "number", 4 }, { "adopted", "number", 4 }, { "value", "rest" } } },
        [4] = { "nack", { { "round", "number", 4 }, { "adopted", "number", 4 }, { "value", "rest" } } },
        [5] = { "decide", { { "round", "number", 4 }, { "adopted", "number", 4 }, { "value", "rest" } } },
        [6] = { "round", { { "round", "number", 4 }, { "adopted", "number", 4 }, { "value", "rest" } } },
        [7] = { "alive", {} },
    },
    epaxos = {
        [1] = { "pre_accept", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [2] = { "pre_accepted", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [3] = { "accept", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [4] = { "accepted", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [5] = { "commit", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [6] = { "recover", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [7] = { "recovered", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [8] = { "validate", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [9] = { "validated", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [10] = { "waiting", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [11] = { "reject", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [12] = { "beat", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 }, { "number", "number", 1 }, { "voted", "number", 4 }, { "needs", "number", 2 }, { "others", "number", 2 }, { "needs", "repeat", 0, "needs", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "others", "repeat", 0, "others", { { "chain", "number", 2 }, { "rank", "number", 2 }, { "place", "number", 4 } } }, { "entry", "entry" } } },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
    fast_paxos = {
        [1] = { "offer", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [2] = { "any", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [3] = { "prepare", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [4] = { "promise", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [5] = { "accept", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [6] = { "accepted", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [7] = { "decide", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [8] = { "reject", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
    },
    floodset = {
        [0] = { "register", { { "early", "number", 4 }, { "estimate", "number", 4 }, { "", "pad", 8 } } },
    },
    hydra = {
        [1] = { "prepare", { { "slot", "number", 8 } } },
        [2] = { "promise", { { "slot", "number", 8 }, { "votes", "parts", 0, "", { { "slot", "number", 8 }, { "ballot", "number", 4 }, { "entry", "entry" } } } } },
        [3] = { "accept", { { "slot", "number", 8 }, { "chosen", "number", 8 }, { "entry", "entry" } } },
        [4] = { "accepted", { { "slot", "number", 8 } } },
        [5] = { "commit", { { "chosen", "number", 8 } } },
        [6] = { "beat", { { "chosen", "number", 8 }, { "led", "number", 4 }, { "heartbeat", "number", 4 } } },
        [7] = { "alive", { { "heartbeat", "number", 4 } } },
        [8] = { "reject", { { "ballot", "number", 4 } } },
        [9] = { "learn", { { "slot", "number", 8 } } },
        [10] = { "chosen", { { "slot", "number", 8 }, { "ballot", "number", 4 }, { "entry", "entry" } } },
        [11] = { "state", { { "base", "part", 0, "", { { "slot", "number", 8 }, { "index", "number", 8 } } }, { "seen", "part" }, { "state", "part" } } },
        [96] = { "known", { { "sites", "repeat", 0, "", { { "known", "number", 8 } } } } },
        [97] = { "ask", { { "sites", "repeat", 0, "", { { "known", "number", 8 } } } } },
        [98] = { "entries", { { "site", "number", 2 }, { "place", "number", 8 }, { "entries", "parts", 0, "", { { "ballot", "number", 4 }, { "value", "rest" } } } } },
        [99] = { "state", { { "state", "rest" } } },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
    ios = {
        [1] = { "prepare", { { "slot", "number", 8 } } },
        [2] = { "promise", { { "slot", "number", 8 }, { "votes", "parts", 0, "", { { "slot", "number", 8 }, { "ballot", "number", 4 }, { "entry", "entry" } } } } },
        [3] = { "accept", { { "slot", "number", 8 }, { "chosen", "number", 8 }, { "entry", "entry" } } },
        [4] = { "accepted", { { "slot", "number", 8 } } },
        [5] = { "commit", { { "chosen", "number", 8 } } },
        [6] = { "beat", { { "chosen", "number", 8 }, { "led", "number", 4 }, { "heartbeat", "number", 4 } } },
        [7] = { "alive", { { "heartbeat", "number", 4 } } },
        [8] = { "reject", { { "ballot", "number", 4 } } },
        [9] = { "learn", { { "slot", "number", 8 } } },
        [10] = { "chosen", { { "slot", "number", 8 }, { "ballot", "number", 4 }, { "entry", "entry" } } },
        [11] = { "state", { { "base", "part", 0, "", { { "slot", "number", 8 }, { "index", "number", 8 } } }, { "seen", "part" }, { "state", "part" } } },
        [12] = { "order", { { "slot", "number", 8 }, { "chosen", "number", 8 }, { "entry", "entry" } } },
        [13] = { "done", { { "slot", "number", 8 } } },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
    multi_paxos = {
        [1] = { "prepare", { { "slot", "number", 8 } } },
        [2] = { "promise", { { "slot", "number", 8 }, { "votes", "parts", 0, "", { { "slot", "number", 8 }, { "ballot", "number", 4 }, { "entry", "entry" } } } } },
        [3] = { "accept", { { "slot", "number", 8 }, { "chosen", "number", 8 }, { "entry", "entry" } } },
        [4] = { "accepted", { { "slot", "number", 8 } } },
        [5] = { "commit", { { "chosen", "number", 8 } } },
        [6] = { "beat", { { "chosen", "number", 8 }, { "led", "number", 4 }, { "heartbeat", "number", 4 } } },
        [7] = { "alive", { { "heartbeat", "number", 4 } } },
        [8] = { "reject", { { "ballot", "number", 4 } } },
        [9] = { "learn", { { "slot", "number", 8 } } },
        [10] = { "chosen", { { "slot", "number", 8 }, { "ballot", "number", 4 }, { "entry", "entry" } } },
        [11] = { "state", { { "base", "part", 0, "", { { "slot", "number", 8 }, { "index", "number", 8 } } }, { "seen", "part" }, { "state", "part" } } },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
    none = {
        [0] = { "register", { { "node", "number", 8 }, { "round", "number", 8 } } },
    },
    oae = {
        [0] = { "register", { { "tag", "number", 4 }, { "phase", "number", 4 }, { "vote", "number", 4 }, { "input", "number", 4 } } },
    },
    paxos = {
        [1] = { "prepare", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [2] = { "promise", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [3] = { "accept", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [4] = { "accepted", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [5] = { "decide", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
        [6] = { "reject", { { "ballot", "number", 4 }, { "voted", "number", 4 }, { "value", "rest" } } },
    },
    raft = {
        [1] = { "ask_vote", { { "at", "number", 8 }, { "term", "number", 4 } } },
        [2] = { "vote", {} },
        [3] = { "append", { { "at", "number", 8 }, { "term", "number", 4 }, { "commit", "number", 8 }, { "probe", "number", 4 }, { "entries", "repeat", 0, "", { { "term", "number", 4 }, { "size", "number", 4 }, { "entry", "sized", 0, "size", { { "entry", "entry" } } } } } } },
        [4] = { "appended", { { "at", "number", 8 }, { "hint", "number", 8 }, { "probe", "number", 4 } } },
        [5] = { "snapshot", { { "at", "number", 8 }, { "term", "number", 4 }, { "probe", "number", 4 }, { "size", "number", 4 }, { "members", "sized", 0, "size" }, { "state", "rest" } } },
        [6] = { "campaign", {} },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
    services = {
        [130] = { "request", { { "operations", "rest" } } },
        [131] = { "answer", { { "operation", "number", 8 }, { "result", "rest" } } },
        [132] = { "told", { { "operations", "rest" } } },
        [133] = { "ask", {} },
        [134] = { "entry", { { "operations", "rest" } } },
        [135] = { "state", { { "state", "rest" } } },
        [140] = { "value", { { "value", "rest" } } },
        [141] = { "held", {} },
        [142] = { "wanted", { { "rank", "number", 4 } } },
        [143] = { "given", { { "rank", "number", 4 }, { "value", "rest" } } },
    },
    vrr = {
        [1] = { "prepare", { { "slot", "number", 8 }, { "commit", "number", 8 }, { "view", "number", 4 }, { "entry", "entry" } } },
        [2] = { "prepare_ok", { { "end", "number", 8 }, { "probe", "number", 4 } } },
        [3] = { "commit", { { "end", "number", 8 }, { "commit", "number", 8 }, { "probe", "number", 4 } } },
        [4] = { "start_view_change", { { "lives", "repeat", 0, "", { { "life", "number", 4 } } } } },
        [5] = { "do_view_change", { { "normal", "part", 0, "", { { "normal", "number", 4 } } }, { "lives", "part", 0, "", { { "lives", "repeat", 0, "", { { "life", "number", 4 } } } } }, { "log", "part", 0, "", { { "slots", "part", 0, "", { { "after", "number", 8 }, { "commit", "number", 8 } } }, { "entries", "part", 0, "", { { "entries", "parts", 0, "", { { "view", "number", 4 }, { "entry", "entry" } } } } }, { "base", "part" } } } } },
        [6] = { "start_view", { { "slots", "part", 0, "", { { "after", "number", 8 }, { "commit", "number", 8 } } }, { "entries", "part", 0, "", { { "entries", "parts", 0, "", { { "view", "number", 4 }, { "entry", "entry" } } } } }, { "base", "part" } } },
        [7] = { "recovery", { { "nonce", "number", 4 }, { "lives", "repeat", 0, "", { { "life", "number", 4 } } } } },
        [8] = { "recovery_response", { { "nonce", "part", 0, "", { { "nonce", "number", 4 } } }, { "lives", "part", 0, "", { { "lives", "repeat", 0, "", { { "life", "number", 4 } } } } }, { "log", "part", 0, "", { { "slots", "part", 0, "", { { "after", "number", 8 }, { "commit", "number", 8 } } }, { "entries", "part", 0, "", { { "entries", "parts", 0, "", { { "view", "number", 4 }, { "entry", "entry" } } } } }, { "base", "part" } } } } },
        [9] = { "get_state", { { "after", "number", 8 } } },
        [10] = { "new_state", { { "slots", "part", 0, "", { { "after", "number", 8 }, { "commit", "number", 8 } } }, { "entries", "part", 0, "", { { "entries", "parts", 0, "", { { "view", "number", 4 }, { "entry", "entry" } } } } }, { "base", "part" } } },
        [11] = { "end_epoch", { { "end", "number", 8 }, { "lives", "repeat", 0, "", { { "life", "number", 4 } } } } },
        [12] = { "epoch_started", {} },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
    zab = {
        [1] = { "vote", { { "election", "number", 8 }, { "current", "number", 4 }, { "epoch", "number", 4 }, { "counter", "number", 8 }, { "end", "number", 8 }, { "rank", "number", 2 } } },
        [2] = { "cepoch", {} },
        [3] = { "newepoch", {} },
        [4] = { "ack_epoch", { { "current", "number", 4 }, { "epoch", "number", 4 }, { "counter", "number", 8 }, { "end", "number", 8 } } },
        [5] = { "newleader", { { "slot", "number", 8 }, { "epoch", "number", 4 }, { "counter", "number", 8 }, { "state", "part" }, { "transactions", "parts", 0, "", { { "epoch", "number", 4 }, { "counter", "number", 8 }, { "entry", "entry" } } } } },
        [6] = { "ack", { { "slot", "number", 8 } } },
        [7] = { "propose", { { "slot", "number", 8 }, { "committed", "number", 8 }, { "transactions", "parts", 0, "", { { "epoch", "number", 4 }, { "counter", "number", 8 }, { "entry", "entry" } } } } },
        [8] = { "commit", { { "committed", "number", 8 } } },
        [9] = { "ping", { { "committed", "number", 8 }, { "heartbeat", "number", 4 } } },
        [10] = { "pong", { { "heartbeat", "number", 4 } } },
        [112] = { "submit", { { "entry", "entry" } } },
        [113] = { "read", { { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
        [114] = { "read_at", { { "slot", "number", 8 }, { "life", "number", 4 }, { "read", "number", 8 }, { "mode", "number", 1 } } },
    },
}
-- << written by testbed.report.dissector

local oae = Proto("oae", "Open Atomic Ethernet (testbed)")
local f = {
    version = ProtoField.uint8("oae.version", "Version", base.DEC, nil, 0xf0),
    kind = ProtoField.uint8("oae.kind", "Kind", base.DEC, KINDS, 0x0f),
    step = ProtoField.uint8("oae.step", "Step"),
    service = ProtoField.string("oae.service", "Message of a service"),
    flags = ProtoField.uint8("oae.flags", "Flags", base.HEX),
    current = ProtoField.bool("oae.flags.current", "Body belongs to the current instance", 8, nil, 0x01),
    settled = ProtoField.bool("oae.flags.settled", "Sender asks about no earlier round any more", 8, nil, 0x02),
    again = ProtoField.bool("oae.flags.repeat", "Receiver is asked to repeat its message", 8, nil, 0x01),
    reserved = ProtoField.uint8("oae.reserved", "Reserved", base.HEX),
    length = ProtoField.uint16("oae.length", "Length of the body"),
    src = ProtoField.uint16("oae.src", "Sender"),
    src_name = ProtoField.string("oae.src.name", "Sender's name"),
    dst = ProtoField.uint16("oae.dst", "Receiver"),
    dst_name = ProtoField.string("oae.dst.name", "Receiver's name"),
    epoch = ProtoField.uint32("oae.epoch", "Sender's life"),
    peer_epoch = ProtoField.uint32("oae.peer_epoch", "Receiver's life as the sender knows it"),
    round = ProtoField.uint32("oae.round", "Round or instance"),
    seq = ProtoField.uint32("oae.seq", "Frame of this life"),
    swap = ProtoField.string("oae.swap", "Swap"),
    frame = ProtoField.string("oae.frame", "Transmission"),
    body = ProtoField.bytes("oae.body", "Body"),
    fill = ProtoField.bytes("oae.fill", "Fill"),
    crc = ProtoField.uint32("oae.crc", "CRC", base.HEX),
    crc_good = ProtoField.bool("oae.crc.good", "CRC is right"),
    padding = ProtoField.bytes("oae.padding", "Padding"),
    number = ProtoField.uint32("oae.part.message", "Message of this life that was cut"),
    place = ProtoField.uint16("oae.part.place", "Place, from 0"),
    parts = ProtoField.uint16("oae.part.parts", "Parts"),
    data = ProtoField.bytes("oae.part.data", "Part"),
    carried_kind = ProtoField.uint8("oae.carried.kind", "Kind of what is carried", base.DEC, KINDS),
    carried_src = ProtoField.uint16("oae.carried.src", "Sending end"),
    carried_dst = ProtoField.uint16("oae.carried.dst", "Receiving end"),
    carried_epoch = ProtoField.uint32("oae.carried.epoch", "Sending end's life"),
    carried_peer_epoch = ProtoField.uint32("oae.carried.peer_epoch", "Receiving end's life as the other knows it"),
    carried_body = ProtoField.bytes("oae.carried.body", "Body of what is carried"),
    message = ProtoField.bytes("oae.message", "Message, joined"),
    message_length = ProtoField.uint32("oae.message.length", "Length of the message"),
    joined_in = ProtoField.framenum("oae.message.joined_in", "Joined in", base.NONE),
    problem = ProtoField.string("oae.problem", "Problem"),
    says = ProtoField.string("oae.says", "Message of the engine"),
    engine = ProtoField.string("oae.engine", "Engine of consensus"),
    misfit = ProtoField.string("oae.misfit", "What does not fit the form of such a message"),
}
local number_fields, bytes_fields = {}, {} -- of bodies, by name
for _, name in ipairs(NUMBER_NAMES) do
    number_fields[name] = ProtoField.uint64("oae.body." .. name, name)
    table.insert(oae.fields, number_fields[name])
end
for _, name in ipairs(BYTES_NAMES) do
    bytes_fields[name] = ProtoField.bytes("oae.bytes." .. name, name)
    table.insert(oae.fields, bytes_fields[name])
end
oae.prefs.engine = Pref.string("Engine of consensus", "", "Whose messages these are, where a capture does not say it")
for _, field in pairs(f) do table.insert(oae.fields, field) end

local PROBLEMS = { -- a receiver drops such a frame and records this word
    short = "Shorter than a slot",
    corrupt = "The CRC, or the length, is not what was sent",
    version = "Unknown version",
    kind = "Unknown kind",
    length = "A SWAP or RESET has a body of 16 bytes",
}
local experts = {}
for word, text in pairs(PROBLEMS) do
    local group = word == "corrupt" and expert.group.CHECKSUM or expert.group.PROTOCOL
    experts[word] = ProtoExpert.new("oae." .. word, text, group, expert.severity.ERROR)
    table.insert(oae.experts, experts[word])
end

local eth_dst, eth_src = Field.new("eth.dst"), Field.new("eth.src")
local comments, described = Field.new("frame.comment"), Field.new("frame.interface_description")

-- -- CRC-32 of IEEE 802.3 ---------------------------------------------------------------------------------------------

-- Lua 5.3 and later have an operator, which would be an error of syntax to the earlier ones.
local xor = bit32 and bit32.bxor or load("return function(a, b) return a ~ b end")()
local byte_at = string.byte

local SUMS = {}
for byte = 0, 255 do
    local sum = byte
    for _ = 1, 8 do sum = sum % 2 == 1 and xor((sum - 1) / 2, 0xedb88320) or sum / 2 end
    SUMS[byte] = sum
end

local function crc32(text) -- most of a frame's time goes by here: two calls a byte, the rest in arithmetic
    local sum = 0xffffffff
    for at = 1, #text do
        local low = sum % 256
        sum = xor(SUMS[xor(low, byte_at(text, at))], (sum - low) / 256)
    end
    return xor(sum, 0xffffffff)
end

-- -- bodies by their forms ---------------------------------------------------------------------------------------------

local add_items -- calls itself, by way of the others

-- Each returns where what it has added ends, or nil when it does not fit before ``stop``.
local function add_number(name, size, tvb, at, stop, tree)
    if at + size > stop then return nil end
    tree:add(number_fields[name], tvb(at, size))
    return at + size
end

local function add_bytes(name, tvb, at, stop, tree)
    if at < stop then tree:add(bytes_fields[name], tvb(at, stop - at)) end
    return stop
end

local function add_entry(name, tvb, at, stop, tree)
    local head = 1
    for _, field in ipairs(ENTRY_HEAD) do head = head + field[2] end
    if at >= stop then return stop end
    if tvb(at, 1):uint() ~= 0 or at + head > stop then return add_bytes(name, tvb, at, stop, tree) end
    at = at + 1
    for _, field in ipairs(ENTRY_HEAD) do at = add_number(field[1], field[2], tvb, at, stop, tree) end
    return add_bytes("value", tvb, at, stop, tree)
end

local function add_whole(item, tvb, at, stop, limit, tree)
    if stop > limit then return nil end
    if not item[5] then return add_bytes(item[1], tvb, at, stop, tree) end
    if at == stop then return stop end
    local inside = tree:add(oae, tvb(at, stop - at), item[1])
    return add_items(item[5], tvb, at, stop, inside) == stop and stop or nil
end

local function add_part(item, tvb, at, stop, tree)
    if at + 4 > stop then return nil end
    return add_whole(item, tvb, at + 4, at + 4 + tvb(at, 4):uint(), stop, tree)
end

local function add_item(item, tvb, at, stop, tree, said)
    local name, form, size, of = item[1], item[2], item[3], item[4]
    if form == "number" then
        local ends = add_number(name, size, tvb, at, stop, tree)
        if ends and size <= 4 then said[name] = tvb(at, size):uint() end
        return ends
    elseif form == "pad" then
        return at + size <= stop and at + size or nil
    elseif form == "rest" then
        return add_bytes(name, tvb, at, stop, tree)
    elseif form == "entry" then
        return add_entry(name, tvb, at, stop, tree)
    elseif form == "sized" then
        return add_whole(item, tvb, at, at + said[of], stop, tree)
    elseif form == "part" then
        return add_part(item, tvb, at, stop, tree)
    elseif form == "parts" then
        while at and at < stop do at = add_part(item, tvb, at, stop, tree) end
        return at
    end
    local left = of ~= "" and said[of] -- form == "repeat"
    while at and (left and left > 0 or not left and at < stop) do
        at = add_items(item[5], tvb, at, stop, tree)
        if left then left = left - 1 end
    end
    return at
end

add_items = function(items, tvb, at, stop, tree)
    local said = {}
    for _, item in ipairs(items) do
        at = add_item(item, tvb, at, stop, tree, said)
        if not at then return nil end
    end
    return at
end

-- The engine whose messages these are: of a capture of the testbed's as the interface says it, else as was set.
local function engine_of()
    local about = described()
    return about and tostring(about):match(", consensus (%S+)$") or oae.prefs.engine
end

local function add_form(tvb, kind, step, tree, pinfo) -- no tvb: an empty body
    local engine = engine_of()
    local forms = kind == SWAP and BODIES[engine] or BODIES[step >= 128 and "services" or engine]
    local form = engine ~= "" and forms and forms[kind == SWAP and 0 or step]
    if not form then return end
    tree:add(f.engine, engine):set_generated()
    tree:add(f.says, form[1]):set_generated()
    pinfo.cols.info:append(" " .. form[1])
    local length = tvb and tvb:len() or 0
    if add_items(form[2], tvb, 0, length, tree) ~= length then
        tree:add(f.misfit, form[1]):set_generated()
    end
end

-- -- messages in parts ------------------------------------------------------------------------------------------------

local joining -- sender, its life, receiver, number -> {count, left, [place] = bytes}
local joined -- the same -> {frame in which the last part came, the message}

local names -- of nodes, by number

function oae.init()
    joining, joined, names = {}, {}, {}
end

-- -- names ------------------------------------------------------------------------------------------------------------

local function name_of(node) return names[node] or tostring(node) end

-- A capture of the testbed's names all nodes in a comment on its first frame.
local function learn_names()
    for _, comment in ipairs({ comments() }) do
        local listed = tostring(comment):match("^nodes ([^;]*)") or ""
        for number, name in listed:gmatch("(%d+) ([^,]+)") do names[tonumber(number)] = name end
    end
end

local function add_name(field, tree, node)
    if names[node] then tree:add(field, names[node]):set_generated() end
end

local function take_part(name, frame, place, count, bytes)
    local message = joining[name] or { count = count, left = count }
    joining[name] = message
    if joined[name] or place >= count or count ~= message.count or message[place] then return end
    message[place] = bytes
    message.left = message.left - 1
    if message.left > 0 then return end
    local whole = ByteArray.new()
    for at = 0, count - 1 do whole:append(message[at]) end
    joining[name], joined[name] = nil, { frame, whole }
end

local function add_part_of_message(body, pinfo, tree, from, step, whole_frame)
    if body:len() < PART_HEAD then return end
    local number, place, count = body(0, 4):uint(), body(4, 2):uint(), body(6, 2):uint()
    pinfo.cols.info:append(string.format(" part %d of %d of message %d", place + 1, count, number))
    tree:add(f.number, body(0, 4))
    tree:add(f.place, body(4, 2))
    tree:add(f.parts, body(6, 2))
    local has_more = body:len() > PART_HEAD
    if has_more then tree:add(f.data, body(PART_HEAD)) end
    if not whole_frame then return end
    local name = from .. "/" .. number
    if not pinfo.visited then
        take_part(name, pinfo.number, place, count, has_more and body(PART_HEAD):bytes() or ByteArray.new())
    end
    local whole = joined[name]
    if not whole then return end
    if whole[1] ~= pinfo.number then
        tree:add(f.joined_in, whole[1]):set_generated()
    elseif whole[2]:len() > 0 then
        local tvb = whole[2]:tvb("Message")
        tree:add(f.message, tvb())
        tree:add(f.message_length, tvb:len()):set_generated()
        add_form(tvb, DATA, step, tree, pinfo)
    end
end

-- -- carried by cells -------------------------------------------------------------------------------------------------

local function add_carried(body, pinfo, tree)
    local kind, src, dst = body(0, 1):uint(), body(2, 2):uint(), body(4, 2):uint()
    pinfo.cols.info:append(" carrying " .. (KINDS[kind] or "?") .. " " .. name_of(src) .. ">" .. name_of(dst))
    tree:add(f.carried_kind, body(0, 1))
    tree:add(f.carried_src, body(2, 2))
    tree:add(f.carried_dst, body(4, 2))
    tree:add(f.carried_epoch, body(6, 4))
    tree:add(f.carried_peer_epoch, body(10, 4))
    tree:add(f.carried_body, body(14))
end

-- -- a frame ----------------------------------------------------------------------------------------------------------

-- In the order in which a receiver looks: the word it records, or nil. Fields of a frame with a word are as they came.
local function problem_of(tvb, kind, length, good)
    if (length > BODY and tvb:len() ~= HEAD + length + CRC) or not good then return "corrupt" end
    if math.floor(tvb(0, 1):uint() / 16) ~= VERSION then return "version" end
    if not KINDS[kind] then return "kind" end
    if (kind == SWAP or kind == RESET) and length ~= BODY then return "length" end
end

local function tell(tree, word, pinfo)
    tree:add(f.problem, word):set_generated()
    tree:add_proto_expert_info(experts[word])
    pinfo.cols.info:append(" [" .. word .. "]")
end

local function add_flags(range, kind, tree)
    local flags = tree:add(f.flags, range)
    if kind == SWAP or kind == CARRIED then
        flags:add(f.current, range)
        flags:add(f.settled, range)
    elseif kind == DATA or kind == PART then
        flags:add(f.again, range)
    end
end

local function sum_is_right(tvb, crc_at)
    local to, from = eth_dst(), eth_src()
    if not to or not from then return false end
    local ethertype = string.char(math.floor(ETHERTYPE / 256), ETHERTYPE % 256)
    local covered = to.range:bytes():raw() .. from.range:bytes():raw() .. ethertype .. tvb:raw(0, crc_at)
    return crc32(covered) == tvb(crc_at, CRC):uint()
end

local function swap_name(one, other, round)
    return math.min(one, other) .. "-" .. math.max(one, other) .. " round " .. round
end

function oae.dissector(tvb, pinfo, root)
    pinfo.cols.protocol = "OAE"
    learn_names()
    local tree = root:add(oae, tvb())
    if tvb:len() < LEAST then
        pinfo.cols.info = "OAE"
        return tell(tree, "short", pinfo)
    end
    local kind, step, length = tvb(0, 1):uint() % 16, tvb(1, 1):uint(), tvb(4, 2):uint()
    local src, dst, round = tvb(6, 2):uint(), tvb(8, 2):uint(), tvb(18, 4):uint()
    local transmission = src .. "." .. tvb(10, 4):uint() .. "." .. tvb(22, 4):uint()
    local crc_at = math.min(HEAD + math.max(length, BODY), tvb:len() - CRC) -- at its end, if the length is a wrong one
    local good = sum_is_right(tvb, crc_at)

    tree:add(f.version, tvb(0, 1))
    tree:add(f.kind, tvb(0, 1))
    tree:add(f.step, tvb(1, 1))
    if kind == DATA and SERVICE_STEPS[step] then tree:add(f.service, SERVICE_STEPS[step]):set_generated() end
    add_flags(tvb(2, 1), kind, tree)
    tree:add(f.reserved, tvb(3, 1))
    tree:add(f.length, tvb(4, 2))
    tree:add(f.src, tvb(6, 2))
    add_name(f.src_name, tree, src)
    tree:add(f.dst, tvb(8, 2))
    add_name(f.dst_name, tree, dst)
    tree:add(f.epoch, tvb(10, 4))
    tree:add(f.peer_epoch, tvb(14, 4))
    tree:add(f.round, tvb(18, 4))
    tree:add(f.seq, tvb(22, 4))
    tree:add(f.frame, transmission):set_generated()
    if kind == SWAP or kind == RESET then
        tree:add(f.swap, swap_name(src, dst, round)):set_generated()
    elseif kind == CARRIED and length == CARRIED_BODY and tvb:len() >= HEAD + CARRIED_BODY then -- its ends stand in it
        local one, other = tvb(HEAD + 2, 2):uint(), tvb(HEAD + 4, 2):uint()
        tree:add(f.swap, swap_name(one, other, round)):set_generated()
    end

    local way = name_of(src) .. ">" .. name_of(dst)
    pinfo.cols.info = string.format("%s %s round %d step %d", KINDS[kind] or "?", way, round, step)
    local word = problem_of(tvb, kind, length, good)
    local carried = math.min(length, crc_at - HEAD)
    if carried == 0 and word == nil and kind == DATA then
        add_form(nil, kind, step, tree, pinfo)
    elseif carried > 0 then
        local body = tree:add(f.body, tvb(HEAD, carried))
        if kind == PART then
            local from = src .. "." .. tvb(10, 4):uint() .. "/" .. dst
            add_part_of_message(tvb(HEAD, carried):tvb(), pinfo, body, from, step, word == nil)
        elseif kind == CARRIED and carried == CARRIED_BODY then
            add_carried(tvb(HEAD, carried), pinfo, body)
            if word == nil and tvb(HEAD, 1):uint() == SWAP then
                add_form(tvb(HEAD + CARRIED_BODY - BODY, BODY):tvb(), SWAP, step, body, pinfo)
            end
        elseif word == nil and (kind == SWAP or kind == DATA) then
            add_form(tvb(HEAD, carried):tvb(), kind, step, body, pinfo)
        end
    end
    if crc_at - HEAD > carried then tree:add(f.fill, tvb(HEAD + carried, crc_at - HEAD - carried)) end
    tree:add(f.crc, tvb(crc_at, CRC))
    tree:add(f.crc_good, good):set_generated()
    if tvb:len() > crc_at + CRC then tree:add(f.padding, tvb(crc_at + CRC)) end
    if word then tell(tree, word, pinfo) end
end

DissectorTable.get("ethertype"):add(ETHERTYPE, oae)
