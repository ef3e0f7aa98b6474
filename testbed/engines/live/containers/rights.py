"""What a node's container may do: as little as its agent needs, the same under every engine and runtime."""

from __future__ import annotations

CAPABILITIES = {"NET_RAW": "raw sockets (AF_PACKET), on the NICs of its own network namespace"}
"""All capabilities that a node has, and what for. All others are dropped, also from the bounding set."""

MOST_PROCESSES = 64
"""In one container: the agent, and what people start beside it."""

MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug",
          "/proc/scsi", "/sys/firmware")  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""Paths hidden and protected inside, as Docker does by itself; for runtimes that are told."""

WITHHELD = (
    "acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module", "fanotify_init",
    "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "get_mempolicy", "init_module",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load",
    "keyctl", "lookup_dcookie", "mbind", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at",
    "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "process_vm_readv",
    "process_vm_writev", "ptrace", "query_module", "quotactl", "reboot", "request_key", "set_mempolicy",
    "setdomainname", "sethostname", "setns", "settimeofday", "swapoff", "swapon", "sysfs", "syslog", "umount",
    "umount2", "unshare", "uselib", "userfaultfd", "ustat", "vhangup", "vm86", "vm86old",
)  # fmt: skip
"""System calls refused (EPERM), for runtimes that are told: those that Docker's default profile refuses without more
capabilities."""

NEW_NAMESPACES = 0x7E02_0000
"""The flags of clone(2) that make namespaces: refused as well. clone3(2), whose flags a filter can't see, is not there
(ENOSYS), so that programs take clone(2)."""
