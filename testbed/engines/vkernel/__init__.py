"""The virtual-time kernel: Linux as an ordinary process, whose clock jumps instead of waiting.

`kernel` finds or builds it, `boot` runs a job inside it, `launch` is the small process between the two.
"""
